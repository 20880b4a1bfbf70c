"""Who may run what, and why not: every demand against a node that meets it and one that fails it for just that reason."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from shared.catalog.facts import compute_facts, model_facts
from shared.catalog.matching import (
    ComputeFacts,
    Heard,
    ModelFacts,
    NoCompatibleCompute,
    NodeFacts,
    Rejection,
    explanation,
    match,
    none_compatible,
    refusals,
    score,
)
from shared.catalog.policy import Policy, policy_hash

HEALTHY = Heard("healthy")
FIT = ComputeFacts(regions=("eu-west",), runtimes=("vllm", "tgi"), gpu="NVIDIA-A100-40GB", vram_gb=40, max_context=8192)
MODEL = ModelFacts("passport_model", runtime="vllm", min_vram_gb=16, context_length=4096)


def node(passport_id: str = "passport_node", heard: Heard | None = HEALTHY, **compute: Any) -> NodeFacts:
    return NodeFacts(passport_id, replace(FIT, **compute), heard=heard, endpoint="http://127.0.0.1:1/v1")


def reasons(
    node_: NodeFacts, *, model: ModelFacts = MODEL, policy: Policy | None = None, live: bool = True
) -> list[str]:
    matched = match(model, policy or Policy(), [node_], require_live=live)
    assert (matched.selected is None) == bool(matched.rejected)
    return [str(reason) for _, found in matched.rejected for reason in found]


# -- what a policy demands of a node: the demand, a node that meets it, one that does not, and why not

DEMANDS: dict[str, tuple[Policy, NodeFacts, NodeFacts, Rejection]] = {
    "allow_regions": (
        Policy(allow_regions=("us", "eu-west")), node(), node(regions=("eu", "ap")), Rejection.REGION_NOT_ALLOWED,
    ),
    "residency_required": (
        Policy(residency_required=True), node(residency_supported=True), node(), Rejection.RESIDENCY_REQUIRED_NOT_SUPPORTED,
    ),
    "attestation_required": (
        Policy(attestation_required=True), node(supports_attestation=True), node(supports_cc_on=True),
        Rejection.ATTESTATION_REQUIRED_NOT_SUPPORTED,
    ),
    "require_cc_on": (
        Policy(require_cc_on=True), node(supports_cc_on=True), node(supports_attestation=True),
        Rejection.CC_ON_REQUIRED_NOT_SUPPORTED,
    ),
    "p95_ms_budget, declared": (Policy(p95_ms_budget=500), node(p95=500), node(p95=501), Rejection.LATENCY_BUDGET_EXCEEDED),
    "p95_ms_budget, heard": (
        Policy(p95_ms_budget=500), node(heard=Heard("healthy", p95=400), p95=500), node(heard=Heard("healthy", p95=501), p95=10),
        Rejection.LATENCY_BUDGET_EXCEEDED,
    ),
    "p95_ms_budget, declared though another is heard": (
        Policy(p95_ms_budget=500), node(), node(heard=Heard("healthy", p95=10), p95=501), Rejection.LATENCY_BUDGET_EXCEEDED,
    ),
    "max_price_per_1k_tokens_usd, declared": (
        Policy(max_price_per_1k_tokens_usd=Decimal("0.1")), node(price=Decimal("0.1")), node(price=Decimal("0.1000001")),
        Rejection.COST_BUDGET_EXCEEDED,
    ),
    "max_price_per_1k_tokens_usd, heard": (
        Policy(max_price_per_1k_tokens_usd=Decimal("0.1")), node(),
        node(heard=Heard("healthy", price=Decimal("0.2")), price=Decimal("0.01")), Rejection.COST_BUDGET_EXCEEDED,
    ),
    "max_price_per_1k_tokens_usd of nothing": (
        Policy(max_price_per_1k_tokens_usd=Decimal(0)), node(price=Decimal(0)), node(price=Decimal("0.000001")),
        Rejection.COST_BUDGET_EXCEEDED,
    ),
    "spot_only": (Policy(spot_only=True), node(supports_spot=True), node(), Rejection.SPOT_ONLY_NOT_SUPPORTED),
}  # fmt: skip


@pytest.mark.parametrize("demand", DEMANDS)
def test_a_demand_lets_through_who_meets_it_and_rejects_who_does_not_for_that_reason(demand: str) -> None:
    policy, good, bad, reason = DEMANDS[demand]
    assert reasons(good, policy=policy) == []
    assert reasons(bad, policy=policy) == [reason]
    assert list(refusals(policy, bad)) == [reason]
    assert reasons(bad, policy=Policy()) == []


def test_figures_that_nobody_states_pass_the_budgets() -> None:
    policy = Policy(p95_ms_budget=1, max_price_per_1k_tokens_usd=Decimal(0))
    assert reasons(node(), policy=policy) == []


def test_a_heartbeat_that_is_not_fresh_says_nothing() -> None:
    stale = Heard("healthy", queue_depth=9, price=Decimal(9), p95=9000, fresh=False)
    policy = Policy(p95_ms_budget=500, max_price_per_1k_tokens_usd=Decimal("0.1"))
    assert reasons(node(heard=stale), policy=policy, live=False) == []
    assert score(node(heard=stale), Policy()) == score(node(heard=None), Policy())


# -- what a model needs of a node

NEEDS: dict[str, tuple[ModelFacts, NodeFacts, NodeFacts, Rejection]] = {
    "a runtime": (MODEL, node(), node(runtimes=("tgi",)), Rejection.NO_RUNTIME_MATCH),
    "any runtime": (replace(MODEL, runtime=None), node(), node(runtimes=()), Rejection.NO_RUNTIME_MATCH),
    "memory": (MODEL, node(vram_gb=16), node(vram_gb=15), Rejection.VRAM_TOO_LOW),
    "context": (MODEL, node(max_context=4096), node(max_context=4095), Rejection.MAX_CONTEXT_TOO_LOW),
    "context, where the node states none": (MODEL, node(max_context=0), node(max_context=1), Rejection.MAX_CONTEXT_TOO_LOW),
    "to be served": (
        MODEL, node(models=frozenset({"passport_model"})), node(models=frozenset({"other"})), Rejection.MODEL_NOT_SERVED,
    ),
    "to be served by the API's name": (
        replace(MODEL, names=frozenset({"llama"})), node(models=frozenset({"llama", "x"})), node(models=frozenset()),
        Rejection.MODEL_NOT_SERVED,
    ),
    "a GPU": (
        replace(MODEL, gpu_classes=("H100", "a100")), node(), node(gpu="NVIDIA RTX 4090"), Rejection.GPU_CLASS_NOT_MATCHED,
    ),
    "a GPU whose name begins another's": (
        replace(MODEL, gpu_classes=("A10",)), node(gpu="NVIDIA A10"), node(gpu="NVIDIA-A100-40GB"),
        Rejection.GPU_CLASS_NOT_MATCHED,
    ),
    "a GPU of two words": (
        replace(MODEL, gpu_classes=("RTX4090",)), node(gpu="GeForce RTX 4090"), node(gpu="GeForce RTX 3090"),
        Rejection.GPU_CLASS_NOT_MATCHED,
    ),
    "a CUDA version": (
        replace(MODEL, cuda_min="12.1"), node(cuda="12.10"), node(cuda="11.8"), Rejection.CUDA_TOO_LOW,
    ),
    "a CUDA version, where the node states none": (
        replace(MODEL, cuda_min="12"), node(cuda=None), node(cuda="9.2"), Rejection.CUDA_TOO_LOW,
    ),
}  # fmt: skip


@pytest.mark.parametrize("need", NEEDS)
def test_a_need_lets_through_who_meets_it_and_rejects_who_does_not_for_that_reason(need: str) -> None:
    model, good, bad, reason = NEEDS[need]
    assert reasons(good, model=model) == []
    assert reasons(bad, model=model) == [reason]


@pytest.mark.parametrize(
    "heard",
    [None, Heard("degraded"), Heard("down"), Heard("healthy", fresh=False)],
    ids=["never heard", "degraded", "down", "silent"],
)
def test_only_what_is_healthy_now_matches_unless_that_is_not_asked_for(heard: Heard | None) -> None:
    assert reasons(node(heard=heard)) == [Rejection.COMPUTE_NOT_HEALTHY]
    assert reasons(node(heard=heard), live=False) == []


def test_every_reason_is_told_in_the_contracts_order() -> None:
    bad = NodeFacts(
        "passport_bad",
        ComputeFacts(
            models=frozenset(),
            gpu="T4",
            vram_gb=1,
            max_context=1,
            cuda="1",
            price=Decimal(9),
            p95=9000,
            regions=("us",),
        ),
    )
    model = replace(MODEL, gpu_classes=("A100",), cuda_min="12")
    policy = Policy(
        allow_regions=("eu",),
        residency_required=True,
        attestation_required=True,
        require_cc_on=True,
        p95_ms_budget=1,
        max_price_per_1k_tokens_usd=Decimal(1),
        spot_only=True,
    )
    every = [reason for reason in Rejection if reason is not Rejection.INVALID_COMPUTE_META]
    assert reasons(bad, model=model, policy=policy) == every


def test_a_malformed_node_is_rejected_and_not_left_out() -> None:
    assert reasons(NodeFacts("passport_odd", None)) == [Rejection.INVALID_COMPUTE_META]
    assert list(refusals(Policy(), NodeFacts("passport_odd", None))) == [Rejection.INVALID_COMPUTE_META]


# -- the score: cost (50) + latency (50) − queue (20), by hand

SCORES: dict[str, tuple[NodeFacts, Policy, str]] = {
    "nothing known": (node(), Policy(), "50"),
    "price, no cap": (node(price=Decimal("0.5")), Policy(), "75"),
    "cheap, no cap": (node(price=Decimal("0.1")), Policy(), "75"),
    "dear, no cap": (node(price=Decimal(10)), Policy(), "27.5"),
    "a tenth of the cap": (node(price=Decimal("0.1")), Policy(max_price_per_1k_tokens_usd=Decimal(1)), "70"),
    "half of the cap": (node(price=Decimal("0.01")), Policy(max_price_per_1k_tokens_usd=Decimal("0.02")), "50"),
    "at the cap": (node(price=Decimal(1)), Policy(max_price_per_1k_tokens_usd=Decimal(1)), "25"),
    "above the cap": (node(price=Decimal(2)), Policy(max_price_per_1k_tokens_usd=Decimal(1)), "25"),
    "unknown under a cap": (node(), Policy(max_price_per_1k_tokens_usd=Decimal(1)), "50"),
    "for nothing counts as unknown": (node(price=Decimal(0)), Policy(), "50"),
    "a second": (node(p95=1000), Policy(), "50"),
    "a quarter of a second": (node(p95=250), Policy(), "65"),
    "four seconds": (node(p95=4000), Policy(), "35"),
    "no time counts as unknown": (node(p95=0), Policy(), "50"),
    "three waiting": (node(heard=Heard("healthy", queue_depth=3)), Policy(), "44"),
    "ten waiting": (node(heard=Heard("healthy", queue_depth=10)), Policy(), "30"),
    "a thousand waiting": (node(heard=Heard("healthy", queue_depth=1000)), Policy(), "30"),
    "heard outranks declared": (
        node(heard=Heard("healthy", 1, Decimal(25), 250), price=Decimal("0.1"), p95=4000), Policy(), "39",
    ),
    "the best": (node(price=Decimal("0.01"), p95=1), Policy(), "99.95004995004995004995004995"),
    "the worst": (
        node(heard=Heard("healthy", 50, Decimal(1), 9000)), Policy(max_price_per_1k_tokens_usd=Decimal(1)), "-15",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SCORES)
def test_scores_are_those_of_the_table(case: str) -> None:
    scored, policy, expected = SCORES[case]
    assert score(scored, policy) == Decimal(expected)


# -- the choice


def test_the_best_is_chosen_and_three_follow_in_order() -> None:
    nodes = [node(f"passport_{index}", p95=1000 * index) for index in (5, 3, 1, 2, 4)]
    matched = match(MODEL, Policy(), nodes)
    assert matched.selected is not None
    assert matched.selected.node.passport_id == "passport_1"
    assert [one.node.passport_id for one in matched.fallbacks] == ["passport_2", "passport_3", "passport_4"]
    assert [one.node.passport_id for one in matched.shortlisted] == [f"passport_{index}" for index in (1, 2, 3, 4, 5)]
    assert matched.rejected == ()


def test_of_equal_scores_the_catalogues_order_decides() -> None:
    nodes = [node(f"passport_{name}") for name in "dbca"]
    assert [one.node.passport_id[-1] for one in match(MODEL, Policy(), nodes).shortlisted] == list("dbca")


def test_where_fallbacks_are_forbidden_there_are_none() -> None:
    matched = match(MODEL, Policy(fallback_allowed=False), [node("passport_a"), node("passport_b")])
    assert matched.fallbacks == ()
    assert len(matched.shortlisted) == 2


def test_the_runtime_is_the_models_or_else_the_nodes_first() -> None:
    given = node(runtimes=("tgi", "vllm"))
    for model, runtime in ((MODEL, "vllm"), (replace(MODEL, runtime=None), "tgi")):
        selected = match(model, Policy(), [given]).selected
        assert selected is not None
        assert selected.runtime == runtime


def test_nothing_allowed_is_an_error_that_explains_every_node() -> None:
    hashed = policy_hash(None)
    matched = match(MODEL, Policy(), [node("passport_a", heard=None), node("passport_b", vram_gb=1)])
    error = none_compatible(matched, hashed)
    assert isinstance(error, NoCompatibleCompute)
    assert error.code == "NO_COMPATIBLE_COMPUTE"
    assert error.details == {
        "policy_hash": hashed.hex(),
        "shortlisted": [],
        "rejected": [
            {"compute_passport_id": "passport_a", "reasons": ["COMPUTE_NOT_HEALTHY"]},
            {"compute_passport_id": "passport_b", "reasons": ["VRAM_TOO_LOW"]},
        ],
        "selected": None,
        "evidence": "declared",
    }
    assert none_compatible(match(MODEL, Policy(), []), hashed).details["rejected"] == []


def test_an_explanation_shows_scores_to_six_places() -> None:
    shown = explanation(match(MODEL, Policy(), [node(p95=500)]), policy_hash(None))
    assert shown["shortlisted"] == [
        {"compute_passport_id": "passport_node", "runtime": "vllm", "score": Decimal("58.333333")}
    ]
    assert shown["selected"] == "passport_node"


# -- metadata read into facts

COMPUTE_META: dict[str, Any] = {
    "schema_version": "1.0",
    "compute_passport_id": "passport_node",
    "provider_type": "cloud",
    "regions": ["eu-west"],
    "residency_supported": True,
    "hardware": {"gpu": "A100", "vram_gb": 40},
    "runtimes": [{"name": "vllm", "version": "1"}, {"name": "tgi"}],
    "capabilities": {"supports_attestation": True, "supports_cc_on": True},
    "network": {"p95_ms_estimate": 250},
    "limits": {"max_context": 8192},
    "pricing": {"price_per_1k_tokens_estimate": 0.02},
    "endpoints": {"inference_url": "http://127.0.0.1:1/v1"},
    "policy_tags": ["spot"],
    "metadata": {"models": ["llama"], "cuda": "12.4"},
}


def test_a_nodes_metadata_is_read_whole() -> None:
    assert compute_facts(COMPUTE_META) == ComputeFacts(
        regions=("eu-west",),
        runtimes=("vllm", "tgi"),
        models=frozenset({"llama"}),
        gpu="A100",
        vram_gb=40,
        cuda="12.4",
        max_context=8192,
        residency_supported=True,
        supports_attestation=True,
        supports_cc_on=True,
        supports_spot=True,
        price=Decimal("0.02"),
        p95=250,
    )
    assert compute_facts({}) == ComputeFacts()


@pytest.mark.parametrize(
    ("pricing", "dollars"),
    [
        ({"price_per_1k_tokens_estimate": 2, "currency": "usd_cents"}, "0.02"),
        ({"price_per_1k_tokens_estimate": 2, "currency": "lamports"}, None),
        ({"price_per_1k_tokens_estimate": 2, "currency": "credits"}, None),
        ({"per_input_token": 0.00001, "per_output_token": 0.00003}, "0.03"),
        ({"price_per_1k_tokens_estimate": 0.01, "per_output_token": 1}, "0.01"),
        ({"price_per_minute_estimate": 1}, None),
        ({"price_per_1k_tokens_estimate": float("inf")}, None),
        ({"price_per_1k_tokens_estimate": True}, None),
    ],
)
def test_a_price_counts_where_it_is_stated_in_dollars(pricing: dict[str, Any], dollars: str | None) -> None:
    assert compute_facts({"pricing": pricing}).price == (None if dollars is None else Decimal(dollars))


def test_a_models_metadata_is_read_whole() -> None:
    meta = {
        "model_passport_id": "passport_in_metadata",
        "format": "api",
        "runtime_recommended": "openai",
        "api_model_id": "gpt",
        "provider_model_id": "vendor/gpt",
        "context_length": 4096,
        "requirements": {"min_vram_gb": 8, "gpu_classes": ["A100"], "cuda_min": "12.1"},
    }
    read = model_facts(meta, passport_id="passport_row", names=("My model",))
    assert read == ModelFacts(
        "passport_row",
        runtime="openai",
        names=frozenset({"passport_row", "My model", "gpt", "vendor/gpt"}),
        min_vram_gb=8,
        context_length=4096,
        gpu_classes=("A100",),
        cuda_min="12.1",
    )
    assert model_facts(meta).passport_id == "passport_in_metadata"
