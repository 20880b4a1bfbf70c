"""Which node would run a model under a policy, and why not the others. Nothing is run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response

from shared.access.model import Scope
from shared.catalog.facts import compute_facts, model_facts
from shared.catalog.matching import (
    DECLARED,
    Matched,
    ModelFacts,
    NoCompatibleCompute,
    NodeFacts,
    Placement,
    explanation,
    match,
    none_compatible,
    refusals,
)
from shared.catalog.metadata import is_sound, require_sound
from shared.catalog.model import PassportType
from shared.catalog.policy import Policy, parse_policy, policy_hash
from shared.kernel.errors import InvalidInput, NotFound, Unprocessable
from web import problems
from web.auth import caller, principal
from web.context import container
from web.door import Answers, Operations
from web.gateway.match_schemas import (
    ExplainedSchema,
    ExplainRequestSchema,
    MatchedSchema,
    MatchRequestSchema,
    RoutedSchema,
    RouteRequestSchema,
    UnmatchedSchema,
    X402PaymentRequiredSchema,
)
from web.idempotency import keep_no_answer

operations = Operations(
    "Match", __name__, description="Which node would run a model under a policy, and why not others"
)

READS = caller(Scope.INFERENCE, anonymous=True)
NO_ENDPOINT = "SELECTED_COMPUTE_MISSING_ENDPOINT"
_UNNAMED = "none"
_LONGEST_ID = 200


@operations.post(
    "/v1/match/explain",
    "lucid_match_explain",
    Answers(ExplainedSchema, errors=(400, 500, 503)),
    body=ExplainRequestSchema,
    guard=READS,
)
def explain_match(body: dict[str, Any]) -> dict[str, Any]:
    """Hold a policy against a node

    Judges by the policy alone: neither the node's health nor what a model needs. Without a node it tells whether the policy is one.
    """
    try:
        policy = parse_policy(body.get("policy"))
        hashed = policy_hash(body.get("policy"))
        for type_, name in ((PassportType.MODEL, "model_meta"), (PassportType.COMPUTE, "compute_meta")):
            if name in body:
                _require_sound(type_, body[name], name)
    except Unprocessable as fault:  # the contract has 400 for what this address cannot read
        raise InvalidInput(fault.message, field=fault.field, code=fault.code) from None
    reasons = []
    if "compute_meta" in body:
        reasons = [str(reason) for reason in refusals(policy, _offered(body["compute_meta"]))]
    shown = {"allowed": not reasons, "reasons": reasons, "policy_hash": hashed.hex(), "evidence": DECLARED}
    return {"success": True, **shown}


@operations.post(
    "/v1/match",
    "lucid_match",
    Answers(MatchedSchema, errors=(400, 500, 503), also={402: X402PaymentRequiredSchema, 422: UnmatchedSchema}),
    body=MatchRequestSchema,
    guard=READS,
    headers={"X-Payment-Proof": "Ignored: no call here is paid for by itself (x402 is not built)."},
)
def match_compute(body: dict[str, Any]) -> dict[str, Any] | Response:
    """Choose a node for a model

    From the catalogue in the request, else from the nodes that you may use. Every node that may not is there with its reasons.
    """
    try:
        model, matched, hashed = _matched(body)
        selected = _selected(matched, hashed)
    except NoCompatibleCompute as fault:
        return _nothing(fault)
    return {
        "success": True,
        "match": {**_match_shown(model, selected), "fallbacks": [_placement_shown(one) for one in matched.fallbacks]},
        "explain": explanation(matched, hashed),
    }


@operations.post(
    "/v1/route",
    "lucid_route",
    Answers(RoutedSchema, errors=(400, 500, 503), also={422: UnmatchedSchema}),
    body=RouteRequestSchema,
    guard=READS,
)
def plan_route(body: dict[str, Any]) -> dict[str, Any] | Response:
    """Plan where a request would go

    As the match, with the chosen node's address.
    """
    try:
        model, matched, hashed = _matched(body)
        selected = _selected(matched, hashed)
    except NoCompatibleCompute as fault:
        return _nothing(fault)
    if not selected.node.endpoint:
        explained = explanation(matched, hashed)
        raise Unprocessable("the chosen node has no endpoint", code=NO_ENDPOINT, details=explained)
    route = {
        "compute_passport_id": selected.node.passport_id,
        "model_passport_id": model.passport_id,
        "endpoint": selected.node.endpoint,
        "runtime": selected.runtime,
        "policy_hash": hashed.hex(),
        "fallbacks": [
            {**_placement_shown(one), "endpoint": one.node.endpoint} for one in matched.fallbacks if one.node.endpoint
        ],
    }
    named = {"request_id": body["request_id"]} if "request_id" in body else {}
    return {"success": True, **named, "route": route, "explain": explanation(matched, hashed)}


def _matched(body: Mapping[str, Any]) -> tuple[ModelFacts, Matched, bytes]:
    policy, hashed = parse_policy(body.get("policy")), policy_hash(body.get("policy"))
    model = _model(body)
    return model, _judged(body, model, policy), hashed


def _judged(body: Mapping[str, Any], model: ModelFacts, policy: Policy) -> Matched:
    asks = principal()
    if "compute_catalog" in body:
        nodes = _heard(body["compute_catalog"])
    else:
        nodes = container().catalog.candidates(tenant=asks.tenant, mode=asks.mode)
    return match(model, policy, nodes, require_live=body["require_live_healthy"])


def _model(body: Mapping[str, Any]) -> ModelFacts:
    """Return what the model needs. Raises `Unprocessable`."""
    if ("model_meta" in body) == ("model" in body):
        raise Unprocessable("model_meta: give either the model's metadata, or its name as model", field="model_meta")
    if "model" in body:
        asks = principal()
        try:
            found = container().catalog.model(tenant=asks.tenant, mode=asks.mode, reference=body["model"])
        except NotFound as error:
            keep_no_answer()
            raise Unprocessable(error.message, field="model", code=error.code) from None
        return model_facts(found.metadata, passport_id=found.passport_id, names=(found.name,))
    meta = body["model_meta"]
    try:
        _require_sound(PassportType.MODEL, meta, "model_meta")
    except InvalidInput as fault:
        raise Unprocessable(fault.message, field=fault.field) from None
    return model_facts(meta, names=(meta["name"],) if "name" in meta else ())


def _heard(catalogue: list[Any]) -> list[NodeFacts]:
    """Return the offered nodes, each with the heartbeat that we have of it and the caller may know."""
    asks = principal()
    offered = [_offered(meta) for meta in catalogue]
    ids = [node.passport_id for node in offered if node.compute is not None]
    heard = container().catalog.heard(tenant=asks.tenant, mode=asks.mode, passport_ids=ids)
    return [
        NodeFacts(node.passport_id, node.compute, heard.get(node.passport_id), node.endpoint, asks.tenant)
        for node in offered
    ]


def _offered(meta: Any) -> NodeFacts:
    """Read an entry of a caller's catalogue; one that is malformed has no facts."""
    if not isinstance(meta, Mapping):
        return NodeFacts("", None)
    named, endpoint = meta.get("compute_passport_id"), _endpoint(meta)
    passport_id = named[:_LONGEST_ID] if isinstance(named, str) else ""
    whole = meta if endpoint else {**meta, "endpoints": _with_address(meta.get("endpoints"))}
    facts = compute_facts(meta) if is_sound(PassportType.COMPUTE, whole) else None
    return NodeFacts(passport_id, facts, endpoint=endpoint)


def _endpoint(meta: Mapping[str, Any]) -> str | None:
    endpoints = meta.get("endpoints")
    stated = endpoints.get("inference_url") if isinstance(endpoints, Mapping) else None
    return stated if isinstance(stated, str) and stated else None


def _with_address(endpoints: Any) -> Any:
    """Fill an empty address: the contract's ComputeMeta allows one, and only a route misses it."""
    is_empty = isinstance(endpoints, Mapping) and endpoints.get("inference_url") == ""
    return {**endpoints, "inference_url": _UNNAMED} if is_empty else endpoints


def _require_sound(type_: PassportType, meta: Any, name: str) -> None:
    if not isinstance(meta, Mapping):
        raise InvalidInput(f"{name} must be an object", field=name)
    require_sound(type_, meta, at=name)


def _selected(matched: Matched, hashed: bytes) -> Placement:
    if matched.selected is None:
        raise none_compatible(matched, hashed)
    return matched.selected


def _nothing(fault: NoCompatibleCompute) -> Response:
    """Answer with every node's reasons. Nodes come and go, so the answer is not kept for a repeated request."""
    keep_no_answer()
    problem = problems.problem_of(fault, problems.Door.GATEWAY)
    return problems.response_to(problem, members={"explain": fault.details})


def _match_shown(model: ModelFacts, placement: Placement) -> dict[str, Any]:
    return {"model_passport_id": model.passport_id, **_placement_shown(placement)}


def _placement_shown(placement: Placement) -> dict[str, Any]:
    node = placement.node
    shown = {
        "compute_passport_id": node.passport_id,
        "selected_runtime": placement.runtime,
        "expected_p95": node.p95,
        "estimated_cost": node.price,
    }
    return {name: value for name, value in shown.items() if value is not None}
