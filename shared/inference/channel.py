"""The way of a stream's events from the worker to whoever reads it, over Redis. It carries no truth: when a run ends, its row does.

One channel for all: a worker sends what all of its streams wrote within a few milliseconds as one message, and each web process
picks what its own readers await. Beside it each stream that runs has a log, for those who come late or missed a message; it is
written before the message goes out, so it holds at least what any reader got. Losing Redis costs latency: readers then get the
rest from the database at the end. What was asked never goes here.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator, Sequence

import redis
import structlog
from redis.exceptions import RedisError

from shared.inference.model import Frame

log = structlog.get_logger(__name__)

CHANNEL = "lucid:frames"
LOG_LIFE_S = 1800
"""Above the longest run; a log is dropped at the end of its run, and this is for those whose worker died."""
MOST_LOGGED_BYTES = 1_000_000
"""Of one stream. Who misses an event behind that gets it at the end."""
_GATHER_S = 0.005
_PAUSE_S = 1.0
_MOST_WAITING = 100_000
_HEAD = struct.Struct("<QIBI")
_LAST = 1
_FAULT = 2

# Log first, then tell. A log that was taken (`_TAKE`) is no list any more: nothing more of that stream gets out.
_SEND = """
local told = {}
for index, key in ipairs(KEYS) do
  local record = ARGV[index + 2]
  local written = key == '' or redis.pcall('RPUSH', key, record)
  if written == 1 then redis.call('EXPIRE', key, ARGV[2]) end
  if type(written) ~= 'table' then told[#told + 1] = record end
end
if #told > 0 then redis.call('PUBLISH', ARGV[1], table.concat(told)) end
return #KEYS - #told
"""
_TAKE = """
if redis.call('TYPE', KEYS[1]).ok == 'string' then return {} end
local records = redis.call('LRANGE', KEYS[1], 0, -1)
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], '', 'EX', ARGV[1])
return records
"""


def key_of(run_row: int) -> str:
    """Return the name of a stream's log."""
    return f"lucid:run:{run_row}"


def pack(run_row: int, frame: Frame) -> bytes:
    """Return a frame as it goes over the channel."""
    flags = (_LAST if frame.is_last else 0) | (_FAULT if frame.is_fault else 0)
    return _HEAD.pack(run_row, frame.seq, flags, len(frame.wire)) + frame.wire


def unpack(records: bytes) -> Iterator[tuple[int, Frame]]:
    """Yield the frames of a message, each with its run's row id. Raises `ValueError` where it breaks off."""
    at = 0
    while at < len(records):
        try:
            run_row, seq, flags, length = _HEAD.unpack_from(records, at)
        except struct.error as error:
            raise ValueError("a message of the channel breaks off") from error
        at += _HEAD.size + length
        if at > len(records):
            raise ValueError("a message of the channel breaks off")
        yield run_row, Frame(seq, records[at - length : at], bool(flags & _LAST), bool(flags & _FAULT))


class FrameSender:
    """The worker's end. `send` never waits: one thread gathers and sends, and drops what Redis does not take."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._send = client.register_script(_SEND)
        self._take = client.register_script(_TAKE)
        self._waiting: list[tuple[int, Frame]] = []
        self._logged: dict[int, int] = {}
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._thread: threading.Thread | None = None

    def send(self, run_row: int, frames: Sequence[Frame]) -> None:
        """Send events of a stream that runs."""
        with self._lock:
            if len(self._waiting) < _MOST_WAITING:
                self._waiting += [(run_row, frame) for frame in frames]
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="frames", daemon=True)
                self._thread.start()
        self._news.set()

    def take(self, run_row: int) -> list[Frame]:
        """Return what is known of what another process had sent of a stream, from its first event on, and let nothing more get out.

        It may have sent more: Redis may have lost the log, or its end, and logs no more than `MOST_LOGGED_BYTES`.
        """
        try:
            records = self._take(keys=[key_of(run_row)], args=[LOG_LIFE_S])
        except RedisError as error:
            log.warning("frames_not_recovered", error=type(error).__name__)
            return []
        return _in_order(records)

    def forget(self, run_row: int) -> None:
        """Keep no more count of a stream that this process is done with."""
        with self._lock:
            self._logged.pop(run_row, None)

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            self._news.wait()
            self._news.clear()
            with self._lock:
                gathered, self._waiting = self._waiting, []
            try:
                self._tell(gathered)
            except RedisError as error:
                log.warning("frames_lost", frames=len(gathered), error=type(error).__name__)
                pause.wait(_PAUSE_S)
            except Exception as error:  # noqa: BLE001 - this thread must outlive anything; the database has the frames at the end
                log.warning("frames_lost", frames=len(gathered), error=type(error).__name__)
            pause.wait(_GATHER_S)  # afterwards: an event that comes alone, like a stream's first, goes at once

    def _tell(self, gathered: list[tuple[int, Frame]]) -> None:
        if not gathered:
            return
        records = [pack(run_row, frame) for run_row, frame in gathered]
        keys = [
            self._log_for(run_row, len(record), ends=frame.is_last)
            for (run_row, frame), record in zip(gathered, records, strict=True)
        ]
        self._send(keys=keys, args=[CHANNEL, LOG_LIFE_S, *records])
        ended = [key_of(run_row) for run_row, frame in gathered if frame.is_last]
        if ended:
            self._client.delete(*ended)

    def _log_for(self, run_row: int, size: int, *, ends: bool) -> str:
        """Return the log that a record goes to, or no name where it is told only: the log is full, or the database has it."""
        if ends:
            return ""
        with self._lock:
            logged = self._logged[run_row] = self._logged.get(run_row, 0) + size
        return key_of(run_row) if logged <= MOST_LOGGED_BYTES else ""


class FrameReceiver:
    """The web process's end: one thread reads the channel and hands on what `wanted` says somebody awaits."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def listen(self, hand_on: Callable[[int, Frame], None]) -> None:
        """Have `hand_on` called with each frame that comes, from now on. Calls after the first do nothing."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._read, args=(hand_on,), name="frames", daemon=True)
                self._thread.start()

    def logged(self, run_row: int) -> list[Frame]:
        """Return what was sent so far of a stream that runs, in order; empty where that is not known."""
        try:
            return _in_order(self._client.lrange(key_of(run_row), 0, -1))
        except RedisError as error:
            log.warning("frames_not_read", error=type(error).__name__)
            return []

    def _read(self, hand_on: Callable[[int, Frame], None]) -> None:
        pause = threading.Event()
        while True:
            try:
                with self._client.pubsub(ignore_subscribe_messages=True) as subscription:  # type: ignore[no-untyped-call] # redis-py leaves it untyped
                    subscription.subscribe(CHANNEL)
                    while True:
                        message = subscription.get_message(timeout=1.0)
                        if message is not None:
                            for run_row, frame in unpack(message["data"]):
                                hand_on(run_row, frame)
            except (RedisError, ValueError) as error:
                log.warning("frames_unheard", error=type(error).__name__)
                pause.wait(_PAUSE_S)


def _in_order(records: object) -> list[Frame]:
    """Return the frames of a log from the first on, up to where one is missing."""
    assert isinstance(records, list)  # noqa: S101 - what LRANGE answers
    frames = sorted((frame for record in records for _, frame in unpack(record)), key=lambda frame: frame.seq)
    return [frame for place, frame in enumerate(frames, start=1) if frame.seq == place]
