"""One deno process as its parent sees it: what it prints, what it uses, and that it ends."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from shared.sandbox.children import child_environment
from shared.sandbox.model import SandboxUnavailable

_READ_BYTES = 64 * 1024
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_FLAGS = (
    "--no-prompt",
    "--no-remote",
    "--no-npm",
    "--no-config",
    "--no-lock",
    "--no-code-cache",
    "--unstable-worker-options",
    "--quiet",
)
# Without its compilers V8 has far less that could be broken out of, and reserves 512 MiB less for each Worker; WebAssembly goes with them.
_ENGINE_FLAGS = "--jitless"


class DenoProcess:
    """A deno in a session of its own, from `with` to the end of the block, where its whole group is killed.

    Its standard input stays open after the job: the harness ends itself when it closes. A job goes over a pipe and never through a
    file, because a Worker may read the standard input: of a pipe nothing is left for it.
    """

    def __init__(self, deno: str, main: str, *, cpu_s: int, data_mb: int, heap_mb: int) -> None:
        self._command = [sys.executable, "-S", "-B", "-P", "-m", "shared.sandbox.deno_start", str(os.getpid())]
        self._command += [str(cpu_s), str(data_mb), deno, "run", *_FLAGS]
        self._command += [f"--v8-flags={_ENGINE_FLAGS},--max-old-space-size={heap_mb}", main]
        self._unsent = b""

    def __enter__(self) -> Self:
        try:
            self._child = subprocess.Popen(  # noqa: S603
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                cwd="/",
                env=child_environment(),
                start_new_session=True,
            )
        except OSError as error:
            raise SandboxUnavailable(f"no process can be started for the sandbox: {error.strerror}") from None
        assert self._child.stdin is not None and self._child.stdout is not None  # noqa: S101, PT018
        self._stdin, self._stdout = self._child.stdin.fileno(), self._child.stdout.fileno()
        os.set_blocking(self._stdin, False)
        self._poll = select.poll()
        self._poll.register(self._stdout, select.POLLIN)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                stream.close()

    def tell(self, job: bytes) -> None:
        """Send the job, behind its length; what the pipe does not take at once goes while `read` waits."""
        self._unsent = b"%08x" % len(job) + job
        self._poll.register(self._stdin, select.POLLOUT)

    def read(self, wait_s: float) -> bytes | None:
        """Return what the process printed, nothing if it printed nothing within `wait_s`, None when it has closed its output."""
        found = b""
        for descriptor, _ in self._poll.poll(wait_s * 1000):
            if descriptor == self._stdin:
                self._send()
                continue
            found = os.read(self._stdout, _READ_BYTES)
            if not found:
                return None
        return found

    def _send(self) -> None:
        try:
            sent = os.write(self._stdin, self._unsent[:_READ_BYTES])
        except BlockingIOError:
            return
        except BrokenPipeError:
            sent = len(self._unsent)  # it has ended: `read` will say so
        self._unsent = self._unsent[sent:]
        if not self._unsent:
            self._poll.unregister(self._stdin)

    def cpu_s(self) -> float:
        """Return the CPU seconds used so far, all threads together."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS if len(fields) > 12 else 0.0

    def resident_mb(self) -> int:
        """Return the memory in use, MiB."""
        fields = self._proc("statm").split()
        return int(fields[1]) * _PAGE >> 20 if len(fields) > 1 else 0

    def _proc(self, name: str) -> str:
        try:
            return Path(f"/proc/{self._child.pid}/{name}").read_text()
        except OSError:
            return ""

    def end(self) -> int:
        """Kill the process and its group, wait for it, and return how it had ended (negative: a signal)."""
        if self._child.returncode is None:
            try:
                return self._child.wait(timeout=0 if self._stdout_open() else 1)
            except subprocess.TimeoutExpired:
                os.killpg(self._child.pid, signal.SIGKILL)
        return self._child.wait()

    def _stdout_open(self) -> bool:
        return not any(flags & select.POLLHUP for _, flags in self._poll.poll(0))


class Frames:
    """Tells what the harness says from what the code prints.

    A frame is the nonce, `+` or `.` (the last piece), the length of a piece in three hex digits, the piece.
    """

    def __init__(self, nonce: str) -> None:
        self._nonce = nonce.encode()
        self._held = b""
        self._pieces: list[bytes] = []

    def feed(self, printed: bytes) -> Iterator[bytes | str]:
        """Yield text of the harness as str and output of the code as bytes, in their order."""
        self._held += printed
        while True:
            before, nonce, rest = self._held.partition(self._nonce)
            if not nonce:
                kept = max(0, len(self._held) - len(self._nonce) + 1)
                before, self._held = self._held[:kept], self._held[kept:]
                if before:
                    yield before
                return
            if before:
                yield before
            size = int(rest[1:4], 16) if len(rest) >= 4 else 0
            self._held = nonce + rest
            if len(rest) < 4 + size or len(rest) < 4:
                return
            self._pieces.append(rest[4 : 4 + size])
            self._held = rest[4 + size :]
            if rest[:1] == b".":
                yield b"".join(self._pieces).decode()
                self._pieces.clear()

    def rest(self) -> bytes:
        """Return the output that was held back for fear that it is the beginning of a frame."""
        return self._held


def job_of(nonce: str, worker: str, language: str, code: str, probes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the document that the harness's main thread asks for."""
    return {"nonce": nonce, "worker": worker, "language": language, "code": code, "probes": probes}
