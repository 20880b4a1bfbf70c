"""The pipelines of a running stack: a customer with a key of his own, who asks and holds each answer against the contract's page."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from jsonschema import Draft202012Validator

from config.settings import Settings
from devstack.supervisor import Stack
from shared.access.model import Mode, Scope, Tier
from shared.bootstrap import Role, build
from tests.contract import pipelines_page
from tests.contract.document_comparison import body_of, json_schema, operations
from tests.e2e.ledger_reader import LedgerReader
from tests.e2e.patience import eventually

FORWARD, REVERSE, RUNS, USAGE = "/api/v1/forward", "/api/v1/reverse", "/api/v1/runs", "/api/v1/usage"
ASYNC = {"Prefer": "respond-async"}
ENDED = ("complete", "failed", "cancelled")
PATIENCE_S = 900.0
EXAMPLE_S = 900
CONTEXT = "Function should add two numbers"


@dataclass(frozen=True)
class Customer:
    """`http` calls with `key`; `tables` is the tester's."""

    stack: Stack
    http: httpx.Client
    key: str
    tables: LedgerReader

    @property
    def url(self) -> str:
        """Where the service listens."""
        return str(self.stack.endpoints["web"])

    def forward(self, code: str, *, headers: dict[str, str] | None = None, **members: Any) -> httpx.Response:
        """Ask for verification."""
        return self.http.post(FORWARD, json={"code": code, **members}, headers=headers or {})

    def verified(self, code: str, **members: Any) -> dict[str, Any]:
        """Return a complete verification that is what the page says."""
        answer = self.forward(code, **members)
        assert answer.status_code == httpx.codes.OK, answer.text
        return self.true("forward", answer.json())

    def generated(self, task: str, **members: Any) -> dict[str, Any]:
        """Return generated code, in an answer that is what the page says."""
        answer = self.http.post(REVERSE, json={"task": task, **members})
        assert answer.status_code == httpx.codes.OK, answer.text
        return self.true("reverse", answer.json())

    def placed(self, code: str, **members: Any) -> str:
        """Return the id of a run that nobody waits for."""
        answer = self.forward(code, headers=ASYNC, **members)
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        return str(answer.json()["request_id"])

    def run(self, run_id: str) -> dict[str, Any]:
        """Return a run as it stands."""
        answer = self.http.get(f"{RUNS}/{run_id}")
        assert answer.status_code == httpx.codes.OK, answer.text
        return dict(answer.json())

    def ended(self, run_id: str) -> dict[str, Any]:
        """Return a run once it has ended."""
        eventually(lambda: self.run(run_id)["state"] in ENDED, what="the end of a run", within_s=PATIENCE_S)
        return self.run(run_id)

    def used(self) -> int:
        """Return how many verifications of this month are used."""
        return int(self.http.get(USAGE).json()["verifications"]["used"])

    def true(self, pipeline: str, body: dict[str, Any]) -> dict[str, Any]:
        """Require an answer's shape, by the page's sample and by the served document, and that its counts add up; return it."""
        chapter = pipelines_page.chapters()[f"/api/v1/{pipeline}"]
        Draft202012Validator(pipelines_page.schema_of(pipelines_page.sample(chapter))).validate(body)
        served = self.http.get("/api/v1/openapi.json").json()
        (operation,) = [one for _, _, one in operations(served) if one["operationId"] == pipeline]
        Draft202012Validator(json_schema(body_of(operation["responses"]["200"]))).validate(body)
        (require_true_claims if pipeline == "forward" else require_true_specifications)(body)
        return body


def require_true_claims(body: dict[str, Any]) -> None:
    """The counts of a verification add up, and each claim has its verdict."""
    claims, verdicts, told = body["claims"], body["verification"]["items"], body["verification"]
    assert claims["count"] == len(claims["items"]) == told["total"] == len(verdicts)
    assert [claim["id"] for claim in claims["items"]] == [verdict["claimId"] for verdict in verdicts]
    for verdict, count in (("PASS", "passed"), ("FAIL", "failed"), ("PARTIAL", "partial"), ("N/A", "not_applicable")):
        assert told[count] == sum(one["verdict"] == verdict for one in verdicts)
    assert told["passed"] + told["failed"] + told["partial"] + told["not_applicable"] == told["total"]
    assert body["remediation"]["count"] == len(body["remediation"]["items"])
    for verdict in verdicts:
        assert (verdict["evidence_kind"] != "executed") or verdict["transcript"]
        assert verdict["evidence"] in body["code"] or "\n" in verdict["evidence"]
    require_true_usage(body["usage"])


def require_true_specifications(body: dict[str, Any]) -> None:
    """The counts of generated code add up, and the chosen attempt is none of the worse ones."""
    told = body["verification"]
    assert body["specs"]["count"] == len(body["specs"]["items"]) == told["total"]
    assert 10 <= told["total"] <= 30
    assert told["satisfied"] + told["partial"] + told["unsatisfied"] + told["unknown"] == told["total"]
    assert told["percentage"] == round(100 * told["satisfied"] / told["total"], 1)
    (chosen,) = [attempt for attempt in body["attempts"] if attempt["chosen"]]
    assert (chosen["code"], chosen["satisfied"]) == (body["code"], told["satisfied"])
    assert chosen["satisfied"] >= body["attempts"][0]["satisfied"]
    require_true_usage(body["usage"])


def require_true_usage(usage: dict[str, Any]) -> None:
    """The stages add up to the whole."""
    for name in ("input_tokens", "output_tokens"):
        assert usage[name] == sum(stage[name] for stage in usage["stages"])
    assert usage["pipeline_calls"] == sum(stage["calls"] for stage in usage["stages"])


def example(name: str, customer: Customer, *, key: str) -> str:
    """Return one of the page's code examples, with our base URL and a key of ours."""
    text = pipelines_page.examples()[name]
    assert text.count(pipelines_page.BASE_URL) == text.count(pipelines_page.KEY) == 1
    return text.replace(pipelines_page.BASE_URL, customer.url).replace(pipelines_page.KEY, key)


def told_by(command: list[str]) -> str:
    """Return what a program prints that ends well."""
    environment = {"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=EXAMPLE_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def events_of(text: str) -> list[tuple[int | None, str | None, Any]]:
    """Return (id, name, data) of each event of a stream; data is read as JSON where it is."""
    found = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            data = fields["data"] if fields["data"] == "[DONE]" else json.loads(fields["data"])
            found.append((int(fields["id"]) if "id" in fields else None, fields.get("event"), data))
    return found


def new_key(stack: Stack, *, mode: Mode, tier: Tier = Tier.TEAM) -> str:
    """Return the text of a key of a new tenant."""
    container = build(Settings.load(stack.environment), Role.CLI)
    try:
        return container.api_keys.create(mode=mode, tier=tier, scopes=frozenset({Scope.VERIFICATION})).text
    finally:
        container.database.close()


@contextmanager
def customer_of(stack: Stack, *, mode: Mode = Mode.TEST, tier: Tier = Tier.TEAM) -> Iterator[Customer]:
    """Offer a new customer."""
    key, tables = new_key(stack, mode=mode, tier=tier), LedgerReader(stack.endpoints["database_url"])
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=stack.endpoints["web"], headers=headers, timeout=PATIENCE_S, trust_env=False) as http:
        yield Customer(stack, http, key, tables)
    tables.close()
