"""Where a model may run: every node is rejected with all its reasons, or scored. Pure; what is asked about comes in as facts.

Codes and the scoring table are the gateway contract's, in this order; those marked "ours" go beyond it (`docs/decisions/0015`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Context, Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Any

from shared.catalog.policy import Policy
from shared.kernel.errors import Unprocessable

HEALTHY = "healthy"
MOST_FALLBACKS = 3
NO_MATCH = "NO_COMPATIBLE_COMPUTE"
DECLARED = "declared"
"""What every judgement rests on: the nodes' own word. No attestation document is verified."""
LONGEST_NAME = 128
MOST_WORDS = 12


class Rejection(StrEnum):
    """Why a node may not run a model, in the order in which reasons are told."""

    INVALID_COMPUTE_META = "INVALID_COMPUTE_META"
    """Ours: what a catalogue says of the node is malformed, so nothing else was looked at."""
    COMPUTE_NOT_HEALTHY = "COMPUTE_NOT_HEALTHY"
    NO_RUNTIME_MATCH = "NO_RUNTIME_MATCH"
    MODEL_NOT_SERVED = "MODEL_NOT_SERVED"
    """Ours: the node lists what it serves, and the model is not on the list."""
    VRAM_TOO_LOW = "VRAM_TOO_LOW"
    MAX_CONTEXT_TOO_LOW = "MAX_CONTEXT_TOO_LOW"
    GPU_CLASS_NOT_MATCHED = "GPU_CLASS_NOT_MATCHED"
    """Ours: model and node both name GPUs, and none is the same."""
    CUDA_TOO_LOW = "CUDA_TOO_LOW"
    """Ours: model and node both name a CUDA version, and the node's is older."""
    REGION_NOT_ALLOWED = "REGION_NOT_ALLOWED"
    RESIDENCY_REQUIRED_NOT_SUPPORTED = "RESIDENCY_REQUIRED_NOT_SUPPORTED"
    ATTESTATION_REQUIRED_NOT_SUPPORTED = "ATTESTATION_REQUIRED_NOT_SUPPORTED"
    CC_ON_REQUIRED_NOT_SUPPORTED = "CC_ON_REQUIRED_NOT_SUPPORTED"
    LATENCY_BUDGET_EXCEEDED = "LATENCY_BUDGET_EXCEEDED"
    COST_BUDGET_EXCEEDED = "COST_BUDGET_EXCEEDED"
    SPOT_ONLY_NOT_SUPPORTED = "SPOT_ONLY_NOT_SUPPORTED"
    """Ours: spot capacity is demanded, and the node does not declare that it is any."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A node's newest heartbeat. `price`: dollars per 1000 tokens; `p95`: milliseconds; `fresh`: it is still within its 30 s."""

    status: str
    queue_depth: int | None = None
    price: Decimal | None = None
    p95: int | None = None
    fresh: bool = True


@dataclass(frozen=True, slots=True)
class ComputeFacts:
    """What a node declares of itself in its ComputeMeta (`shared.catalog.facts.compute_facts`). Nothing here is verified.

    `price`: dollars per 1000 tokens; `p95`: milliseconds; `max_context` in tokens; None and empty mean "not stated".
    """

    regions: tuple[str, ...] = ()
    runtimes: tuple[str, ...] = ()
    models: frozenset[str] | None = None
    """What it serves, by passport id or by the name that its endpoint knows; None: whatever its runtimes can load."""
    gpu: str = ""
    vram_gb: int = 0
    cuda: str | None = None
    max_context: int = 0
    residency_supported: bool = False
    supports_attestation: bool = False
    supports_cc_on: bool = False
    supports_spot: bool = False
    price: Decimal | None = None
    p95: int | None = None


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """One node as it stands now. `compute` is None where its metadata is malformed; `owner`: the tenant whose row it is."""

    passport_id: str
    compute: ComputeFacts | None
    heard: Heard | None = None
    endpoint: str | None = None
    owner: str = ""
    simulated: bool = False

    @property
    def live(self) -> Heard | None:
        """Return the heartbeat if it still counts."""
        return self.heard if self.heard is not None and self.heard.fresh else None

    @property
    def price(self) -> Decimal | None:
        """Return dollars per 1000 tokens: the live word, else the declared one."""
        if self.live is not None and self.live.price is not None:
            return self.live.price
        return self.compute.price if self.compute is not None else None

    @property
    def p95(self) -> int | None:
        """Return the 95th percentile of latency in milliseconds: the live word, else the declared one."""
        if self.live is not None and self.live.p95 is not None:
            return self.live.p95
        return self.compute.p95 if self.compute is not None else None


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a model needs (`shared.catalog.facts.model_facts`). `names`: its passport id and what endpoints call it."""

    passport_id: str
    runtime: str | None = None
    names: frozenset[str] = frozenset()
    min_vram_gb: int = 0
    context_length: int = 0
    gpu_classes: tuple[str, ...] = ()
    cuda_min: str | None = None


@dataclass(frozen=True, slots=True)
class Placement:
    """A node that may run the model, on that runtime. The higher the score, the better."""

    node: NodeFacts
    runtime: str
    score: Decimal


@dataclass(frozen=True, slots=True)
class Matched:
    """The outcome: best first in `shortlisted`, of which `selected` is the first and `fallbacks` the up to three that follow."""

    selected: Placement | None
    fallbacks: tuple[Placement, ...]
    shortlisted: tuple[Placement, ...]
    rejected: tuple[tuple[str, tuple[Rejection, ...]], ...]


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each part of a score counts at most, and where its curve bends."""

    cost: Decimal = Decimal(50)
    cheap_usd: Decimal = Decimal("0.5")
    """Without a cap, a price of this many dollars and less gets the whole of `cost`."""
    latency: Decimal = Decimal(50)
    half_ms: Decimal = Decimal(1000)
    """At this p95 half of `latency` is left."""
    queue: Decimal = Decimal(20)
    waiting: Decimal = Decimal(2)
    """What each waiting request costs."""


class NoCompatibleCompute(Unprocessable):
    """No node may run the model under the policy. `details` is the explanation, node by node."""

    code = NO_MATCH


WEIGHTS = Weights()
_EXACT = Context(prec=28)
_SHOWN = Decimal("0.000001")
_VERSION = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6}){0,3}")


def match(
    model: ModelFacts,
    policy: Policy,
    nodes: Iterable[NodeFacts],
    *,
    require_live: bool = True,
    weights: Weights = WEIGHTS,
) -> Matched:
    """Judge all `nodes`; equal scores keep their order. No fallbacks where the policy forbids them."""
    fit: list[Placement] = []
    rejected: list[tuple[str, tuple[Rejection, ...]]] = []
    for node in nodes:
        reasons = tuple(_rejections(model, policy, node, require_live=require_live))
        if reasons or node.compute is None:
            rejected.append((node.passport_id, reasons))
        else:
            runtime = model.runtime or next(iter(node.compute.runtimes), "")
            fit.append(Placement(node, runtime, score(node, policy, weights)))
    fit.sort(key=lambda placement: placement.score, reverse=True)  # stable in reverse, too
    fallbacks = tuple(fit[1 : 1 + MOST_FALLBACKS]) if policy.fallback_allowed else ()
    return Matched(fit[0] if fit else None, fallbacks, tuple(fit), tuple(rejected))


def refusals(policy: Policy, node: NodeFacts) -> Iterator[Rejection]:
    """Yield why the policy alone refuses `node`, in order. Budgets hold for the declared and for the live figure."""
    compute = node.compute
    if compute is None:
        yield Rejection.INVALID_COMPUTE_META
        return
    if policy.allow_regions and not set(policy.allow_regions) & set(compute.regions):
        yield Rejection.REGION_NOT_ALLOWED
    if policy.residency_required and not compute.residency_supported:
        yield Rejection.RESIDENCY_REQUIRED_NOT_SUPPORTED
    if policy.attestation_required and not compute.supports_attestation:
        yield Rejection.ATTESTATION_REQUIRED_NOT_SUPPORTED
    if policy.require_cc_on and not compute.supports_cc_on:
        yield Rejection.CC_ON_REQUIRED_NOT_SUPPORTED
    if _exceeds(policy.p95_ms_budget, compute.p95, node.p95):
        yield Rejection.LATENCY_BUDGET_EXCEEDED
    if _exceeds(policy.max_price_per_1k_tokens_usd, compute.price, node.price):
        yield Rejection.COST_BUDGET_EXCEEDED
    if policy.spot_only and not compute.supports_spot:
        yield Rejection.SPOT_ONLY_NOT_SUPPORTED


def score(node: NodeFacts, policy: Policy, weights: Weights = WEIGHTS) -> Decimal:
    """Return cost + latency − queue, from −20 to 100. Unknown price and p95 earn half; a price or p95 of 0 counts as unknown."""
    queue_depth = (node.live.queue_depth if node.live is not None else None) or 0
    earned = _EXACT.add(_cost(node.price, policy.max_price_per_1k_tokens_usd, weights), _latency(node.p95, weights))
    return _EXACT.subtract(earned, min(weights.queue, weights.waiting * queue_depth))


def explanation(matched: Matched, policy_hash: bytes) -> dict[str, Any]:
    """Return the contract's explain object."""
    return {
        "policy_hash": policy_hash.hex(),
        "shortlisted": [
            {
                "compute_passport_id": placement.node.passport_id,
                "runtime": placement.runtime,
                "score": placement.score.quantize(_SHOWN, context=_EXACT).normalize(_EXACT),
            }
            for placement in matched.shortlisted
        ],
        "rejected": [
            {"compute_passport_id": passport_id, "reasons": [str(reason) for reason in reasons]}
            for passport_id, reasons in matched.rejected
        ],
        "selected": matched.selected.node.passport_id if matched.selected else None,
        "evidence": DECLARED,
    }


def none_compatible(matched: Matched, policy_hash: bytes) -> NoCompatibleCompute:
    """Return the error for a `matched` that selected nothing."""
    judged = len(matched.rejected)
    message = f"none of {judged} compute nodes may run this model under this policy" if judged else "there are no nodes"
    return NoCompatibleCompute(message, details=explanation(matched, policy_hash))


def _rejections(model: ModelFacts, policy: Policy, node: NodeFacts, *, require_live: bool) -> Iterator[Rejection]:
    compute = node.compute
    if compute is None:
        yield Rejection.INVALID_COMPUTE_META
        return
    if require_live and (node.live is None or node.live.status != HEALTHY):
        yield Rejection.COMPUTE_NOT_HEALTHY
    if (model.runtime not in compute.runtimes) if model.runtime else not compute.runtimes:
        yield Rejection.NO_RUNTIME_MATCH
    if compute.models is not None and not compute.models & (model.names | {model.passport_id}):
        yield Rejection.MODEL_NOT_SERVED
    if model.min_vram_gb > compute.vram_gb:
        yield Rejection.VRAM_TOO_LOW
    if 0 < compute.max_context < model.context_length:
        yield Rejection.MAX_CONTEXT_TOO_LOW
    if model.gpu_classes and compute.gpu and not any(_is_of_class(compute.gpu, name) for name in model.gpu_classes):
        yield Rejection.GPU_CLASS_NOT_MATCHED
    if _is_older(compute.cuda, model.cuda_min):
        yield Rejection.CUDA_TOO_LOW
    yield from refusals(policy, node)


def _exceeds(limit: Decimal | int | None, *figures: Decimal | int | None) -> bool:
    return limit is not None and any(figure is not None and figure > limit for figure in figures)


def _cost(price: Decimal | None, cap: Decimal | None, weights: Weights) -> Decimal:
    if price is None or price <= 0:
        return weights.cost / 2
    if cap is None:
        return min(weights.cost, _EXACT.divide(weights.cost * weights.cheap_usd, price))
    if price >= cap:
        return Decimal(0)
    return _EXACT.divide(_EXACT.multiply(weights.cost, _EXACT.subtract(cap, price)), cap)


def _latency(p95: int | None, weights: Weights) -> Decimal:
    if p95 is None or p95 <= 0:
        return weights.latency / 2
    return _EXACT.divide(weights.latency * weights.half_ms, weights.half_ms + p95)


def _is_of_class(gpu: str, name: str) -> bool:
    """Tell whether whole words of `gpu` make up `name`: "A100" is in "NVIDIA-A100-40GB" and "A10" is not."""
    return "".join(_words(name)) in _gpu_names(gpu)


@lru_cache(maxsize=1024)
def _gpu_names(gpu: str) -> frozenset[str]:
    words = _words(gpu)
    ends = range(1, len(words) + 1)
    return frozenset("".join(words[start:end]) for end in ends for start in range(end))


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text[:LONGEST_NAME].lower())[:MOST_WORDS]


def _is_older(version: str | None, least: str | None) -> bool:
    there, needed = _numbers(version), _numbers(least)
    return bool(there and needed) and there < needed


def _numbers(version: str | None) -> tuple[int, ...]:
    found = _VERSION.match(version or "")
    numbers = [int(part) for part in found.group().split(".")] if found else []
    return tuple([*numbers, 0, 0, 0, 0][:4]) if numbers else ()
