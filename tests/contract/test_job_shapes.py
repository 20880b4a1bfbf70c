"""A job in each of its states, as the contract's JobStatusResponse, and the creation over the real stack."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator

from config.settings import Settings
from devstack.supervisor import Stack
from shared.agent.model import (
    Actual,
    CostLedger,
    Estimate,
    Invoiced,
    Job,
    JobState,
    JobView,
    RefundState,
)
from shared.bootstrap import Container, Role, build
from tests.contract.asleep import asleep
from tests.contract.document_comparison import json_schema, resolved
from web.agent.schemas import CreateJobResponseSchema, JobStatusResponseSchema
from web.agent.views import job_created, job_status
from web.app import create_app
from web.exact_json import encode

NOW = datetime(2026, 3, 14, 15, 9, 26, 535897, tzinfo=UTC)
INVOICE = Invoiced("lnbcrt100n1Pabc", 10, NOW + timedelta(minutes=15))
ESTIMATE = Estimate(Decimal("0.020503"), Decimal(40), Decimal("100000.01"), 29_000)
ACTUAL = Actual(21, 34, Decimal("0.000573"), Decimal("0.007803"), 8_000)
COST = CostLedger(
    tokens_in=21,
    tokens_out=34,
    cost_usd=Decimal("0.000573"),
    charge_usd=Decimal("0.007803"),
    estimated_cost_usd=Decimal("0.020503"),
    actual_sats=8,
    work_sats=29,
    refund_sats=21,
    refund_state=RefundState.PENDING,
    margin_pct=Decimal(40),
    btc_price_usd=Decimal("100000.01"),
)
MEMBERS = {
    JobState.AWAITING_EVAL_PAYMENT: {"evalInvoice"},
    JobState.EVALUATING: set(),
    JobState.REJECTED: {"reason", "receiptId"},
    JobState.AWAITING_WORK_PAYMENT: {"workInvoice", "pricingBreakdown"},
    JobState.EXECUTING: set(),
    JobState.COMPLETE: {"result", "costLedger", "receiptId"},
    JobState.FAILED: {"errorMessage", "costLedger", "receiptId"},
}


def view_of(state: JobState) -> JobView:
    has_ended = "receiptId" in MEMBERS[state]
    job = Job(
        id=1,
        public_id="job_" + "0" * 32,
        state=state,
        request="x",
        eval_amount_msat=10_000,
        reason="not for us" if state is JobState.REJECTED else None,
        result="42" if state is JobState.COMPLETE else None,
        error_message="it broke" if state is JobState.FAILED else None,
        eval_tokens_in=1,
        eval_tokens_out=1,
        estimate=ESTIMATE,
        paid_work_msat=29_000,
        actual=ACTUAL,
        prepaid=False,
        created_at=NOW,
        ended_at=NOW if has_ended else None,
    )
    return JobView(
        job=job,
        eval_invoice=INVOICE,
        work_invoice=INVOICE,
        cost=COST if "costLedger" in MEMBERS[state] else None,
        refund_sats=21,
        payout=None,
        receipt_id="run_" + "1" * 32 if has_ended else None,
    )


@pytest.fixture
def check(agent_contract: dict[str, Any]) -> Callable[[str, Any], None]:
    def conforms(name: str, value: Any) -> None:
        schema = json_schema(resolved(agent_contract["components"]["schemas"][name], agent_contract))
        Draft202012Validator(schema).validate(value)

    return conforms


@pytest.mark.parametrize("state", list(JobState))
def test_each_state_has_the_contracts_members_and_no_others(state: JobState, check: Callable[[str, Any], None]) -> None:
    shown = json.loads(encode(JobStatusResponseSchema().dump(job_status(view_of(state)))))
    assert set(shown) == {"jobId", "state", "createdAt"} | MEMBERS[state]
    assert shown["state"] == state
    check("JobStatusResponse", shown)


def test_dollars_leave_as_json_numbers_that_no_float_has_touched() -> None:
    text = encode(JobStatusResponseSchema().dump(job_status(view_of(JobState.COMPLETE))))
    for member in (
        '"actualCostUsd":0.000573',
        '"actualChargeUsd":0.007803',
        '"btcPriceUsd":100000.01',
        '"marginPct":40',
    ):
        assert member in text
    assert '"totalTokens":55' in text


def test_an_invoice_can_be_linked_and_drawn() -> None:
    shown = job_created(view_of(JobState.AWAITING_EVAL_PAYMENT), claim_token="0" * 64)["evalInvoice"]
    assert shown["paymentRequest"] == "lnbcrt100n1Pabc"
    assert shown["uri"] == "lightning:lnbcrt100n1pabc"
    assert shown["qr"] == "LIGHTNING:LNBCRT100N1PABC"
    assert shown["expiresAt"] == "2026-03-14T15:24:26Z"


def test_a_creation_conforms(check: Callable[[str, Any], None]) -> None:
    shown = CreateJobResponseSchema().dump(job_created(view_of(JobState.AWAITING_EVAL_PAYMENT), claim_token="0" * 64))
    check("CreateJobResponse", json.loads(encode(shown)))


def test_a_job_is_created_with_an_invoice_and_can_be_fetched(web_url: str, check: Callable[[str, Any], None]) -> None:
    created = httpx.post(f"{web_url}/api/jobs", json={"request": "Say hello.", "unknown": "ignored"})
    assert created.status_code == 201
    check("CreateJobResponse", created.json())
    assert created.json()["evalInvoice"]["amountSats"] == 10
    fetched = httpx.get(web_url + created.headers["Location"])
    assert fetched.status_code == 200
    assert fetched.headers["Cache-Control"] == "no-store"
    check("JobStatusResponse", fetched.json())
    assert fetched.json()["evalInvoice"] == created.json()["evalInvoice"]


@pytest.fixture
def impatient(stack: Stack) -> Iterator[Callable[..., FlaskClient]]:
    """An application of its own with other settings, over the same stores."""
    built: list[Container] = []

    def client(**changed: Any) -> FlaskClient:
        built.append(build(replace(Settings.load(stack.environment), **changed), Role.WEB))
        return create_app(built[-1]).test_client()

    yield client
    for container in built:
        container.database.close()
        if container.bus._reader is None:  # one that reads ends with the process
            container.bus._client.close()


def test_a_creation_past_its_deadline_is_500_says_when_to_come_back_and_frees_its_key(
    stack: Stack, impatient: Callable[..., FlaskClient], check: Callable[[str, Any], None]
) -> None:
    client = impatient(invoice_wait_s=0.0)
    for _ in range(2):
        with asleep(stack, "worker-money"):
            answer = client.post("/api/jobs", json={"request": "Say hello."}, headers={"Idempotency-Key": "deadline"})
        assert (answer.status_code, answer.get_json()["code"]) == (500, "deadline_passed")
        assert int(answer.headers["Retry-After"]) > 0
        check("ErrorResponse", answer.get_json())


def test_an_address_with_too_many_unpaid_invoices_is_429(impatient: Callable[..., FlaskClient]) -> None:
    answer = impatient(max_unpaid_invoices=0).post("/api/jobs", json={"request": "Say hello."})
    assert (answer.status_code, answer.get_json()["code"]) == (429, "rate_limited")
    assert int(answer.headers["Retry-After"]) > 0


def test_a_database_that_is_gone_is_noticed_in_time_and_alone(impatient: Callable[..., FlaskClient]) -> None:
    answer = impatient(database_url="postgresql://x:x@127.0.0.1:1/x").get("/health/ready")
    dependencies = answer.get_json()["dependencies"]
    assert answer.status_code == 503
    assert dependencies["database"]["status"] == dependencies["log"]["status"] == "down"
    assert dependencies["redis"]["status"] == "healthy"


def test_health_conforms(web_url: str, check: Callable[[str, Any], None]) -> None:
    answer = httpx.get(f"{web_url}/api/healthz")
    check("HealthStatus", answer.json())
    assert answer.json() == {"status": "ok"}
