"""The engine on real stores and a simulated model: the desk that takes runs, workers as threads, and eyes on what they leave."""

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
from shared.inference.model import Ask, Frame, Run, RunView, Surface
from tests.integration.llm.sim_process import SimProcess

NOWHERE = "127.0.0.1:9"
TENANT = "tenant_a"
PATIENCE_S = 15.0


class EngineBench:
    """`desk` is a web process's container, `worker` a worker's; neither has a queue: a run is done when `work` is told so."""

    def __init__(self, database_url: str, redis_url: str, sim: SimProcess, spare: SimProcess, **settings: str) -> None:
        self.sim = sim
        self.spare = spare
        self.settings = Settings.load(
            {
                "LUCID_ENV": "embedded",
                "DATABASE_URL": database_url,
                "DATABASE_POOL_SIZE": "8",
                "REDIS_URL": redis_url,
                "REDIS_EVENTS_URL": redis_url,
                "SECRET_KEY": "03" * 32,
                "LND_GRPC": NOWHERE,
                "LND_TLS_CERT": "-----BEGIN CERTIFICATE-----",
                "LND_MACAROON_INVOICES": "00",
                "OPENAI_BASE_URL": sim.base_url,
                "UPSTREAMS": f"spare={spare.base_url}",
                "SIM_OPENAI_BASE_URL": sim.base_url,
                "EVAL_MODEL": "sim-small",
                "WORK_MODEL": "sim-small",
                "LLM_FIRST_TOKEN_S": "2",
                "LLM_DEADLINE_S": "6",
                "LEASE_S": "30",
                "DISCONNECT_GRACE_S": "0.5",
                "LOG_ORIGIN": "log.example/runs",
                "RECEIPT_SIGNING_KEY": "01" * 32,
                "LOG_SIGNING_KEY": "02" * 32,
                "FLOWER_USER": "lucid",
                "FLOWER_PASSWORD": "not-a-secret",
                **settings,
            }
        )
        self.desk = build(self.settings, Role.WEB)
        self.worker = build(self.settings, Role.WORKER)
        self._made = [self.desk, self.worker]
        self._threads: list[threading.Thread] = []

    def close(self) -> None:
        """Wait for what still works, and close every connection."""
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "a worker hangs"
        for container in self._made:
            if "inference" in vars(container):
                container.inference._upstream_pool.close()
            container.database.close()  # what listens to Redis does so until the process ends

    def speak_for_nodes(self) -> None:
        """Have every node count as heard of just now, the spare one as slower than the others."""
        spoken = """UPDATE heartbeats SET status = 'healthy', seen_at = now(), p95_ms = CASE WHEN passport_id IN (
                        SELECT passport_id FROM passports WHERE type = 'compute' AND name = 'spare') THEN 900 ELSE 10 END"""
        with self.connected() as connection:
            connection.execute(spoken.encode())

    def await_call(self, mark: int) -> int:
        """Return the number of the request that reaches the model after number `mark`."""
        pause = threading.Event()
        while self.sim.requests()["last"] == mark:
            pause.wait(0.01)
        return mark + 1

    def another_worker(self) -> Container:
        """Return the container of one more worker process."""
        self._made.append(build(self.settings, Role.WORKER))
        return self._made[-1]

    def ask(
        self,
        text: str = "Say something short.",
        *,
        surface: Surface = Surface.INFERENCE,
        policy: Mapping[str, Any] | None = None,
        stream: bool = False,
        mode: Mode = Mode.LIVE,
        tenant: str = TENANT,
        body: bytes = b"{}",
        messages: list[dict[str, Any]] | None = None,
        options: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Run:
        """Have a run accepted."""
        asked = Ask(
            surface=surface,
            model=more.pop("model", "sim-small"),
            messages=messages or [{"role": "user", "content": text}],
            options=options or {"max_tokens": 512},
            stream=stream,
            policy=None if policy is None else {"policy_version": "1.0", **policy},
            **more,
        )
        return self.desk.runs.create(asked, principal=principal(tenant, mode), body=body)

    def work(self, run: Run, *, container: Container | None = None) -> None:
        """Have a worker do the run, in this thread."""
        (container or self.worker).inference.infer(run.id)

    def start(self, run: Run, *, container: Container | None = None) -> threading.Thread:
        """Have a worker do the run, in a thread of its own."""
        thread = threading.Thread(target=self.work, args=(run,), kwargs={"container": container})
        self._threads.append(thread)
        thread.start()
        return thread

    def done(self, run: Run) -> RunView:
        """Have a worker do the run; return how it ended."""
        self.work(run)
        return self.look(run)

    def look(self, run: Run) -> RunView:
        """Return the run as its owner sees it."""
        return self.desk.runs.get(run.run_id, tenant=run.tenant)

    def read(self, run: Run, *, after: int = 0) -> list[Frame]:
        """Return a stream's events, up to the last."""
        return [frame for frame in self.desk.runs.frames(run, after=after, idle_s=PATIENCE_S) if frame is not None]

    def prune(self, days: int) -> None:
        """Have what is older than so many days forgotten."""
        with self.worker.database.transaction() as tx:
            self.worker.runs.forget(tx, days=days)

    # -- what is left in the database

    def row(self, sql: str, *parameters: object) -> dict[str, Any]:
        """Return the only row of a query."""
        with self.connected() as connection:
            rows = connection.execute(sql.encode(), parameters).fetchall()
        assert len(rows) == 1, f"{len(rows)} rows"
        return rows[0]

    @contextmanager
    def connected(self) -> Iterator[psycopg.Connection[dict[str, Any]]]:
        """Open a connection to the database."""
        with psycopg.connect(self.settings.database_url, autocommit=True, row_factory=dict_row) as connection:
            yield connection

    def receipt(self, run: Run) -> dict[str, Any]:
        """Return the body of the run's one receipt."""
        body: dict[str, Any] = self.row("SELECT body FROM receipts WHERE owner_kind = 'run' AND owner_id = %s", run.id)[
            "body"
        ]
        return body

    def usage(self, run: Run) -> dict[str, Any]:
        """Return the run's one usage row."""
        return self.row("SELECT * FROM usage WHERE owner_kind = 'run' AND owner_id = %s", run.id)

    def stored(self, run: Run) -> dict[str, Any]:
        """Return the run's row."""
        return self.row("SELECT * FROM runs WHERE id = %s", run.id)


def principal(tenant: str = TENANT, mode: Mode = Mode.LIVE) -> Principal:
    """Return a caller with a key that is in no table."""
    return Principal(tenant, mode, frozenset({Scope.INFERENCE}), Tier.FREE)
