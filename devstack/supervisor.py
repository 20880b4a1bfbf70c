"""The embedded stack: starts what the environment leaves open, keeps it running, stops it in order.

Everything descends from the process that holds the `Stack`. Should that be killed outright, the watchdog ends the rest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from devstack import machine
from devstack.crew import Crew, Lifeline, Role
from devstack.endpoints import describe
from devstack.faults import StackFault
from devstack.files import write_json
from devstack.foundation import Foundation
from devstack.home import Home, Keys
from devstack.leftovers import end_leftovers
from devstack.parts import ROOT, Parts
from devstack.plan import DEFAULT_WEB_PORT, Plan, base_environment, completed, own_settings, require_settings
from devstack.ports import Ports
from devstack.process import Process
from devstack.procfile import RELEASE, read_procfile
from devstack.readiness import await_http

READY_S = 120.0
RELEASE_S = 300.0
SYNC = "python -m cli.main catalog sync"
_ROLES = {"beat": Role.RINGER, "invoices": Role.RINGER, "relay": Role.RINGER, "flower": Role.RINGER, "web": Role.DOOR}


class Stack:
    """The stack of one home. A context manager: `start` on entry, `stop` on exit; a stopped one may be started again.

    `environment` is the user's: what it sets is used, what it leaves open is filled in. `processes` limits which lines of
    the Procfile run (None: all; empty: stores, nodes and models only). `PORT=0` picks a free port for web. `on_event` gets
    lines for people, from several threads.
    """

    def __init__(
        self,
        home: Path,
        environment: Mapping[str, str],
        *,
        real_model: bool,
        processes: Collection[str] | None = None,
        on_event: Callable[[str], None] = lambda _: None,
        migrate: bool = True,
    ) -> None:
        self.home = Home(home.absolute())
        self.environment: dict[str, str] = {}
        self.endpoints: dict[str, Any] = {}
        self._user = dict(environment)
        self._real_model = real_model
        self._wanted = processes
        self._listener = on_event
        self._migrate = migrate
        self._crew = Crew(self.home, on_event=self._on_event)
        self._running = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and return when it is ready. Whatever interrupts this, nothing is left running.

        Raises `StackFault` with a line for the user: the home is in use, a port is taken, a part does not come up.
        """
        machine.require_python()
        plan = Plan.of(self._user, real_model=self._real_model)
        lines = read_procfile(ROOT / "Procfile")
        release = lines.pop(RELEASE, None)
        chosen = self._chosen(lines)
        try:
            self._running.enter_context(self.home.locked())
            self._bring_up(plan, chosen, release=release, is_whole=chosen == lines)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop everything, stores last; within 30 s, whatever the processes do. Does nothing if nothing runs."""
        self._running.close()

    @property
    def processes(self) -> dict[str, Process]:
        """All processes by name, in the order of starting."""
        return self._crew.members

    def process(self, name: str) -> Process:
        """Answer a part (`postgres`, `valkey`, `lightning`, `witness`, `model`, `sim-model`) or a Procfile process."""
        members = self.processes
        if name not in members:
            raise KeyError(f"no process {name} here; there are {', '.join(members)}")
        return members[name]

    def log(self, name: str) -> str:
        """Answer all that a process wrote."""
        return self.process(name).log()

    def _on_event(self, line: str) -> None:
        """Tell the listener. A terminal that went away must not end the supervision."""
        with contextlib.suppress(OSError, ValueError):
            self._listener(line)

    def _bring_up(self, plan: Plan, lines: Mapping[str, str], *, release: str | None, is_whole: bool) -> None:
        self._clear_the_ground()
        ports = Ports(self.home.folder / "ports.json")
        keys = Keys.of(self.home)
        base = self._base(ports, needs_web="web" in lines)
        foundation = Foundation(plan, self.home, keys, ports, self._user, self._on_event)
        model_file = foundation.fetch_model()
        parts = Parts(self.home, ports, base)
        self._open_crew(parts)
        foundation.start(self._crew, parts, model_file=model_file)
        self.environment = completed(self._user, own_settings(keys) | foundation.settings) | base
        require_settings(self.environment)
        if self._migrate and release is not None:
            self._on_event("database: migrating")
            command = parts.procfile_line(RELEASE, release, self.environment)
            self._crew.run_to_end(command, timeout_s=RELEASE_S)
        self._start_application(parts, lines, is_whole=is_whole)
        foundation.await_model()
        if plan.model and self._migrate:
            # The release found it loading, so it has neither been registered as what it is nor found healthy.
            self._crew.run_to_end(parts.procfile_line("catalog", SYNC, self.environment), timeout_s=RELEASE_S)
        self.endpoints = describe(self.environment, lightning=foundation.lightning)
        write_json(self.home.endpoints, self.endpoints)

    def _clear_the_ground(self) -> None:
        self.home.endpoints.unlink(missing_ok=True)
        left = end_leftovers(self.home.roll)
        if left:
            self._on_event(f"ended what an earlier start left running: {', '.join(left)}")
        machine.require_disk(
            self.home.folder,
            bytes_needed=machine.HOME_DISK_BYTES,
            purpose="the embedded stack",
            remedy="free some, or point LUCID_HOME elsewhere",
        )

    def _open_crew(self, parts: Parts) -> None:
        lifeline = Lifeline()
        self._running.callback(lifeline.close)
        self._running.callback(self._crew.stop)
        self._running.callback(self.home.endpoints.unlink, missing_ok=True)
        self._crew.start(parts.watchdog(stdin=lifeline.reading_end), Role.WATCHDOG)

    def _start_application(self, parts: Parts, lines: Mapping[str, str], *, is_whole: bool) -> None:
        started = [
            self._crew.start(parts.procfile_line(name, line, self.environment), _ROLES.get(name, Role.WORKER))
            for name, line in lines.items()
        ]
        if "web" in lines:
            # Web is ready only when workers consume; where they were not asked for, its answering is all there is.
            port = int(self.environment["PORT"])
            await_http(port, "/health/ready", alive=started, timeout_s=READY_S, accept_any=not is_whole)

    def _base(self, ports: Ports, *, needs_web: bool) -> dict[str, str]:
        """Answer the environment of every process, ports included."""
        base = base_environment(self._user, home=self.home)
        asked = self._user.get("PORT") or str(DEFAULT_WEB_PORT)
        if not asked.isdigit():
            raise StackFault(f"PORT={asked} is not a port number", "unset it, or choose one below 32768")
        if needs_web and asked != "0":
            machine.require_free_port(int(asked), variable="PORT")
        base["PORT"] = str(ports.of("web")) if asked == "0" else asked
        base["FLOWER_PORT"] = self._user.get("FLOWER_PORT") or str(ports.of("flower"))
        return base

    def _chosen(self, lines: Mapping[str, str]) -> dict[str, str]:
        if self._wanted is None:
            return dict(lines)
        unknown = sorted(set(self._wanted) - set(lines))
        if unknown:
            raise StackFault(f"the Procfile has no {', '.join(unknown)}", f"it has {', '.join(lines)}")
        return {name: line for name, line in lines.items() if name in self._wanted}
