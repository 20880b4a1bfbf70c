"""The gateway of a running stack, with callers in front of it and a tester's eyes on its tables."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
from flask import Flask
from flask.testing import FlaskClient

from config.settings import Settings
from devstack.supervisor import Stack
from shared.access.model import Mode, Scope, Tier
from shared.bootstrap import Role, build
from tests.e2e.ledger_reader import LedgerReader
from tests.e2e.model_hand import ModelHand
from tests.e2e.patience import eventually
from web.app import create_app
from web.limits import limits_of

MODEL = "sim-small"
INFERENCE = "/v1/run/inference"
CHAT = "/v1/chat/completions"
ENDED = ("complete", "failed", "cancelled")


@dataclass(frozen=True)
class Gateway:
    """`http` calls with a live key; `keys` makes others."""

    stack: Stack
    http: httpx.Client
    key: str
    tables: LedgerReader
    model: ModelHand

    @property
    def url(self) -> str:
        """Where it listens."""
        return str(self.stack.endpoints["web"])

    def new_key(self, *scopes: Scope, mode: Mode = Mode.LIVE, tenant: str | None = None) -> str:
        """Return the text of a new key; without scopes it runs models."""
        container = build(Settings.load(self.stack.environment), Role.CLI)
        try:
            wanted = frozenset(scopes or (Scope.INFERENCE,))
            return container.api_keys.create(mode=mode, tier=Tier.FREE, scopes=wanted, tenant=tenant).text
        finally:
            container.database.close()

    def ask(self, prompt: str = "Say something short.", **members: Any) -> httpx.Response:
        """Ask for inference; the prompt is made unlike any other."""
        return self.http.post(INFERENCE, json=request(prompt, **members))

    # -- what is written down

    def state(self, run_id: str) -> str:
        """Return a run's state, from its row."""
        return str(self.tables.one("SELECT state FROM runs WHERE run_id = %(run)s", run=run_id))

    def newest_run(self, *, trace_id: str) -> str | None:
        """Return the newest run with a trace id, whatever its caller was told."""
        rows = self.tables.rows(
            "SELECT run_id FROM runs WHERE trace_id = %(trace)s ORDER BY id DESC LIMIT 1", trace=trace_id
        )
        return rows[0]["run_id"] if rows else None

    def receipts(self, run_id: str) -> list[dict[str, Any]]:
        """Return the bodies of a run's receipts."""
        rows = self.tables.rows(
            "SELECT body FROM receipts JOIN runs ON owner_kind = 'run' AND owner_id = runs.id"
            " WHERE runs.run_id = %(run)s ORDER BY receipts.id",
            run=run_id,
        )
        return [json.loads(row["body"]) for row in rows]

    def usage(self, run_id: str) -> list[dict[str, Any]]:
        """Return a run's usage rows."""
        return self.tables.rows(
            "SELECT usage.outcome, usage.route, usage.tokens_in, usage.tokens_out FROM usage"
            " JOIN runs ON owner_kind = 'run' AND owner_id = runs.id WHERE runs.run_id = %(run)s",
            run=run_id,
        )

    def require_one_end(self, run_id: str, *, within_s: float = 20.0) -> dict[str, Any]:
        """Wait for a run's end and return its usage: exactly one row, and one receipt that says the same."""
        eventually(lambda: self.state(run_id) in ENDED, what=f"the end of {run_id}", within_s=within_s)
        (usage,), (receipt,) = self.usage(run_id), self.receipts(run_id)
        assert receipt["receipt_id"] == receipt["run_id"] == run_id
        assert (receipt["tokens_in"], receipt["tokens_out"]) == (usage["tokens_in"], usage["tokens_out"])
        return usage


def request(prompt: str, **members: Any) -> dict[str, Any]:
    """Return the body of a request for inference."""
    named = {} if "model_passport_id" in members else {"model": MODEL}
    asked = {} if "messages" in members else {"prompt": unlike(prompt)}
    return {**named, **asked, **members}


def chat(prompt: str, **members: Any) -> dict[str, Any]:
    """Return the body of a chat completion."""
    return {"model": MODEL, "messages": [{"role": "user", "content": unlike(prompt)}], **members}


def unlike(text: str) -> str:
    """Return `text` with a part that no other has."""
    return f"{text} ({uuid.uuid4().hex})"


@contextmanager
def desk(stack: Stack, **changes: Any) -> Iterator[tuple[Flask, FlaskClient]]:
    """A web process of the same stack in this one, with other settings."""
    container = build(replace(Settings.load(stack.environment), **changes), Role.WEB)
    app = create_app(container)
    try:
        yield app, app.test_client()
    finally:
        container.database.close()
        limits_of(app).close()
        if container.bus._reader is None:  # one that reads ends with the process
            container.bus._client.close()


@contextmanager
def open_gateway(stack: Stack) -> Iterator[Gateway]:
    """Connect callers and a tester to a running stack."""
    with ExitStack() as opened:
        tables = LedgerReader(stack.endpoints["database_url"])
        opened.callback(tables.close)
        model = ModelHand(stack.endpoints["sim_llm"])
        opened.callback(model.close)
        http = opened.enter_context(httpx.Client(base_url=stack.endpoints["web"], timeout=40, trust_env=False))
        gateway = Gateway(stack, http, "", tables, model)
        key = gateway.new_key()
        http.headers["Authorization"] = f"Bearer {key}"
        yield Gateway(stack, http, key, tables, model)
