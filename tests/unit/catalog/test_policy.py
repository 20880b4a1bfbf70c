"""A policy is read strictly, and hashed as it was supplied."""

from __future__ import annotations

import json
from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from shared.catalog.policy import InvalidPolicy, Policy, parse_policy, policy_hash

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "jcs_policy_hash.json").read_text(encoding="utf-8"))
V = {"policy_version": "1.0"}
FULL = {
    **V,
    "allow_regions": ["eu-west", "eu-north"],
    "residency_required": True,
    "attestation": {"attestation_required": True, "require_cc_on": True, "fallback_allowed": False},
    "latency": {"p95_ms_budget": 500, "hard_timeout_ms": 30000},
    "cost": {"max_price_per_1k_tokens_usd": 0.02, "spot_only": True},
    "privacy": {"store_inputs": False, "redact_pii": True},
}
REFUSED: dict[str, tuple[Any, str]] = {
    "no object": ([], "policy"),
    "a string": ("1.0", "policy"),
    "no version": ({}, "policy.policy_version"),
    "another version": ({"policy_version": "2.0"}, "policy.policy_version"),
    "a version that is a number": ({"policy_version": 1.0}, "policy.policy_version"),
    "an unknown member": ({**V, "regions": []}, "policy.regions"),
    "an unknown member of a group": ({**V, "cost": {"spot": True}}, "policy.cost.spot"),
    "a member in the wrong place": ({**V, "redact_pii": True}, "policy.redact_pii"),
    "a null group": ({**V, "latency": None}, "policy.latency"),
    "a group that is a list": ({**V, "privacy": []}, "policy.privacy"),
    "one region as a string": ({**V, "allow_regions": "eu"}, "policy.allow_regions"),
    "null for regions": ({**V, "allow_regions": None}, "policy.allow_regions"),
    "a region that is a number": ({**V, "allow_regions": ["eu", 7]}, "policy.allow_regions.1"),
    "an empty region": ({**V, "allow_regions": [""]}, "policy.allow_regions.0"),
    "too many regions": ({**V, "allow_regions": ["eu"] * 257}, "policy.allow_regions"),
    "1 for true": ({**V, "residency_required": 1}, "policy.residency_required"),
    '"false"': ({**V, "attestation": {"fallback_allowed": "false"}}, "policy.attestation.fallback_allowed"),
    "null for a boolean": ({**V, "privacy": {"store_inputs": None}}, "policy.privacy.store_inputs"),
    "true for a number": ({**V, "latency": {"p95_ms_budget": True}}, "policy.latency.p95_ms_budget"),
    "a number as a string": ({**V, "latency": {"hard_timeout_ms": "100"}}, "policy.latency.hard_timeout_ms"),
    "no time at all": ({**V, "latency": {"hard_timeout_ms": 0}}, "policy.latency.hard_timeout_ms"),
    "half a millisecond": ({**V, "latency": {"p95_ms_budget": 1.5}}, "policy.latency.p95_ms_budget"),
    "2^53 milliseconds": ({**V, "latency": {"p95_ms_budget": 2**53}}, "policy.latency.p95_ms_budget"),
    "a negative price": ({**V, "cost": {"max_price_per_1k_tokens_usd": -0.01}}, "policy.cost.max_price_per_1k_tokens_usd"),
    "infinity": ({**V, "cost": {"max_price_per_1k_tokens_usd": float("inf")}}, "policy.cost.max_price_per_1k_tokens_usd"),
    "no number": ({**V, "cost": {"max_price_per_1k_tokens_usd": Decimal("NaN")}}, "policy.cost.max_price_per_1k_tokens_usd"),
    "true for a price": ({**V, "cost": {"max_price_per_1k_tokens_usd": True}}, "policy.cost.max_price_per_1k_tokens_usd"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_nobody_could_enforce_is_refused_at_its_place(case: str) -> None:
    raw, place = REFUSED[case]
    with pytest.raises(InvalidPolicy) as caught:
        parse_policy(raw)
    assert (caught.value.code, caught.value.field) == ("INVALID_POLICY", place)


def test_every_member_is_read() -> None:
    policy = parse_policy(FULL)
    assert policy == Policy(
        policy_version="1.0",
        allow_regions=("eu-west", "eu-north"),
        residency_required=True,
        attestation_required=True,
        require_cc_on=True,
        fallback_allowed=False,
        p95_ms_budget=500,
        hard_timeout_ms=30000,
        max_price_per_1k_tokens_usd=Decimal("0.02"),
        spot_only=True,
        store_inputs=False,
        redact_pii=True,
    )
    default = Policy()
    same = [item.name for item in fields(Policy) if getattr(policy, item.name) == getattr(default, item.name)]
    assert same == ["policy_version"], "a member without a case of its own"


def test_what_is_absent_demands_nothing() -> None:
    assert parse_policy(None) == parse_policy(V) == Policy()
    assert parse_policy({**V, "allow_regions": [], "cost": {}, "latency": {}}) == Policy()
    assert Policy().fallback_allowed
    assert Policy().store_inputs


def test_a_whole_number_may_be_written_with_a_point() -> None:
    """JSON does not tell 30000.0 from 30000, nor does the hash."""
    written = {**V, "latency": {"hard_timeout_ms": 30000.0}}
    assert parse_policy(written).hard_timeout_ms == 30000
    assert policy_hash(written) == policy_hash({**V, "latency": {"hard_timeout_ms": 30000}})


@pytest.mark.parametrize(
    "vector", [one for one in VECTORS["vectors"] if one["kind"] == "policy_hash"], ids=lambda one: str(one["name"])
)
def test_hashes_are_those_of_the_vectors(vector: dict[str, str]) -> None:
    raw = json.loads(vector["input_json"])
    parse_policy(raw)
    assert policy_hash(raw).hex() == vector["sha256"]
    exact = json.loads(vector["input_json"], parse_float=Decimal)
    assert (policy_hash(exact).hex(), parse_policy(exact)) == (vector["sha256"], parse_policy(raw))


def test_the_hash_is_of_what_was_supplied_and_not_of_what_it_means() -> None:
    assert policy_hash(None) == policy_hash(V)
    assert policy_hash({**V, "allow_regions": []}) != policy_hash(V)
    assert policy_hash({"cost": {"spot_only": False}, **V}) == policy_hash({**V, "cost": {"spot_only": False}})


def test_what_has_no_canonical_form_is_no_policy() -> None:
    with pytest.raises(InvalidPolicy):
        policy_hash({**V, "latency": {"p95_ms_budget": 2**53}})
    with pytest.raises(InvalidPolicy):
        policy_hash({**V, "cost": {"max_price_per_1k_tokens_usd": float("nan")}})
