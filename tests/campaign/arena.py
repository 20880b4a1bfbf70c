"""The product between stores that can be cut off from it: parts in one stack, the Procfile's processes in another, wires between."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx

from devstack.process import Process
from devstack.supervisor import Stack
from tests.campaign.audit import Auditor
from tests.campaign.clocks import Clocks, inherited
from tests.campaign.customer import REQUEST
from tests.campaign.wire import Wire
from tests.e2e.ledger_reader import LedgerReader
from tests.e2e.market import PROCESSES, QUICK
from tests.e2e.model_hand import ModelHand
from tests.e2e.node_books import NodeBooks
from tests.e2e.patience import eventually

SLOW = "pace:0.08,tokens:20"
_OF_THE_PARTS_ALONE = ("PORT", "FLOWER_PORT", "LUCID_HOME", "PATH", "PYTHONUNBUFFERED")


@dataclass(frozen=True)
class Arena:
    """Two stacks and the wires between: `application` reaches its stores over them, the tester reaches them directly."""

    parts: Stack
    application: Stack
    database_wire: Wire
    broker_wire: Wire
    clocks: Clocks | None = None

    @property
    def endpoints(self) -> dict[str, Any]:
        """The parts' map with the application's web."""
        return {**self.parts.endpoints, "web": self.application.endpoints["web"]}

    def process(self, name: str) -> Process:
        """Return a process of either stack."""
        owner = self.parts if name in self.parts.processes else self.application
        return owner.process(name)

    def require_clocks(self) -> Clocks:
        """Return the clocks; only an arena that was started with some can have them set."""
        assert self.clocks is not None
        return self.clocks

    def slow_the_model(self) -> None:
        """Have the model take its time over each answer, so that what dies dies in the midst of work."""
        with closing(ModelHand(self.endpoints["sim_llm"])) as model:
            eventually(lambda: _obeys(model), what="a simulated model that answers")

    @contextmanager
    def auditor(self) -> Iterator[Auditor]:
        """Open the books."""
        with ExitStack() as opened:
            ledger = LedgerReader(self.endpoints["database_url"])
            opened.callback(ledger.close)
            nodes = NodeBooks(self.endpoints)
            opened.callback(nodes.close)
            yield Auditor(ledger, nodes)


@contextmanager
def running_arena(home: Path, *, clocks: Clocks | None = None, **settings: str) -> Iterator[Arena]:
    """Run parts and application, with `settings` on top of the quick ones, by `clocks` where there are some."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    user = {**kept, **QUICK, **settings, "PORT": "0"}
    with ExitStack() as opened:
        with inherited(clocks.stores.environment if clocks else {}):
            of_parts = user | (clocks.nodes.environment if clocks else {})
            stack = Stack(home / "parts", of_parts, real_model=False, processes=(), migrate=False)
            parts = opened.enter_context(stack)
        shared = {name: value for name, value in parts.environment.items() if name not in _OF_THE_PARTS_ALONE}
        database_wire = opened.enter_context(Wire(_port(shared["DATABASE_URL"])))
        broker_wire = opened.enter_context(Wire(_port(shared["REDIS_URL"])))
        shared["DATABASE_URL"] = _through(shared["DATABASE_URL"], database_wire)
        shared["REDIS_URL"] = _through(shared["REDIS_URL"], broker_wire)
        of_application = {**shared, **user, **(clocks.application.environment if clocks else {})}
        application = Stack(home / "application", of_application, real_model=False, processes=PROCESSES)
        opened.enter_context(application)
        yield Arena(parts, application, database_wire, broker_wire, clocks)


def _obeys(model: ModelHand) -> bool:
    try:
        model.heal()
        model.fault(SLOW, match=REQUEST, times=None)
    except httpx.HTTPError:
        return False
    return True


def _port(url: str) -> int:
    return urlsplit(url).port or 0


def _through(url: str, wire: Wire) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{wire.port}")))
