"""Verifications on real stores and a simulated model: the desk that takes them, a worker, and eyes on what they leave."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import dict_row

from config.settings import Settings
from shared.access.model import Mode, Principal, Scope, Tier
from shared.bootstrap import Container, Role, build
from shared.verification.items import Submitted, Task
from shared.verification.model import Pipeline, Stage, Verification, VerificationView
from tests.integration.llm.sim_process import SimProcess
from tests.integration.verification.near_sandbox import NearSandbox

NOWHERE = "127.0.0.1:9"
PATIENCE_S = 30.0
WRONG_ADD = "def add(a, b):\n    return a - b\n"
SUBMITTED = Submitted(WRONG_ADD, "python", "Function should add two numbers")
UNRUNNABLE = Submitted("def add(a, b)\n  a - b\nend\n", "ruby", "Function should add two numbers")
TASK = Task("Write a function add(a, b) that returns the sum of two numbers [sim:defect]", "python")
FORWARD = (Stage.EXTRACT, Stage.VERIFY, Stage.REMEDIATE)
REVERSE = (Stage.SPECIFY, Stage.CONSTRAIN, Stage.GENERATE, Stage.VERIFY, Stage.REPAIR)
EVERY_STAGE = [*((Pipeline.FORWARD, stage) for stage in FORWARD), *((Pipeline.REVERSE, stage) for stage in REVERSE)]


def environment(database_url: str, redis_url: str, sim_url: str, **settings: str) -> dict[str, str]:
    """Return the settings of one engine."""
    return {
        "LUCID_ENV": "embedded",
        "DATABASE_URL": database_url,
        "DATABASE_POOL_SIZE": "8",
        "REDIS_URL": redis_url,
        "REDIS_EVENTS_URL": redis_url,
        "SECRET_KEY": "03" * 32,
        "LND_GRPC": NOWHERE,
        "LND_TLS_CERT": "-----BEGIN CERTIFICATE-----",
        "LND_MACAROON_INVOICES": "00",
        "OPENAI_BASE_URL": sim_url,
        "SIM_OPENAI_BASE_URL": sim_url,
        "EVAL_MODEL": "sim-small",
        "WORK_MODEL": "sim-small",
        "LLM_FIRST_TOKEN_S": "5",
        "LLM_DEADLINE_S": "20",
        "LEASE_S": "60",
        "LOG_ORIGIN": "log.example/verifications",
        "RECEIPT_SIGNING_KEY": "01" * 32,
        "LOG_SIGNING_KEY": "02" * 32,
        "FLOWER_USER": "lucid",
        "FLOWER_PASSWORD": "not-a-secret",
        **settings,
    }


class VerificationBench:
    """`desk` is a web process's container, `worker` a worker's; neither has a queue: a stage is done when `work` is told so.

    Code runs in this very process.
    """

    def __init__(self, settings: Mapping[str, str], sim: SimProcess) -> None:
        self.sim = sim
        self.environment = dict(settings)
        self.settings = Settings.load(settings)
        self.desk = build(self.settings, Role.WEB)
        self.worker = build(self.settings, Role.WORKER)
        vars(self.worker)["sandboxes"] = NearSandbox()
        self._tenants = 0
        self._threads: list[threading.Thread] = []

    def close(self) -> None:
        """Wait for what still works, and close every connection."""
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "a worker hangs"
        if "verification_engine" in vars(self.worker):
            for model_api in self.worker.verification_engine._model_apis.values():
                model_api.close()  # type: ignore[attr-defined] # the client of a real API
        for container in (self.desk, self.worker):
            container.database.close()

    def tenant(self, mode: Mode = Mode.LIVE) -> Principal:
        """Return a caller of a tenant that nobody was before."""
        self._tenants += 1
        return Principal(f"tenant_{self._tenants}", mode, frozenset({Scope.VERIFICATION}), Tier.FREE)

    def ask(
        self, pipeline: Pipeline, principal: Principal, *, body: bytes = b"{}", stage: Stage | None = None
    ) -> Verification:
        """Have a verification accepted, such a one as has the model asked in `stage` too."""
        if pipeline is Pipeline.FORWARD:
            submitted = UNRUNNABLE if stage is Stage.VERIFY else SUBMITTED
            return self.desk.verifications.forward(submitted, principal=principal, body=body)
        return self.desk.verifications.reverse(TASK, principal=principal, body=body)

    def work(self, of: Verification, stage: Stage, *, container: Container | None = None) -> None:
        """Have a worker do one stage, in this thread."""
        engine = (container or self.worker).verification_engine
        by_name = {
            (Pipeline.FORWARD, Stage.VERIFY): engine.verify_claims,
            (Pipeline.REVERSE, Stage.VERIFY): engine.verify_generated,
        }
        by_name.get((of.pipeline, stage), getattr(engine, stage.value, None))(of.id)  # type: ignore[misc]

    def start(self, of: Verification, stage: Stage) -> threading.Thread:
        """Have a worker do one stage, in a thread of its own."""
        thread = threading.Thread(target=self.work, args=(of, stage))
        self._threads.append(thread)
        thread.start()
        return thread

    def work_up_to(self, of: Verification, stage: Stage) -> None:
        """Have a worker do what comes before `stage`."""
        for before in of.stages[: of.stages.index(stage)]:
            self.work(of, before)

    def done(self, of: Verification) -> VerificationView:
        """Have a worker do every stage; return how it ended."""
        for stage in of.stages:
            self.work(of, stage)
        return self.look(of)

    def look(self, of: Verification) -> VerificationView:
        """Return the verification as its owner sees it."""
        return self.desk.verifications.get(of.request_id, tenant=of.tenant)

    def await_call(self, mark: int) -> None:
        """Wait until a request beyond number `mark` has reached the model."""
        pause = threading.Event()
        for _ in range(int(PATIENCE_S / 0.01)):
            if self.sim.requests()["last"] > mark:
                return
            pause.wait(0.01)
        raise AssertionError("no request reached the model")

    def calls(self) -> int:
        """Return how many requests have reached the model."""
        return int(self.sim.requests()["last"])

    def used(self, principal: Principal) -> int:
        """Return how many units of the month's quota the tenant has used."""
        return self.desk.quotas.standing(principal).used

    # -- what is left in the database

    def rows(self, sql: str, *parameters: object) -> list[dict[str, Any]]:
        """Return the rows of a query, or of a change that returns some."""
        with self.connected() as connection:
            return connection.execute(sql.encode(), parameters).fetchall()

    def run(self, sql: str, *parameters: object) -> None:
        """Change rows behind the product's back."""
        with self.connected() as connection:
            connection.execute(sql.encode(), parameters)

    @contextmanager
    def connected(self) -> Iterator[psycopg.Connection[dict[str, Any]]]:
        """Open a connection to the database."""
        with psycopg.connect(self.settings.database_url, autocommit=True, row_factory=dict_row) as connection:
            yield connection

    def receipts(self, of: Verification) -> list[bytes]:
        """Return the bodies of the verification's receipts."""
        found = self.rows("SELECT body FROM receipts WHERE owner_kind = %s AND owner_id = %s", of.pipeline.value, of.id)
        return [bytes(row["body"]) for row in found]

    def attempts(self, of: Verification) -> list[tuple[str, int, str]]:
        """Return stage, number and state of every attempt, in their order."""
        return [(row.stage.value, row.attempt, row.state.value) for row in self.look(of).stage_rows]
