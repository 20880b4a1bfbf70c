"""From a request to a plan: which model, under which policy, on which nodes. Whatever is wrong is found here, before there is a row."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.access.model import Mode, Principal
from shared.catalog.facts import model_facts
from shared.catalog.matching import NodeFacts, Placement, match, none_compatible
from shared.catalog.model import OPERATOR, Passport
from shared.catalog.policy import Policy, parse_policy, policy_hash
from shared.catalog.service import Catalog
from shared.inference.model import Ask, NotAsked, Plan, PlannedNode
from shared.kernel.errors import NotFound, Unavailable, Unprocessable

KNOW_TOP_K = frozenset(
    {"llama.cpp", "llamacpp", "xllamacpp", "ollama", "vllm", "sglang", "tgi", "mlx", "trt-llm", "tensorrt"}
)
"""Runtimes whose OpenAI-compatible API has `top_k`; OpenAI's own has not."""
NO_SIMULATION = "test keys run on the simulated model, and this service has none: SIM_OPENAI_BASE_URL is not set"
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class ModelNotFound(Unprocessable):
    """The model that was named is not one that this caller can run."""

    code = "MODEL_NOT_FOUND"


@dataclass(frozen=True)
class Planned:
    """What a run is made from. `input` is the JSON text of what the worker needs of the request."""

    plan: Plan
    policy: Policy
    policy_hash: bytes
    model_passport_id: str
    input: str


class Planner:
    """Plans runs. `has_simulation`: whether a simulated model is configured."""

    def __init__(self, catalog: Catalog, *, has_simulation: bool) -> None:
        self._catalog = catalog
        self._has_simulation = has_simulation

    def plan(self, ask: Ask, principal: Principal) -> Planned:
        """Return the plan. Raises `NotAsked`, `InvalidPolicy`, `ModelNotFound`, `NoCompatibleCompute`, `Unavailable`."""
        if principal.mode is Mode.TEST and not self._has_simulation:
            raise Unavailable(NO_SIMULATION, retry_after_s=3600)
        text = _storable(ask)
        policy, hashed = parse_policy(ask.policy), policy_hash(ask.policy)
        if policy.redact_pii and ask.options.get("logprobs"):
            raise NotAsked(
                "logprobs repeat the text and cannot be redacted: leave one of the two out", field="logprobs"
            )
        model, known = self._offers(ask, principal)
        nodes = self._nodes(ask, model, known, policy, hashed)
        plan = Plan(nodes, redact_pii=policy.redact_pii, include_usage=ask.include_usage)
        return Planned(plan, policy, hashed, model.passport_id, text)

    def _offers(self, ask: Ask, principal: Principal) -> tuple[Passport, list[NodeFacts]]:
        try:
            return self._catalog.offers(
                tenant=principal.tenant, mode=principal.mode, reference=ask.model, named=ask.compute_passport_id
            )
        except NotFound as error:
            raise ModelNotFound(error.message, field="model") from error

    def _nodes(
        self, ask: Ask, model: Passport, known: list[NodeFacts], policy: Policy, hashed: bytes
    ) -> tuple[PlannedNode, ...]:
        facts = model_facts(model.metadata, passport_id=model.passport_id, names=(model.name,))
        matched = match(facts, policy, known)
        if matched.selected is None:
            raise none_compatible(matched, hashed)
        chosen = [_planned(placement, model) for placement in (matched.selected, *matched.fallbacks)]
        reachable = [node for node in chosen if node is not None]
        if not reachable:
            raise Unprocessable("the chosen node has no endpoint", code="COMPUTE_MISSING_ENDPOINT")
        if "top_k" not in ask.options:
            return tuple(reachable)
        knowing = tuple(node for node in reachable if node.runtime in KNOW_TOP_K)
        if not knowing:
            raise NotAsked(f"the runtime {reachable[0].runtime} does not know top_k", field="top_k")
        return knowing


def _planned(placement: Placement, model: Passport) -> PlannedNode | None:
    endpoint = placement.node.endpoint
    if endpoint is None:
        return None
    node = placement.node
    return PlannedNode(
        node.passport_id, endpoint, placement.runtime, model.upstream_model, is_ours=node.owner == OPERATOR
    )


def _storable(ask: Ask) -> str:
    """Return what the worker needs as JSON text that a database can hold. Raises `NotAsked`."""
    wanted: Mapping[str, Any] = {"messages": list(ask.messages), "options": dict(ask.options)}
    try:
        text = json.dumps(wanted, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=float)
        text.encode()
    except (UnicodeEncodeError, ValueError, RecursionError):
        raise NotAsked("the messages hold what is no text: a lone surrogate, or no number", field="messages") from None
    if _NUL.search(text):
        raise NotAsked("the messages hold a NUL character", field="messages")
    return text
