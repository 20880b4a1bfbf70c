"""Instances of the interpreter: one job in, one report out, bounded in memory, output and time; nothing else is connected to them."""

from __future__ import annotations

import marshal
import os
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import wasmtime

from shared.sandbox.engine import engine
from shared.sandbox.reports import MOST_REPORT, Ended, Ending

_MOST_BUFFERS = 1024
_WASI = "wasi_snapshot_preview1"
_BAD_DESCRIPTOR = 8
_INVALID = 28
_NOT_SEEKABLE = 70
_FILESTAT_SIZE = 64
_UNKNOWN_TYPE = 0
_MAY_READ = 1 << 1
_MAY_WRITE = 1 << 6
_SUBSCRIPTION = struct.Struct("<QB7xI4xQQH6x")  # userdata, kind, clock, timeout, precision, flags
_EVENT = struct.Struct("<QHB21x")  # userdata, error, kind
_CLOCKS = {
    0: time.CLOCK_REALTIME,
    1: time.CLOCK_MONOTONIC,
    2: time.CLOCK_PROCESS_CPUTIME_ID,
    3: time.CLOCK_THREAD_CPUTIME_ID,
}
_ENGINE_S_OWN = frozenset(
    {
        "args_get",
        "args_sizes_get",
        "environ_get",
        "environ_sizes_get",
        "clock_res_get",
        "proc_exit",
        "random_get",
        "sched_yield",
    }
)
# Builtins of its own: what the code does to the builtins module does not reach the harness.
START_HARNESS = (
    "import builtins,marshal,sys\n"
    "names={'__builtins__':dict(vars(builtins)),'__name__':'harness'}\n"
    "job=marshal.loads(sys.stdin.buffer.read())\n"
    "exec(marshal.loads(job.pop('harness')),names)\n"
    "names['main'](job)\n"
)
COMPILE_HARNESS = (
    "import marshal,sys\n"
    "job=marshal.loads(sys.stdin.buffer.read())\n"
    "code=compile(job['harness'],'<harness>','exec')\n"
    "sys.stdout.buffer.write(job['word'].encode()+marshal.dumps(code))\n"
)
_ARGUMENTS = ["python", "-S", "-s", "-B", "-P", "-u", "-W", "ignore", "-c"]


class _Flood(Exception):
    """The code has printed more than it may."""


@dataclass
class _Streams:
    """What goes in and out of one instance."""

    given: bytes
    most: int
    read: int = 0
    said: bytearray = field(default_factory=bytearray)
    printed: bytearray = field(default_factory=bytearray)

    def take(self, size: int) -> bytes:
        piece = self.given[self.read : self.read + size]
        self.read += len(piece)
        return piece

    def put(self, descriptor: int, piece: bytes) -> None:
        stream, most = (self.said, self.most + MOST_REPORT) if descriptor == 1 else (self.printed, self.most)
        stream += piece[: most + 1 - len(stream)]
        if len(stream) > most:
            raise _Flood


class Clock:
    """When the instance that runs now has to end. Shared by the thread that runs it and the one that watches."""

    def __init__(self) -> None:
        """No instance runs yet."""
        self.lock = threading.Lock()
        self.probe: int | None = None
        self.wall_end = 0.0
        self.cpu_end = 0.0
        self.has_ended = False
        self._over = threading.Event()

    def start(self, probe: int, *, wall_s: float, cpu_s: float) -> None:
        """Begin the time of an instance, in the thread that runs it."""
        with self.lock:
            self.probe, self.has_ended = probe, False
            self._over.clear()
            self.wall_end = time.monotonic() + wall_s
            self.cpu_end = time.thread_time() + cpu_s

    def end(self) -> None:
        """The instance's time is over: a sleep in it ends as well. Called with the lock held."""
        self.has_ended = True
        self._over.set()

    def wait(self, wanted_s: float) -> None:
        """Sleep in the instance's stead, no longer than it may live."""
        self._over.wait(min(wanted_s, max(0.0, self.wall_end - time.monotonic()) + 1.0))

    def stop(self) -> None:
        """The instance has ended."""
        with self.lock:
            self.probe = None


class Interpreter:
    """Makes instances of the interpreter and runs one job in each."""

    def __init__(self, module_path: str, *, memory_mb: int, output_bytes: int, clock: Clock) -> None:
        """Load the compiled interpreter. Raises `wasmtime.WasmtimeError` where this engine or machine does not take it."""
        self.engine = engine()
        self._module = wasmtime.Module.deserialize_file(self.engine, module_path)
        self._memory = memory_mb << 20
        self._output = output_bytes
        self._clock = clock

    def run(
        self, script: str, job: Mapping[str, Any], *, probe: int, wall_s: float, cpu_s: float, hash_seed: int = 0
    ) -> Ended:
        """Run `script` on one job to whatever end it comes to. `probe`: for whom, in the clock."""
        word = os.urandom(16).hex()
        given = marshal.dumps({"word": word, **job}, 2)
        streams = _Streams(given=given, most=self._output)
        store = wasmtime.Store(self.engine)
        try:
            store.set_limits(memory_size=self._memory, memories=1, instances=1)
            store.set_epoch_deadline(1)
            store.set_wasi(_wasi(script, hash_seed))
            instance = self._linker(streams).instantiate(store, self._module)
            self._clock.start(probe, wall_s=wall_s, cpu_s=cpu_s)
            started = time.monotonic()
            ending, detail = self._ending(store, instance)
            duration_ms = int((time.monotonic() - started) * 1000)
            is_full = _memory_of(instance, store).data_len(store) > self._memory * 0.9
        finally:
            self._clock.stop()
            store.close()
        before, _, report = bytes(streams.said).partition(word.encode())
        return Ended(ending, detail, report, bytes(streams.printed) + before, is_full, duration_ms)

    def _ending(self, store: wasmtime.Store, instance: wasmtime.Instance) -> tuple[Ending, str]:
        try:
            instance.exports(store)["_start"](store)  # type: ignore[operator]
        except wasmtime.ExitTrap as left:
            return Ending.EXITED, str(left.code)
        except _Flood:
            return Ending.FLOODED, ""
        except wasmtime.Trap as trap:
            return (Ending.TIMED_OUT if self._clock.has_ended else Ending.TRAPPED), _reason(trap)
        except Exception as error:  # noqa: BLE001 - whatever the engine says, the run goes on with the next probe
            return Ending.TRAPPED, type(error).__name__
        return Ending.EXITED, "0"

    def _linker(self, streams: _Streams) -> wasmtime.Linker:
        """WASI cut down to what an interpreter without a world needs.

        The engine answers for arguments and chance. Streams, clocks and sleep are ours. Everything else, files and sockets of every
        kind, is a stub that says `bad descriptor`: no code of the engine that could open anything is behind it.
        """
        linker = wasmtime.Linker(self.engine)
        linker.define_wasi()
        linker.allow_shadowing = True
        calls = _Calls(streams, self._clock)
        ours: dict[str, Callable[..., int]] = {
            "fd_read": calls.fd_read,
            "fd_write": calls.fd_write,
            "fd_fdstat_get": calls.fd_fdstat_get,
            "fd_filestat_get": calls.fd_filestat_get,
            "fd_seek": calls.fd_seek,
            "clock_time_get": calls.clock_time_get,
            "poll_oneoff": calls.poll_oneoff,
        }
        for wanted in self._module.imports:
            name, shape = wanted.name or "", wanted.type
            if name not in _ENGINE_S_OWN and isinstance(shape, wasmtime.FuncType):
                linker.define_func(_WASI, name, shape, ours.get(name, _bad_descriptor), access_caller=True)
        return linker


class _Calls:
    """The system calls that we answer ourselves, for one instance."""

    def __init__(self, streams: _Streams, clock: Clock) -> None:
        self._streams = streams
        self._clock = clock

    def fd_read(self, caller: wasmtime.Caller, descriptor: int, buffers: int, count: int, done: int) -> int:
        """Read the job."""
        if descriptor != 0:
            return _BAD_DESCRIPTOR
        memory, total = _memory(caller), 0
        for start, size in _buffers(memory, caller, buffers, count):
            piece = self._streams.take(size)
            memory.write(caller, piece, start)
            total += len(piece)
        memory.write(caller, struct.pack("<I", total), done)
        return 0

    def fd_write(self, caller: wasmtime.Caller, descriptor: int, buffers: int, count: int, done: int) -> int:
        """Take what is printed or reported."""
        if descriptor not in (1, 2):
            return _BAD_DESCRIPTOR
        if not 0 <= count <= _MOST_BUFFERS:
            return _INVALID
        memory, total = _memory(caller), 0
        for start, size in _buffers(memory, caller, buffers, count):
            self._streams.put(descriptor, bytes(memory.read(caller, start, start + size)))
            total += size
        memory.write(caller, struct.pack("<I", total), done)
        return 0

    def fd_fdstat_get(self, caller: wasmtime.Caller, descriptor: int, result: int) -> int:
        """Describe the three streams: neither files nor terminals, to be read and written."""
        if descriptor not in (0, 1, 2):
            return _BAD_DESCRIPTOR
        rights = _MAY_READ | _MAY_WRITE
        _memory(caller).write(caller, struct.pack("<BxHxxxxQQ", _UNKNOWN_TYPE, 0, rights, rights), result)
        return 0

    def fd_filestat_get(self, caller: wasmtime.Caller, descriptor: int, result: int) -> int:
        """Say nothing of the three streams but that they are there."""
        if descriptor not in (0, 1, 2):
            return _BAD_DESCRIPTOR
        _memory(caller).write(caller, bytes(_FILESTAT_SIZE), result)
        return 0

    def fd_seek(self, _caller: wasmtime.Caller, descriptor: int, _offset: int, _whence: int, _result: int) -> int:
        """No stream has a place to go to."""
        return _NOT_SEEKABLE if descriptor in (0, 1, 2) else _BAD_DESCRIPTOR

    def clock_time_get(self, caller: wasmtime.Caller, clock: int, _precision: int, result: int) -> int:
        """Tell the time, in nanoseconds."""
        if clock not in _CLOCKS:
            return _INVALID
        _memory(caller).write(caller, struct.pack("<Q", time.clock_gettime_ns(_CLOCKS[clock])), result)
        return 0

    def poll_oneoff(self, caller: wasmtime.Caller, wanted: int, events: int, count: int, done: int) -> int:
        """Sleep until the nearest clock of `count` subscriptions, or until the instance's time is over. Descriptors are ready at once."""
        if not 0 < count <= _MOST_BUFFERS:
            return _INVALID
        memory = _memory(caller)
        table = bytes(memory.read(caller, wanted, wanted + _SUBSCRIPTION.size * count))
        subscriptions = list(_SUBSCRIPTION.iter_unpack(table))
        waits = [
            _seconds(clock, time_ns, flags) if kind == 0 else 0.0 for _, kind, clock, time_ns, _, flags in subscriptions
        ]
        self._clock.wait(min(waits))
        ready = [(item[0], item[1]) for item, wait in zip(subscriptions, waits, strict=True) if wait <= min(waits)]
        memory.write(caller, b"".join(_EVENT.pack(data, 0, kind) for data, kind in ready), events)
        memory.write(caller, struct.pack("<I", len(ready)), done)
        return 0


def _bad_descriptor(*_: object) -> int:
    return _BAD_DESCRIPTOR


def _seconds(clock: int, time_ns: int, flags: int) -> float:
    """Return how long a clock's subscription has to wait: `flags` 1 means until a point in time, 0 for a while."""
    if not flags & 1 or clock not in _CLOCKS:
        return time_ns / 1e9
    return max(0.0, (time_ns - time.clock_gettime_ns(_CLOCKS[clock])) / 1e9)


def _wasi(script: str, hash_seed: int) -> wasmtime.WasiConfig:
    config = wasmtime.WasiConfig()
    config.argv = [*_ARGUMENTS, script]
    # So that sets keep one order within a run; the harness takes it away before the code is loaded.
    config.env = [("PYTHONHASHSEED", str(hash_seed))]
    return config


def _memory_of(instance: wasmtime.Instance, store: wasmtime.Store) -> wasmtime.Memory:
    memory = instance.exports(store)["memory"]
    if not isinstance(memory, wasmtime.Memory):
        raise TypeError("the interpreter has no memory")
    return memory


def _memory(caller: wasmtime.Caller) -> wasmtime.Memory:
    memory = caller["memory"]
    if not isinstance(memory, wasmtime.Memory):
        raise TypeError("the interpreter has no memory")
    return memory


def _buffers(memory: wasmtime.Memory, caller: wasmtime.Caller, start: int, count: int) -> list[tuple[int, int]]:
    start &= 0xFFFFFFFF
    table = bytes(memory.read(caller, start, start + 8 * min(count, _MOST_BUFFERS)))
    return [(at, size) for at, size in struct.iter_unpack("<II", table)]


def _reason(trap: wasmtime.Trap) -> str:
    return str(trap).rpartition("wasm trap: ")[2].strip()[:200]
