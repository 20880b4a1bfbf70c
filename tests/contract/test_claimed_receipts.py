"""Receipts for work that callers did elsewhere: signed as their word, complete, and never laid onto a run of ours."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from flask import Flask

from shared.bootstrap import Container
from shared.kernel import signing
from shared.kernel.canonical_json import canonical_bytes
from shared.kernel.owner import Owner
from shared.receipts.model import Draft, ReceiptKind
from shared.receipts.verify import verify_bundle
from tests.contract.gateway_caller import Contract, Tenant, by_operation, refusal
from tests.e2e.patience import at_once

RECEIPTS = "/v1/receipts"
LEAST = {
    "model_passport_id": "ppt_model_7xK9mQ2v",
    "compute_passport_id": "ppt_compute_Xn5vR2kJ",
    "policy_hash": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "runtime": "vllm",
    "tokens_in": 42,
    "tokens_out": 128,
    "ttft_ms": 85,
}
WHOLE = {
    **LEAST,
    "total_latency_ms": 1200,
    "timestamp": 1_710_288_000,
    "trace_id": "trace-ä",
    "image_hash": "a" * 64,
    "model_hash": "b" * 64,
    "attestation": {"quote": "…", "levels": [1, 2], "cc_on": True},
    "execution_mode": "byo_runtime",
    "node_id": "node-7",
    "runtime_hash": "sha256:" + "c" * 64,
    "gpu_fingerprint": "GPU-1",
}
METRICS = ("tokens_in", "tokens_out", "ttft_ms", "total_latency_ms")


@pytest.fixture(scope="module")
def contract(gateway_contract: dict[str, Any]) -> Contract:
    return by_operation(gateway_contract)


@pytest.fixture
def alice(app: Flask, container: Container, contract: Contract) -> Tenant:
    return Tenant.enter(app, container, contract)


@pytest.fixture
def bob(app: Flask, container: Container, contract: Contract) -> Tenant:
    return Tenant.enter(app, container, contract)


def claim(tenant: Tenant, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    return dict(tenant.post("lucid_create_receipt", RECEIPTS, body, **headers)["receipt"])


def test_every_field_of_a_claim_is_in_the_signed_body(alice: Tenant) -> None:
    receipt = claim(alice, WHOLE)
    body = receipt["body"]
    assert {name: body[name] for name in WHOLE} == WHOLE
    digest = hashlib.sha256(canonical_bytes(body)).digest()
    assert digest.hex() == receipt["receipt_hash"]
    public = bytes.fromhex(receipt["signer_pubkey"])
    assert signing.verify(public, bytes.fromhex(receipt["receipt_signature"]), digest)
    shown = {name: receipt["metrics"][name] if name in METRICS else receipt[name] for name in WHOLE}
    assert shown == WHOLE


def test_a_claim_says_that_it_is_one(alice: Tenant) -> None:
    receipt = claim(alice, LEAST)
    assert (receipt["kind"], receipt["body"]["assurance"], receipt["assurance"]) == ("claimed", "claimed", "claimed")
    assert receipt["body"]["finish_reason"] == "claimed"
    assert not {"trace_id", "attestation", "timestamp", "received_msat"} & set(receipt["body"])


def test_a_claim_goes_into_the_log_and_verifies_offline(alice: Tenant, container: Container) -> None:
    run_id = claim(alice, LEAST)["run_id"]
    container.log.integrate(wait=True)
    assert alice.get("lucid_verify_receipt", f"{RECEIPTS}/{run_id}/verify")["inclusion_valid"] is True
    trust = alice.call("GET", "/v1/trust").get_data()
    report = verify_bundle(alice.call("GET", f"{RECEIPTS}/{run_id}/bundle").get_data(), trust)
    signed = {str(line.name): str(line.outcome) for line in report.lines}
    assert signed["signature"] == signed["inclusion"] == signed["checkpoint"] == "ok"


@pytest.mark.parametrize(
    "wrong",
    [
        {"policy_hash": "E" * 64},
        {"policy_hash": "e" * 63},
        {"policy_hash": "e" * 64 + "\n"},
        {"image_hash": "sha256:" + "a" * 64},
        {"model_hash": "x"},
        {"runtime_hash": "sha512:" + "c" * 64},
        {"tokens_in": -1},
        {"tokens_in": 1.0},
        {"tokens_in": "1"},
        {"tokens_in": 2**53},
        {"ttft_ms": None},
        {"attestation": [1]},
        {"attestation": {"confidence": 0.5}},
        {"attestation": {"nothing": None}},
        {"attestation": {"ä": 1}},
        {"attestation": {"much": "x" * 70_000}},
        {"run_id": "short"},
        {"run_id": "run_with/slash"},
        {"project_id": ""},
        {"execution_mode": "elsewhere"},
    ],
)
def test_a_malformed_claim_is_refused_with_400(alice: Tenant, wrong: dict[str, Any]) -> None:
    assert refusal(alice.call("POST", RECEIPTS, {**LEAST, **wrong}))[0] == 400


@pytest.mark.parametrize("missing", LEAST)
def test_what_the_contract_requires_is_required(alice: Tenant, missing: str) -> None:
    body = {name: value for name, value in LEAST.items() if name != missing}
    answer = alice.call("POST", RECEIPTS, body)
    assert refusal(answer)[0] == 400
    assert answer.get_json()["details"] == {"field": missing}


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"execution_mode": "byo_runtime", "gpu_fingerprint": "g"}, "BYO_RUNTIME_MISSING_RUNTIME_HASH"),
        ({"execution_mode": "byo_runtime", "runtime_hash": "c" * 64}, "BYO_RUNTIME_MISSING_GPU_FINGERPRINT"),
        ({"execution_mode": "runpod_serverless", "gpu_fingerprint": "g"}, "RUNPOD_SERVERLESS_MISSING_RUNTIME_HASH"),
        ({"execution_mode": "managed_endpoint", "runtime_hash": "c" * 64}, "MANAGED_ENDPOINT_HAS_RUNTIME_HASH"),
        ({"execution_mode": "managed_endpoint", "gpu_fingerprint": "g"}, "MANAGED_ENDPOINT_HAS_GPU_FINGERPRINT"),
    ],
)
def test_the_execution_mode_decides_what_must_be_said(alice: Tenant, more: dict[str, Any], code: str) -> None:
    assert refusal(alice.call("POST", RECEIPTS, {**LEAST, **more})) == (400, code)


def test_a_managed_endpoint_says_null_by_leaving_out(alice: Tenant) -> None:
    receipt = claim(
        alice, {**LEAST, "execution_mode": "managed_endpoint", "runtime_hash": None, "gpu_fingerprint": None}
    )
    assert receipt["execution_mode"] == "managed_endpoint"
    assert not {"runtime_hash", "gpu_fingerprint"} & set(receipt["body"])


def test_the_same_claim_about_a_run_gets_the_same_receipt_and_another_409(alice: Tenant, bob: Tenant) -> None:
    body = {**LEAST, "run_id": f"run:{alice.key[-12:]}"}
    first = claim(alice, body)
    assert first["run_id"] == first["receipt_id"] == body["run_id"]
    assert claim(alice, body) == first
    assert refusal(alice.call("POST", RECEIPTS, {**body, "tokens_in": 43})) == (409, "RUN_ID_CLAIMED")
    assert refusal(alice.call("POST", RECEIPTS, {**body, "project_id": "p"})) == (409, "RUN_ID_CLAIMED")
    assert refusal(bob.call("POST", RECEIPTS, body)) == (409, "RUN_ID_CLAIMED")
    assert alice.get("lucid_get_receipt", f"{RECEIPTS}/{body['run_id']}")["receipt"]["body"] == first["body"]


def test_a_claim_made_many_times_at_once_has_one_receipt(alice: Tenant) -> None:
    body = {**LEAST, "run_id": f"race:{alice.key[-12:]}"}

    def make(tokens: int) -> tuple[int, str]:
        answer = alice.call("POST", RECEIPTS, {**body, "tokens_in": tokens})
        return answer.status_code, answer.get_json().get("receipt", {}).get("receipt_hash", "")

    found = at_once(*[lambda tokens=tokens: make(tokens) for tokens in (1, 1, 1, 2, 2, 2)])
    assert sorted(status for status, _ in found) == [200] * 3 + [409] * 3
    assert len({receipt_hash for status, receipt_hash in found if status == 200}) == 1


def test_nothing_is_claimed_about_work_of_ours(alice: Tenant, container: Container) -> None:
    with container.database.transaction() as tx:
        done = container.receipts.issue(
            tx, Draft(ReceiptKind.JOB, Owner("claimed", 1), tenant="somebody", finish_reason="stop")
        )
        running = container.ids.public("run")
        tx.run(
            "INSERT INTO runs (run_id, tenant, mode, surface, streamed, detached, plan, policy_hash, model_passport_id, model_requested,"
            " request_id, input_salt, input_commitment)"
            " VALUES (%(id)s, 'somebody', 'live', 'inference', false, false, '{}', %(hash)s, 'm', 'm', 'r', %(hash)s, %(hash)s)",
            {"id": running, "hash": bytes(32)},
        )
    for run_id in (done, running):
        assert refusal(alice.call("POST", RECEIPTS, {**LEAST, "run_id": run_id})) == (409, "RUN_ID_TAKEN")
    with container.database.transaction() as tx:
        tx.run("DELETE FROM runs WHERE run_id = %(id)s", {"id": running})


def test_a_key_repeats_its_claim_and_two_claims_without_a_run_are_two(alice: Tenant) -> None:
    keyed = claim(alice, LEAST, Idempotency_Key="one")
    assert claim(alice, LEAST, Idempotency_Key="one") == keyed
    assert claim(alice, LEAST)["run_id"] != keyed["run_id"]


def test_claims_need_a_key(app: Flask) -> None:
    assert refusal(app.test_client().post(RECEIPTS, json=LEAST))[0] == 401
