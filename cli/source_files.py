"""Which files of a directory are source code that somebody wrote: what git knows, or all but what tools leave behind."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shared.source.languages import canonical, language_of

_NOT_WRITTEN = frozenset({"node_modules", "__pycache__", "venv", "site-packages", "dist", "build", "target", "vendor"})
_DECLARATIONS = (".d.ts", ".d.mts", ".d.cts")


class UnusablePath(Exception):
    """A path that cannot be verified; the message says why."""


@dataclass(frozen=True)
class SourceFile:
    """A file, its text and its language."""

    path: Path
    code: str
    language: str


def source_files(paths: tuple[Path, ...], *, language: str | None) -> list[SourceFile]:
    """Return the files that `paths` name, each once, in order; of a directory those whose suffix tells a language.

    `language` is that of every file named, and limits a directory to it. Files without text are left out. Raises `UnusablePath`
    for a path that is not there, a named file whose language nobody tells, or one that is not UTF-8.
    """
    wanted = canonical(language) if language else None
    found: dict[Path, SourceFile] = {}
    for path in paths:
        if path.is_dir():
            for inner in sorted(_inside(path)):
                known = _known(inner)
                if known and (wanted is None or known == wanted):
                    found.setdefault(inner.resolve(), SourceFile(inner, _text(inner, is_named=False), known))
        elif path.is_file():
            known = wanted or language_of(path.name)
            if known is None:
                raise UnusablePath(f"{path}: its name tells no language; say which with --language")
            found.setdefault(path.resolve(), SourceFile(path, _text(path, is_named=True), known))
        else:
            raise UnusablePath(f"{path}: there is no such file")
    return [file for file in found.values() if file.code.strip()]


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


def _text(path: Path, *, is_named: bool) -> str:
    """Return a file's text; empty for one in a directory that is not text."""
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise UnusablePath(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        if is_named:
            raise UnusablePath(f"{path}: it is not UTF-8") from error
        return ""
