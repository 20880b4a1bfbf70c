"""All processes of one stack: started one by one, stopped in waves, written down for whoever must end them otherwise."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from enum import IntEnum

from devstack.home import Home
from devstack.leftovers import Roll
from devstack.process import Command, Process, run_to_end

_APPLICATION_GRACE_S = 20.0
_DOOR_GRACE_S = 5.0
_PART_GRACE_S = 3.0
_STORE_GRACE_S = 4.0


class Role(IntEnum):
    """What a process is to the stack, in the order of stopping: at most 30 seconds in all."""

    RINGER = 0  # brings new work: beat, invoices, relay
    DOOR = 1  # web: requests under way still wait for workers
    WORKER = 2
    PART = 3  # Lightning, models, witness
    STORE = 4
    WATCHDOG = 5


class Crew:
    """Starts processes under one home and knows how they are stopped."""

    def __init__(self, home: Home, *, on_event: Callable[[str], None]) -> None:
        self._roll = Roll(home.roll)
        self._on_event = on_event
        self._members: dict[str, tuple[Role, Process]] = {}

    @property
    def members(self) -> dict[str, Process]:
        """Every process by name, in the order of starting."""
        return {name: process for name, (_, process) in self._members.items()}

    def start(self, command: Command, role: Role) -> Process:
        """Start `command` and keep it running until `stop`."""
        process = Process(command, roll=self._roll, on_event=self._on_event)
        # Entered before it runs: an interrupt in between must find it.
        self._members[command.name] = (role, process)
        process.start()
        return process

    def run_to_end(self, command: Command, *, timeout_s: float) -> None:
        """Run a command that is meant to end; see `devstack.process.run_to_end`."""
        run_to_end(command, roll=self._roll, timeout_s=timeout_s)

    def stop(self) -> None:
        """Stop all: doorbells and door, then workers, then parts, then stores. What does not end in time is killed."""
        deadline = time.monotonic() + _APPLICATION_GRACE_S
        front = [*self._of(Role.RINGER), *self._of(Role.DOOR)]
        workers = self._of(Role.WORKER)
        _ask(front)
        _await_ends(front, until=time.monotonic() + _DOOR_GRACE_S)
        _ask(workers)
        _finish([*front, *workers], until=deadline)
        for role, grace_s in ((Role.PART, _PART_GRACE_S), (Role.STORE, _STORE_GRACE_S), (Role.WATCHDOG, 1.0)):
            _ask(self._of(role))
            _finish(self._of(role), until=time.monotonic() + grace_s)
        self._members.clear()
        self._roll.close()

    def _of(self, role: Role) -> list[Process]:
        return [process for its_role, process in self._members.values() if its_role is role]


class Lifeline:
    """A pipe whose writing end only this process holds: the watchdog reads its end as "the supervisor is gone"."""

    def __init__(self) -> None:
        self.reading_end, self._writing_end = os.pipe()

    def close(self) -> None:
        """Let go of both ends."""
        os.close(self.reading_end)
        os.close(self._writing_end)


def _ask(processes: Iterable[Process]) -> None:
    for process in processes:
        process.ask_to_stop()


def _await_ends(processes: Iterable[Process], *, until: float) -> None:
    for process in processes:
        process.await_end(until - time.monotonic())


def _finish(processes: Iterable[Process], *, until: float) -> None:
    for process in processes:
        process.finish(until - time.monotonic())
