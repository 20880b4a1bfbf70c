"""Asks every part that the product stands on for a sign of life, side by side, each within three seconds."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from cli.findings import Finding, fault, ok, warning
from config.settings import Settings
from shared.db.migrations import SchemaMismatch, require_current
from shared.events.client import Bus, connect
from shared.kernel.errors import LucidError

TIMEOUT_S = 3.0
_CALL_S = 2.5
"""A part's own time, so that its own words come before ours."""


@dataclass
class Question:
    """One part. `ask` returns findings or raises; `remedy` is what to do where it does not answer."""

    part: str
    ask: Callable[[], list[Finding]]
    remedy: str
    findings: list[Finding] = field(default_factory=list)
    answered: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Ask, and turn whatever is raised into a finding without its text, which may hold a password."""
        try:
            self.findings = self.ask()
        except LucidError as error:
            self.findings = [fault(self.part, error.message, self.remedy)]
        except Exception as error:  # noqa: BLE001 - whatever a dead part raises, the answer is the same
            self.findings = [fault(self.part, f"does not answer ({type(error).__name__})", self.remedy)]
        self.answered.set()

    def outcome(self, timeout_s: float) -> list[Finding]:
        """Return the findings, or that there was no answer in time."""
        if self.answered.wait(timeout_s):
            return self.findings
        return [fault(self.part, f"no answer within {TIMEOUT_S:g} s", self.remedy)]


def reachability(settings: Settings, *, web: str) -> list[Finding]:
    """Ask database, Redis, Lightning node, witness, model and `web` (its base URL, empty where none is known)."""
    questions = [
        Question("database", lambda: _database(settings), "start PostgreSQL; check DATABASE_URL"),
        Question("redis", lambda: _redis(settings), "start Redis or Valkey; check REDIS_URL and REDIS_EVENTS_URL"),
        Question("lightning", lambda: _lightning(settings), "start lnd; check LND_GRPC, LND_TLS_CERT and the macaroon"),
        Question("model", lambda: _model(settings), "start the model's API; check OPENAI_BASE_URL and OPENAI_API_KEY"),
    ]
    if settings.witness_url:
        questions.append(
            Question(
                "witness", lambda: _witness(settings), "check WITNESS_URL; until it answers, epochs stay anchoring"
            )
        )
    if web:
        questions.append(Question("web", lambda: _web(web), f"start web, or see why {web}/health/ready says no"))
    for question in questions:
        threading.Thread(target=question.run, name=f"ask-{question.part}", daemon=True).start()
    return [finding for question in questions for finding in question.outcome(TIMEOUT_S)]


def _database(settings: Settings) -> list[Finding]:
    answers = ok("database", "answers")
    try:
        require_current(settings.database_url)
    except SchemaMismatch as error:
        return [answers, fault("schema", error.message, "run `lucid migrate` of the release that is deployed")]
    return [answers, ok("schema", "is the one that this code asks for")]


def _redis(settings: Settings) -> list[Finding]:
    for url in (settings.redis_url, settings.redis_events_url):
        client = connect(url)
        try:
            Bus(client).ping()
        finally:
            client.close()
    return [ok("redis", "answers for the broker and for announcements")]


def _lightning(settings: Settings) -> list[Finding]:
    from shared.lightning.clients.faults import NodeRefused
    from shared.lightning.clients.lnd import LndClient

    node = LndClient(settings.lnd_grpc, settings.lnd_tls_cert, settings.lnd_macaroon_invoices, timeout_s=_CALL_S)
    try:
        info = node.get_info()
    except NodeRefused:
        # A macaroon without info:read may still do its work: an unknown invoice is asked for instead.
        node.lookup_invoice(bytes(32))
        return [ok("lightning", "answers; the macaroon does not allow asking who it is")]
    finally:
        node.close()
    if info.network != settings.lnd_network:
        detail = f"is a node of {info.network}, and LND_NETWORK says {settings.lnd_network}"
        return [fault("lightning", detail, "set LND_NETWORK to the node's network, or LND_GRPC to the right node")]
    if not info.synced:
        return [warning("lightning", "answers, and is not synchronised with its chain", "wait, or look at lnd's log")]
    return [ok("lightning", f"{info.alias or 'the node'} on {info.network} answers")]


def _model(settings: Settings) -> list[Finding]:
    headers = {"Authorization": f"Bearer {settings.openai_api_key}"} if settings.openai_api_key else {}
    answer = _get(f"{settings.openai_base_url.rstrip('/')}/models", headers)
    if answer.status_code != httpx.codes.OK:
        detail = f"answers {answer.status_code} to /models"
        return [fault("model", detail, "check OPENAI_API_KEY and that OPENAI_BASE_URL ends where /models begins")]
    listed = {str(model.get("id")) for model in answer.json().get("data", [])}
    missing = sorted({settings.eval_model, settings.work_model} - listed)
    if missing:
        detail = f"answers, and does not list {', '.join(missing)}"
        return [warning("model", detail, "check EVAL_MODEL and WORK_MODEL: some APIs take names that they do not list")]
    return [ok("model", f"answers and has {', '.join(sorted({settings.eval_model, settings.work_model}))}")]


def _witness(settings: Settings) -> list[Finding]:
    """Any answer but a server's fault will do: the protocol has no question that changes nothing."""
    answer = _get(settings.witness_url, {})
    if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
        return [fault("witness", f"answers {answer.status_code}", "look at the witness's log")]
    return [ok("witness", "answers")]


def _web(base: str) -> list[Finding]:
    answer = _get(f"{base.rstrip('/')}/health/ready", {})
    if answer.status_code == httpx.codes.OK:
        return [ok("web", f"{base} is ready")]
    why = answer.json().get("error") if answer.headers.get("Content-Type", "").startswith("application/json") else None
    detail = f"{base} is not ready: {why or answer.status_code}"
    return [fault("web", detail, "start what it names; `lucid up` runs all of it, Procfile lists it")]


def _get(url: str, headers: dict[str, str]) -> httpx.Response:
    return httpx.get(url, headers=headers, timeout=_CALL_S, trust_env=False)
