"""Matching over HTTP: the contract's three addresses, with a catalogue in the request and with our own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from shared.access.model import Mode
from shared.bootstrap import Container
from shared.catalog.policy import policy_hash
from tests.contract.catalogue import METADATA, Caller
from tests.contract.test_compute_nodes import beat, grow_old
from tests.contract.test_passports import conforms

MATCH, EXPLAIN, ROUTE = "/v1/match", "/v1/match/explain", "/v1/route"
SCHEMAS = Path(__file__).resolve().parents[2] / "shared" / "catalog" / "schemas"
V = {"policy_version": "1.0"}
__all__ = ["conforms"]  # the fixture of the passports' tests


@pytest.fixture
def alice(container: Container, client: FlaskClient) -> Caller:
    return Caller.of(container, client)


def model(**members: Any) -> dict[str, Any]:
    return {**METADATA["model"], "model_passport_id": "passport_model_of_a_test", **members}


def node(name: str, **members: Any) -> dict[str, Any]:
    return {**METADATA["compute"], "compute_passport_id": name, **members}


def asked(*catalogue: Any, **members: Any) -> dict[str, Any]:
    """A request whose nodes need not be alive."""
    return {
        "model_meta": model(),
        "policy": V,
        "compute_catalog": [*catalogue],
        "require_live_healthy": False,
        **members,
    }


def fault_of(answer: TestResponse) -> tuple[int, str, str | None]:
    told = answer.get_json()
    assert told["success"] is False
    assert told["error"] == told["error_code"]
    return answer.status_code, told["error_code"], told.get("details", {}).get("field")


# -- a catalogue in the request


def test_the_best_node_of_the_request_is_chosen_and_the_others_explained(alice: Caller, conforms: Any) -> None:
    far = node("node-far-away", network={"p95_ms_estimate": 4000})
    near = node("node-nearby", network={"p95_ms_estimate": 250}, pricing={"price_per_1k_tokens_estimate": 0.5})
    small = node("node-small", hardware={"gpu": "T4", "vram_gb": 16})
    answer = alice.post(MATCH, asked(far, near, small))
    told = answer.get_json()
    conforms("lucid_match", 200, told)
    assert told["match"] == {
        "model_passport_id": "passport_model_of_a_test",
        "compute_passport_id": "node-nearby",
        "selected_runtime": "vllm",
        "expected_p95": 250,
        "estimated_cost": 0.5,
        "fallbacks": [{"compute_passport_id": "node-far-away", "selected_runtime": "vllm", "expected_p95": 4000}],
    }
    assert told["explain"] == {
        "policy_hash": policy_hash(V).hex(),
        "shortlisted": [
            {"compute_passport_id": "node-nearby", "runtime": "vllm", "score": 90},
            {"compute_passport_id": "node-far-away", "runtime": "vllm", "score": 35},
        ],
        "rejected": [{"compute_passport_id": "node-small", "reasons": ["VRAM_TOO_LOW"]}],
        "selected": "node-nearby",
        "evidence": "declared",
    }


def test_a_route_names_the_endpoint_and_repeats_the_request_id(alice: Caller, conforms: Any) -> None:
    nodes = [node("node-first"), node("node-second", endpoints={"inference_url": "http://127.0.0.1:2/v1"})]
    told = alice.post(ROUTE, asked(*nodes, request_id="mine")).get_json()
    conforms("lucid_route", 200, told)
    assert told["request_id"] == "mine"
    assert told["route"] == {
        "compute_passport_id": "node-first",
        "model_passport_id": "passport_model_of_a_test",
        "endpoint": "http://127.0.0.1:9/v1",
        "runtime": "vllm",
        "policy_hash": policy_hash(V).hex(),
        "fallbacks": [
            {"compute_passport_id": "node-second", "selected_runtime": "vllm", "endpoint": "http://127.0.0.1:2/v1"}
        ],
    }
    alone = {**V, "attestation": {"fallback_allowed": False}}
    assert alice.post(ROUTE, asked(*nodes, policy=alone)).get_json()["route"]["fallbacks"] == []


def test_a_chosen_node_without_an_address_matches_and_has_no_route(alice: Caller) -> None:
    nowhere = node("node-nowhere", endpoints={"inference_url": ""})
    assert alice.post(MATCH, asked(nowhere)).get_json()["match"]["compute_passport_id"] == "node-nowhere"
    answer = alice.post(ROUTE, asked(nowhere))
    assert fault_of(answer)[:2] == (422, "SELECTED_COMPUTE_MISSING_ENDPOINT")
    assert answer.get_json()["details"]["selected"] == "node-nowhere"


@pytest.mark.parametrize("path", [MATCH, ROUTE])
def test_nothing_that_may_run_it_is_422_with_every_nodes_reasons(alice: Caller, path: str, conforms: Any) -> None:
    policy = {**V, "allow_regions": ["us-east"], "cost": {"spot_only": True}}
    malformed = {name: value for name, value in node("node-malformed").items() if name != "runtimes"}
    spot = node("node-on-spot", policy_tags=["spot"])
    answer = alice.post(path, asked(node("node-plain"), malformed, spot, "odd", {}, policy=policy))
    assert fault_of(answer)[:2] == (422, "NO_COMPATIBLE_COMPUTE")
    told = answer.get_json()
    conforms("lucid_match", 422, told)
    assert told["explain"] == told["details"]
    assert told["explain"]["policy_hash"] == policy_hash(policy).hex()
    assert [tuple(one.values()) for one in told["explain"]["rejected"]] == [
        ("node-plain", ["REGION_NOT_ALLOWED", "SPOT_ONLY_NOT_SUPPORTED"]),
        ("node-malformed", ["INVALID_COMPUTE_META"]),
        ("node-on-spot", ["REGION_NOT_ALLOWED"]),
        ("", ["INVALID_COMPUTE_META"]),
        ("", ["INVALID_COMPUTE_META"]),
    ]
    assert fault_of(alice.post(path, asked()))[:2] == (422, "NO_COMPATIBLE_COMPUTE")


BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "no model": ({"model_meta": None}, "VALIDATION_ERROR", "model_meta"),
    "two models": ({"model": "sim-small"}, "VALIDATION_ERROR", "model_meta"),
    "a model without a format": ({"model_meta": {**model(), "format": None}}, "VALIDATION_ERROR", "model_meta.format"),
    "a model with a strange member": ({"model_meta": model(colour="red")}, "VALIDATION_ERROR", "model_meta"),
    "a policy of no version": ({"policy": {}}, "INVALID_POLICY", "policy.policy_version"),
    "a policy with a strange member": ({"policy": {**V, "eu": True}}, "INVALID_POLICY", "policy.eu"),
    "a policy with an infinite price": (
        {"policy": {**V, "cost": {"max_price_per_1k_tokens_usd": 1e999}}},
        "INVALID_POLICY",
        "policy.cost.max_price_per_1k_tokens_usd",
    ),
    "a catalogue that is none": ({"compute_catalog": {}}, "VALIDATION_ERROR", "compute_catalog"),
    "too large a catalogue": ({"compute_catalog": [{}] * 257}, "VALIDATION_ERROR", "compute_catalog"),
    "1 for true": ({"require_live_healthy": 1}, "VALIDATION_ERROR", "require_live_healthy"),
}


@pytest.mark.parametrize("path", [MATCH, ROUTE])
@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_understood_is_422_and_names_the_place(alice: Caller, path: str, case: str) -> None:
    members, code, place = BAD[case]
    body = json.dumps(asked(node("node-plain"), **members)).replace("Infinity", "1e999")
    answer = alice.client.post(path, data=body, content_type="application/json", headers=alice.headers)
    assert fault_of(answer) == (422, code, place)


@pytest.mark.parametrize("path", [MATCH, ROUTE, EXPLAIN])
def test_what_is_no_json_is_400(alice: Caller, path: str) -> None:
    answer = alice.client.post(path, data=b"{", content_type="application/json", headers=alice.headers)
    assert fault_of(answer)[0] == 400


# -- a policy held against a node


def test_a_policy_is_explained_against_a_node_alone(alice: Caller, conforms: Any) -> None:
    policy = {**V, "residency_required": True, "latency": {"p95_ms_budget": 100}}
    body = {
        "policy": policy,
        "compute_meta": node("node-plain", network={"p95_ms_estimate": 101}),
        "model_meta": model(),
    }
    told = alice.post(EXPLAIN, body).get_json()
    conforms("lucid_match_explain", 200, told)
    assert told == {
        "success": True,
        "allowed": False,
        "reasons": ["RESIDENCY_REQUIRED_NOT_SUPPORTED", "LATENCY_BUDGET_EXCEEDED"],
        "policy_hash": policy_hash(policy).hex(),
        "evidence": "declared",
    }
    good = node("node-plain", residency_supported=True, network={"p95_ms_estimate": 100})
    told = alice.post(EXPLAIN, {"policy": policy, "compute_meta": good}).get_json()
    assert (told["allowed"], told["reasons"]) == (True, [])
    assert alice.post(EXPLAIN, {}).get_json()["policy_hash"] == policy_hash(None).hex()


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"policy": {}}, "policy.policy_version"),
        ({"policy": {**V, "privacy": {"redact": True}}}, "policy.privacy.redact"),
        ({"compute_meta": {**node("node-plain"), "regions": []}}, "compute_meta.regions"),
        ({"compute_meta": []}, "compute_meta"),
        ({"model_meta": {**model(), "context_length": "1"}}, "model_meta.context_length"),
        ({"model_meta": {}}, "model_meta.model_passport_id"),
    ],
)
def test_what_the_explanation_cannot_read_is_400_and_names_the_place(alice: Caller, body: Any, place: str) -> None:
    status, _, field = fault_of(alice.post(EXPLAIN, body))
    assert (status, field) == (400, place)


# -- our own catalogue


def test_without_a_catalogue_the_callers_own_healthy_nodes_are_judged(container: Container, alice: Caller) -> None:
    runtime = {"runtimes": [{"name": "tensorrt"}]}
    slow, fast, silent, ill = (
        alice.make("compute", name=name, metadata=runtime) for name in ("slow", "fast", "silent", "ill")
    )
    beat(alice, slow, p95_ms_estimate=900)
    beat(alice, fast, p95_ms_estimate=100, price_per_1k_tokens_estimate=0.3, queue_depth=1)
    beat(alice, ill, "degraded")
    beat(alice, silent)
    grow_old(container, silent, seconds=31)
    body = {"model_meta": model(runtime_recommended="tensorrt"), "policy": V}
    told = alice.post(MATCH, body).get_json()
    assert (told["match"]["compute_passport_id"], told["match"]["estimated_cost"]) == (fast["passport_id"], 0.3)
    assert [one["compute_passport_id"] for one in told["match"]["fallbacks"]] == [slow["passport_id"]]
    reasons = {one["compute_passport_id"]: one["reasons"] for one in told["explain"]["rejected"]}
    assert reasons[silent["passport_id"]] == reasons[ill["passport_id"]] == ["COMPUTE_NOT_HEALTHY"]
    budget = {**V, "latency": {"p95_ms_budget": 99}}
    refused = alice.post(MATCH, {**body, "policy": budget}).get_json()["explain"]["rejected"]
    assert {"compute_passport_id": fast["passport_id"], "reasons": ["LATENCY_BUDGET_EXCEEDED"]} in refused
    route = alice.post(ROUTE, body).get_json()["route"]
    assert (route["endpoint"], route["runtime"]) == ("http://127.0.0.1:9/v1", "tensorrt")


def test_a_model_of_ours_is_named_instead_of_described(alice: Caller) -> None:
    passport = alice.make("model", name="described", metadata={"runtime_recommended": "tgi"})
    for reference in (passport["passport_id"], "passport:" + passport["passport_id"], "described"):
        body = asked(node("node-plain"), model=reference)
        del body["model_meta"]
        told = alice.post(MATCH, body).get_json()["match"]
        assert (told["model_passport_id"], told["selected_runtime"]) == (passport["passport_id"], "tgi")
    body["model"] = "unheard of"
    assert fault_of(alice.post(MATCH, body)) == (422, "MODEL_NOT_FOUND", "model")


def test_the_nodes_of_a_request_are_healthy_only_by_a_heartbeat_that_the_caller_may_see(
    container: Container, client: FlaskClient, alice: Caller
) -> None:
    mine = alice.make("compute")
    beat(alice, mine, price_per_1k_tokens_estimate=0.7)
    body = asked(node(mine["passport_id"]), require_live_healthy=True)
    assert alice.post(MATCH, body).get_json()["match"]["estimated_cost"] == 0.7
    for other in (Caller.of(container, client), Caller.of(container, client, mode=Mode.TEST, tenant=alice.tenant)):
        answer = other.post(MATCH, body)
        assert fault_of(answer)[:2] == (422, "NO_COMPATIBLE_COMPUTE")
        assert answer.get_json()["explain"]["rejected"][0]["reasons"] == ["COMPUTE_NOT_HEALTHY"]
        others = other.post(MATCH, {"model_meta": model(), "policy": V}).get_json()["explain"]["rejected"]
        assert mine["passport_id"] not in [one["compute_passport_id"] for one in others]


def test_a_refusal_is_judged_anew_under_the_same_key(alice: Caller) -> None:
    body = {"model_meta": model(runtime_recommended="trustgate"), "policy": V}
    key = {"Idempotency-Key": f"match-{alice.tenant}"}
    assert alice.post(MATCH, body, **key).status_code == 422
    here = alice.make("compute", metadata={"runtimes": [{"name": "trustgate"}]})
    beat(alice, here)
    assert alice.post(MATCH, body, **key).status_code == 200
    assert alice.post(MATCH, body, **key).headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize(("type_", "member"), [("model", "runtime_recommended"), ("compute", "runtimes")])
def test_the_document_names_the_runtimes_that_the_schemas_take(client: FlaskClient, type_: str, member: str) -> None:
    schema = json.loads((SCHEMAS / f"{type_}.json").read_text(encoding="utf-8"))["properties"]
    shown = client.get("/openapi.json").get_json()["components"]["schemas"]
    taken = schema[member]["enum"] if type_ == "model" else schema[member]["items"]["properties"]["name"]["enum"]
    named = (
        shown["ModelMeta"]["properties"][member] if type_ == "model" else shown["ComputeRuntime"]["properties"]["name"]
    )
    assert named["enum"] == taken
    members = shown["ModelMeta" if type_ == "model" else "ComputeMeta"]["properties"]
    assert members.keys() <= schema.keys()
