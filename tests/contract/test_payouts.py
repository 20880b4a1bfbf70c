"""Payouts over HTTP: shares that sum exactly, one record a run, seen by nobody but its tenant."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask

from devstack.plan import TREASURY_WALLET as TREASURY
from shared.bootstrap import Container, Role, build
from shared.kernel.canonical_json import jcs
from tests.contract.gateway_caller import Contract, Tenant, by_operation, refusal
from tests.e2e.patience import at_once
from web.app import create_app
from web.limits import limits_of

CALCULATE, FROM_RECEIPT = "/v1/payouts/calculate", "/v1/payouts/from-receipt"
CLAIM = {
    "model_passport_id": "passport_model",
    "compute_passport_id": "passport_compute",
    "policy_hash": "0" * 64,
    "runtime": "vllm",
    "tokens_in": 1000,
    "tokens_out": 500,
    "ttft_ms": 85,
}


@pytest.fixture(scope="module")
def contract(gateway_contract: dict[str, Any]) -> Contract:
    return by_operation(gateway_contract)


@pytest.fixture
def alice(app: Flask, container: Container, contract: Contract) -> Tenant:
    return Tenant.enter(app, container, contract)


@pytest.fixture
def bob(app: Flask, container: Container, contract: Contract) -> Tenant:
    return Tenant.enter(app, container, contract)


def asked(run_id: str, **more: Any) -> dict[str, Any]:
    return {"run_id": run_id, "total_amount_lamports": "10000000", "compute_wallet": "C", "model_wallet": "M", **more}


def shares(payout: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {part["role"]: (part["wallet"], part["amount_lamports"]) for part in payout["recipients"]}


def test_a_total_is_shared_out_by_the_default_and_verifies(alice: Tenant) -> None:
    payout = alice.post("lucid_calculate_payout", CALCULATE, asked("run_a"))["payout"]
    assert shares(payout) == {
        "compute": ("C", "7000000"),
        "model": ("M", "2000000"),
        "protocol": (TREASURY, "1000000"),
    }
    assert alice.get("lucid_get_payout", "/v1/payouts/run_a")["payout"] == payout
    verified = alice.get("lucid_verify_payout", "/v1/payouts/run_a/verify")
    assert verified == {
        "success": True,
        "valid": True,
        "total_matches": True,
        "recipients_valid": True,
        "hash_valid": True,
    }


def test_the_payout_hash_is_that_of_the_answer_without_it(alice: Tenant) -> None:
    payout = alice.post("lucid_calculate_payout", CALCULATE, asked("run_hash"))["payout"]
    stated = payout.pop("payout_hash")
    assert hashlib.sha256(jcs(payout)).hexdigest() == stated


def test_the_contracts_three_names_are_the_whole_and_what_floors_leave_is_the_protocols(alice: Tenant) -> None:
    config = {"compute_bp": 7000, "model_bp": 2000, "orchestrator_bp": 1000}
    total = 10**18 + 7
    payout = alice.post(
        "lucid_calculate_payout", CALCULATE, asked("run_b", total_amount_lamports=total, config=config)
    )["payout"]
    assert payout["total_amount_lamports"] == str(total)
    assert shares(payout) == {
        "compute": ("C", "700000000000000004"),
        "model": ("M", "200000000000000001"),
        "orchestrator": (TREASURY, "100000000000000000"),
        "protocol": (TREASURY, "2"),
    }
    assert sum(int(amount) for _, amount in shares(payout).values()) == total


@pytest.mark.parametrize(
    "wrong",
    [
        {"config": {"compute_bp": 7000, "model_bp": 2000}},
        {"config": {"compute_bp": 10_000, "protocol_bp": 1}},
        {"config": {"compute_bp": -1, "model_bp": 10_000, "protocol_bp": 1}},
        {"config": {"compute_bp": 7000.0, "model_bp": 3000}},
        {"total_amount_lamports": -1},
        {"total_amount_lamports": 1.5},
        {"total_amount_lamports": 1e6},
        {"total_amount_lamports": "1e6"},
        {"total_amount_lamports": "٣"},
        {"total_amount_lamports": "9" * 31},
        {"total_amount_lamports": True},
        {"total_amount_lamports": None},
        {"compute_wallet": ""},
        {"compute_wallet": "two words"},
        {"run_id": ""},
    ],
)
def test_what_cannot_be_shared_out_is_refused_with_400(alice: Tenant, wrong: dict[str, Any]) -> None:
    assert refusal(alice.call("POST", CALCULATE, {**asked("run_wrong"), **wrong}))[0] == 400
    assert alice.call("GET", "/v1/payouts/run_wrong").status_code == 404


def test_the_same_terms_get_the_same_record_and_other_terms_409(alice: Tenant) -> None:
    first = alice.post("lucid_calculate_payout", CALCULATE, asked("run_c"))
    assert alice.post("lucid_calculate_payout", CALCULATE, asked("run_c", total_amount_lamports=10_000_000)) == first
    for other in ({"total_amount_lamports": 1}, {"compute_wallet": "D"}, {"config": {"compute_bp": 10_000}}):
        assert refusal(alice.call("POST", CALCULATE, asked("run_c", **other))) == (409, "PAYOUT_EXISTS")
    assert alice.get("lucid_get_payout", "/v1/payouts/run_c") == first


def test_many_calculations_at_once_leave_one_record(alice: Tenant) -> None:
    def calculate(total: int) -> tuple[int, str]:
        answer = alice.call("POST", CALCULATE, asked("run_d", total_amount_lamports=total))
        return answer.status_code, answer.get_json().get("payout", {}).get("payout_hash", "")

    found = at_once(*[lambda total=total: calculate(total) for total in (5, 5, 5, 6, 6, 6)])
    kept = alice.get("lucid_get_payout", "/v1/payouts/run_d")["payout"]
    assert {status for status, _ in found} == {200, 409}
    assert {payout_hash for status, payout_hash in found if status == 200} == {kept["payout_hash"]}
    assert sum(status == 200 for status, _ in found) == 3


def test_a_payout_is_its_tenants_alone(alice: Tenant, bob: Tenant) -> None:
    mine = alice.post("lucid_calculate_payout", CALCULATE, asked("run_e"))
    for path in ("/v1/payouts/run_e", "/v1/payouts/run_e/verify"):
        assert refusal(bob.call("GET", path)) == (404, "NOT_FOUND")
    bob.post("lucid_calculate_payout", CALCULATE, asked("run_e", total_amount_lamports=3))
    assert alice.get("lucid_get_payout", "/v1/payouts/run_e") == mine


def test_a_payout_from_a_receipt_takes_the_receipts_tokens(alice: Tenant, bob: Tenant) -> None:
    run_id = alice.post("lucid_create_receipt", "/v1/receipts", CLAIM)["receipt"]["run_id"]
    priced = {
        "run_id": run_id,
        "tokens_in": 1000,
        "tokens_out": 500,
        "price_per_1k_tokens_lamports": 100_000,
        "compute_wallet": "C",
    }
    assert refusal(alice.call("POST", FROM_RECEIPT, {**priced, "tokens_out": 501})) == (400, "TOKENS_DIFFER")
    assert refusal(bob.call("POST", FROM_RECEIPT, priced)) == (404, "NOT_FOUND")
    assert refusal(alice.call("POST", FROM_RECEIPT, {**priced, "run_id": "run_unknown"})) == (404, "NOT_FOUND")
    payout = alice.post("lucid_payout_from_receipt", FROM_RECEIPT, priced)["payout"]
    assert payout["total_amount_lamports"] == "150000"
    assert shares(payout)["compute"] == ("C", "105000")


def test_a_payout_of_no_tokens_is_of_nothing(alice: Tenant) -> None:
    run_id = alice.post("lucid_create_receipt", "/v1/receipts", {**CLAIM, "tokens_in": 0, "tokens_out": 0})
    priced = {"tokens_in": 0, "tokens_out": 0, "price_per_1k_tokens_lamports": "100000", "compute_wallet": "C"}
    body = {"run_id": run_id["receipt"]["run_id"], **priced}
    payout = alice.post("lucid_payout_from_receipt", FROM_RECEIPT, body)["payout"]
    assert {amount for _, amount in shares(payout).values()} == {"0"}


def test_without_a_treasury_a_part_that_would_go_there_is_an_error(container: Container, contract: Contract) -> None:
    poor = build(replace(container.settings, treasury_wallet=""), Role.WEB)
    app = create_app(poor)
    carol = Tenant.enter(app, poor, contract)
    assert refusal(carol.call("POST", CALCULATE, asked("run_f"))) == (400, "TREASURY_NOT_CONFIGURED")
    to_named = {"config": {"compute_bp": 8000, "model_bp": 2000}}
    assert carol.call("POST", CALCULATE, asked("run_f", **to_named)).status_code == 200
    limits_of(app).close()
    poor.database.close()


def test_payouts_need_a_key(app: Flask) -> None:
    client = app.test_client()
    for answer in (client.post(CALCULATE, json=asked("run_g")), client.get("/v1/payouts/run_a")):
        assert refusal(answer)[0] == 401
