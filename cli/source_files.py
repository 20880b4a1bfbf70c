"""Which files of a directory are source code that somebody wrote: what git knows, or all but what tools leave behind."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shared.source.languages import canonical, language_of

_NOT_WRITTEN = frozenset({"node_modules", "__pycache__", "venv", "site-packages", "dist", "build", "target", "vendor"})
_BYTE_ORDER_MARK = "\ufeff"
_DECLARATIONS = (".d.ts", ".d.mts", ".d.cts")


class UnusablePath(Exception):
    """A path that cannot be verified; the message says why."""


@dataclass(frozen=True)
class SourceFile:
    """A file, its text and its language. `fault`: why its text could not be read, where it could not."""

    path: Path
    code: str
    language: str
    fault: str | None = None

    @property
    def skipped(self) -> str | None:
        """Why it is not to be verified; None where it is."""
        is_empty = not self.code.removeprefix(_BYTE_ORDER_MARK).strip()
        return self.fault or ("it is empty" if is_empty else None)


def source_files(paths: tuple[Path, ...], *, language: str | None) -> list[SourceFile]:
    """Return the files that `paths` name, each once, in order; of a directory those whose suffix tells a language.

    `language` is that of every file named, and limits a directory to it. Files without text are to be skipped, and those in a
    directory that are not UTF-8. Raises `UnusablePath` for a path that is not there, a named file whose language nobody tells, or
    one that is not UTF-8.
    """
    wanted = canonical(language) if language else None
    found: dict[Path, SourceFile] = {}
    for path in paths:
        if path.is_dir():
            for inner in sorted(_inside(path)):
                known = _known(inner)
                if known and (wanted is None or known == wanted):
                    found.setdefault(inner.resolve(), _read(inner, known, is_named=False))
        elif path.is_file():
            known = wanted or language_of(path.name)
            if known is None:
                raise UnusablePath(f"{path}: its name tells no language; say which with --language")
            found.setdefault(path.resolve(), _read(path, known, is_named=True))
        else:
            raise UnusablePath(f"{path}: there is no such file")
    return list(found.values())


def listed_paths(content: bytes) -> tuple[Path, ...]:
    """Return the paths of a list: separated by NUL where there is one (`git diff -z`, `find -print0`), otherwise one a line."""
    names = content.split(b"\0") if b"\0" in content else content.splitlines()
    return tuple(Path(os.fsdecode(name)) for name in names if name)


def _inside(folder: Path) -> Iterator[Path]:
    """Yield the files of a directory: in a repository those that git does not ignore."""
    listed = subprocess.run(
        ["git", "-C", str(folder), "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        for name in os.fsdecode(listed.stdout).split("\0"):
            if name and (folder / name).is_file():
                yield folder / name
        return
    for inner, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _NOT_WRITTEN]
        yield from (Path(inner, name) for name in names)


def _known(path: Path) -> str | None:
    return None if path.name.endswith(_DECLARATIONS) else language_of(path.name)


def _read(path: Path, language: str, *, is_named: bool) -> SourceFile:
    """Read a file: its text is sent byte for byte, with the byte order mark that it may have."""
    try:
        code = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise UnusablePath(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        reason = f"it is not UTF-8: byte 0x{error.object[error.start]:02x} in line {line}"
        if is_named:
            raise UnusablePath(f"{path}: {reason}; convert it, or leave it out") from error
        return SourceFile(path, "", language, fault=reason)
    return SourceFile(path, code, language)
