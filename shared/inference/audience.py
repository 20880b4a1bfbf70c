"""Who reads which stream in this process: events as they come, the rest from the database, complete, in order, never a splice.

A reader that missed something looks into the stream's log, and waits for the end where that does not help. One look a second
at all runs that are read here finds what Redis failed to tell, and notes that somebody is there.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import structlog

from shared.db.service import Database
from shared.inference import store
from shared.inference.channel import FrameReceiver
from shared.inference.model import Frame, Run, RunState
from shared.kernel.clock import Clock
from shared.kernel.errors import Unavailable
from shared.kernel.failpoints import effect as failpoint

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 1.0
MOST_WAITING = 5000
"""Events that one reader may lag behind; beyond, it looks into the log, as after any gap."""


class _Seat:
    """One reader's place: what came for it, and whether the run is known to have ended."""

    def __init__(self) -> None:
        self.news = threading.Event()
        self.frames: deque[Frame] = deque(maxlen=MOST_WAITING)
        self.has_ended = False
        self.blind_until = 0.0  # the log had not what was missing: no use in asking at every event

    def take(self) -> list[Frame]:
        """Return what came since the last call."""
        self.news.clear()
        taken = []
        while self.frames:
            taken.append(self.frames.popleft())
        return taken


class Audience:
    """All readers of this process."""

    def __init__(self, database: Database, receiver: FrameReceiver, *, clock: Clock) -> None:
        self._database = database
        self._receiver = receiver
        self._clock = clock
        self._seats: dict[int, set[_Seat]] = defaultdict(set)
        self._lock = threading.Lock()
        self._usher: threading.Thread | None = None

    def read(self, run: Run, *, after: int, idle_s: float) -> Generator[Frame | None]:
        """Yield a streamed run's events after number `after`, up to the last; None where nothing came for `idle_s` seconds."""
        with self._seated(run.id) as seat:
            yield from self._follow(run.id, seat, after, idle_s)

    def is_reading(self, run_row: int) -> bool:
        """Tell whether somebody here reads this run."""
        with self._lock:
            return run_row in self._seats

    # -- one reader

    def _follow(self, run_row: int, seat: _Seat, sent: int, idle_s: float) -> Iterator[Frame | None]:
        waiting = self._catch_up(run_row, seat)
        quiet_since = self._clock.monotonic()
        while True:
            for frame in self._unbroken(run_row, seat, waiting, sent):
                sent, quiet_since = frame.seq, self._clock.monotonic()
                yield frame
                if frame.is_last:
                    return
            if seat.has_ended and (rest := self._stored(run_row, sent)) is not None:
                yield from rest
                return
            left_s = quiet_since + idle_s - self._clock.monotonic()
            if left_s > 0:
                seat.news.wait(left_s)
            else:
                quiet_since = self._clock.monotonic()
                yield None
            waiting = seat.take()

    def _unbroken(self, run_row: int, seat: _Seat, frames: list[Frame], sent: int) -> Iterator[Frame]:
        """Yield what follows number `sent`, in order; what is missing in between is looked for in the log."""
        for frame in frames:
            if frame.seq > sent + 1 and self._clock.monotonic() >= seat.blind_until:
                for missed in self._receiver.logged(run_row):
                    if missed.seq == sent + 1:
                        sent = missed.seq
                        yield missed
                if frame.seq > sent + 1:
                    seat.blind_until = self._clock.monotonic() + LOOK_EVERY_S
            if frame.seq == sent + 1:
                sent = frame.seq
                yield frame

    def _catch_up(self, run_row: int, seat: _Seat) -> list[Frame]:
        """Return what was sent before the reader sat down."""
        self._look_at([run_row])
        with self._database.transaction() as tx:
            view = store.run(tx, run_row)
        if view is None or view.end is not None:
            seat.has_ended = True
            return []
        return self._receiver.logged(run_row) if view.run.streaming_since is not None else []

    def _stored(self, run_row: int, sent: int) -> list[Frame] | None:
        """Return what the database has beyond number `sent`; where that is nothing, what closed the stream.

        None where the database is away: the reader then waits for it, since a stream that broke off here would have no end.
        """
        try:
            with self._database.transaction() as tx:
                view = store.run(tx, run_row)
                rest, total = store.frames(tx, run_row, after=sent)
                if not rest and total:
                    rest, _ = store.frames(tx, run_row, after=total - 1)
        except Unavailable as error:
            log.warning("frames_not_read", error=type(error).__name__)
            return None
        is_fault = view is not None and view.run.state is not RunState.COMPLETE
        first = total - len(rest) + 1
        return [
            Frame(seq, wire, is_last=seq == total, is_fault=is_fault and seq == total)
            for seq, wire in enumerate(rest, start=first)
        ]

    # -- all readers

    @contextmanager
    def _seated(self, run_row: int) -> Iterator[_Seat]:
        seat = _Seat()
        with self._lock:
            self._seats[run_row].add(seat)
            if self._usher is None:
                self._usher = threading.Thread(target=self._look_around, name="audience", daemon=True)
                self._usher.start()
        self._receiver.listen(self._hand_on)
        try:
            yield seat
        finally:
            with self._lock:
                self._seats[run_row].discard(seat)
                if not self._seats[run_row]:
                    del self._seats[run_row]

    def _hand_on(self, run_row: int, frame: Frame) -> None:
        if run_row not in self._seats:
            return
        with self._lock:
            seats = list(self._seats.get(run_row, ()))
        for seat in seats:
            seat.frames.append(frame)
            seat.news.set()

    def _look_around(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(LOOK_EVERY_S)
            with self._lock:
                rows = list(self._seats)
            if not rows:
                continue
            try:
                ended = self._look_at(rows)
            except Unavailable as error:
                log.warning("runs_not_looked_at", error=type(error).__name__)
                continue
            with self._lock:
                seats = [seat for row in ended for seat in self._seats.get(row, ())]
            for seat in seats:
                seat.has_ended = True
                seat.news.set()

    def _look_at(self, rows: list[int]) -> list[int]:
        with self._database.transaction() as tx, failpoint("run.stay"):
            store.stay(tx, rows)
            return store.ended_among(tx, rows)
