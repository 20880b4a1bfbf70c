"""Every operation of the gateway's contract, called once over HTTP by a tenant of its own: none is missing, none pretends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from devstack.supervisor import Stack
from shared.access.model import Mode, Scope, Tier
from shared.bootstrap import Container
from tests.contract.conftest import ROOT
from tests.contract.document_comparison import body_of, json_schema, operations, resolved
from tests.contract.minimal_requests import (
    COMPUTE_META,
    MESSAGES,
    MODEL_META,
    OWNER,
    POLICY,
    WALLET,
    Request,
    request_for,
)

TENANT = "every-operation"
SHARED = {"compute_wallet": WALLET, "model_wallet": WALLET, "config": {"compute_bp": 7000, "model_bp": 3000}}
"""Nothing is left over that would need a treasury, which is not configured."""
PATIENCE_S = 30.0
NOT_BUILT = set(
    re.findall(
        r"^\| [A-Z]+ \| `[^`]+` \| `(\w+)` \|", (ROOT / "docs" / "not-built.md").read_text("utf-8"), re.MULTILINE
    )
)
NO_SUCCESS = {
    "lucid_get_epoch_transaction": 404,  # no target is a chain
    "lucid_retry_epoch": 400,  # nothing failed
    "lucid_check_readiness": 503,  # not all processes run here
}
"""Operations that refuse even what is in order, and with what."""
UNKNOWN_ADDRESS = "there is nothing at this address"

Found = tuple[str, str, dict[str, Any]]


class World:
    """What one tenant has: a key, a model and a node, a run of the model on the node, its receipt, an epoch."""

    def __init__(self, client: httpx.Client, *, model_url: str, model_name: str) -> None:
        self.client = client
        self.model_id = self._passport("model", {**MODEL_META, "hf": {"repo_id": model_name}})
        endpoints = {"inference_url": model_url}
        self.node_id = self._passport("compute", {**COMPUTE_META, "endpoints": endpoints})
        self.spare_id = self._passport("model", MODEL_META)
        self.model_name = model_name
        self.beat()
        asked = {"model_passport_id": self.model_id, "messages": MESSAGES}
        self.run, self.other_run = (self._made("/v1/run/inference", asked) for _ in range(2))
        self.receipt = self._read(f"/v1/receipts/{self.run['receipt_id']}")["receipt"]
        self.epoch_id = str(self._made("/v1/epochs", {})["epoch"]["epoch_id"])

    def beat(self) -> None:
        """Tell that the node is well: what was told half a minute ago counts no longer."""
        self._made("/v1/compute/nodes/heartbeat", {"compute_passport_id": self.node_id, "status": "healthy"})

    def values(self) -> dict[str, Any]:
        """Return what parameters and members of a name get."""
        named = {"run_id": self.run["run_id"], "receipt_id": self.run["receipt_id"]}
        figures = {name: self.receipt["metrics"][name] for name in ("tokens_in", "tokens_out", "ttft_ms")}
        told = {name: self.receipt[name] for name in ("policy_hash", "runtime", "receipt_hash")}
        catalogue = {
            "passport_id": self.model_id,
            "computePassportId": self.node_id,
            "compute_passport_id": self.node_id,
        }
        owned = {"type": "model", "owner": OWNER, "metadata": MODEL_META}
        model = {"model_passport_id": self.model_id, "model": self.model_id, "messages": MESSAGES}
        epoch = {"epoch_id": self.epoch_id, "epoch_ids": [self.epoch_id]}
        return {**named, **figures, **told, **catalogue, **owned, **model, **epoch}

    def own_values(self) -> dict[str, dict[str, str]]:
        """Return what single operations get instead."""
        return {
            "lucid_delete_passport": {"passport_id": self.spare_id},
        }

    def bodies(self) -> dict[str, Any]:
        """Return the bodies of operations that require nothing, and yet can do nothing without."""
        matched = {"model_meta": MODEL_META, "policy": POLICY, "compute_catalog": [COMPUTE_META]}
        return {
            "lucid_match": {**matched, "require_live_healthy": False},
            "lucid_match_explain": {"policy": POLICY, "compute_meta": COMPUTE_META},
            "lucid_route": {**matched, "require_live_healthy": False},
            "lucid_run_inference": {"model": self.model_id, "prompt": "Say hello."},
            "lucid_update_passport": {"name": "another-name"},
            "lucid_update_passport_pricing": {"price_per_request": 0.5},
            "lucid_update_passport_endpoints": {"health_url": "https://127.0.0.1:9/health"},
            "lucid_commit_epoch_root": {"force": True},
            "lucid_calculate_payout": {"run_id": self.run["run_id"], "total_amount_lamports": "10000", **SHARED},
            "lucid_payout_from_receipt": {
                "run_id": self.other_run["run_id"],
                **{name: self.other_run[name] for name in ("tokens_in", "tokens_out")},
                "price_per_1k_tokens_lamports": 1_000_000,  # shares out without a remainder
                **SHARED,
            },
        }

    def _passport(self, kind: str, metadata: dict[str, Any]) -> str:
        made = self._made("/v1/passports", {"type": kind, "owner": OWNER, "name": f"a {kind}", "metadata": metadata})
        return str(made["passport_id"])

    def _made(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self.client.post(path, json=body)
        assert answer.is_success, (path, answer.text)
        return dict(answer.json())

    def _read(self, path: str) -> dict[str, Any]:
        answer = self.client.get(path)
        assert answer.is_success, (path, answer.text)
        return dict(answer.json())


@pytest.fixture(scope="module")
def world(stack: Stack, web_url: str, container: Container) -> Iterator[World]:
    issued = container.api_keys.create(mode=Mode.LIVE, tier=Tier.TEAM, scopes=frozenset(Scope), tenant=TENANT)
    with httpx.Client(
        base_url=web_url, headers={"Authorization": f"Bearer {issued.text}"}, timeout=PATIENCE_S
    ) as client:
        container.log.integrate()
        model = stack.environment
        made = World(client, model_url=model["OPENAI_BASE_URL"], model_name=model["WORK_MODEL"])
        container.log.integrate()
        yield made


@pytest.fixture(scope="module")
def served(web_url: str) -> dict[str, dict[str, Any]]:
    document = httpx.get(f"{web_url}/openapi.json").json()
    return {operation["operationId"]: operation for _, _, operation in operations(document)}


def all_of(contract: dict[str, Any]) -> list[Found]:
    """Return every operation, those that delete last."""
    found = list(operations(contract))
    assert len(found) == 185
    return sorted(found, key=lambda one: one[0] == "delete")


def test_what_is_not_built_says_so_whatever_is_sent(
    web_url: str, gateway_contract: dict[str, Any], served: dict[str, dict[str, Any]]
) -> None:
    faults: list[Any] = []
    with httpx.Client(base_url=web_url) as client:
        for method, path, operation in all_of(gateway_contract):
            if operation["operationId"] in NOT_BUILT:
                request = request_for(method, path, operation, values={})
                answer = send(client, request)
                if answer.status_code != 501 or answer.json().get("error_code") != "NOT_IMPLEMENTED":
                    faults.append((request, answer.status_code, answer.text))
                faults += misshapen(answer, served[operation["operationId"]])
    assert not faults, "\n".join(map(str, faults))


def test_everything_else_does_what_the_contract_says(
    world: World, gateway_contract: dict[str, Any], served: dict[str, dict[str, Any]]
) -> None:
    faults: list[Any] = []
    values, own, bodies = world.values(), world.own_values(), world.bodies()
    world.beat()
    for method, path, operation in all_of(gateway_contract):
        name = operation["operationId"]
        if name in NOT_BUILT:
            continue
        told = {**values, **own.get(name, {}), **({"body": bodies[name]} if name in bodies else {})}
        request = request_for(method, path, operation, values=told)
        answer = send(world.client, request)
        if not is_expected(answer, name):
            faults.append((name, request.body, answer.status_code, answer.text[:500]))
        promised = operation if str(answer.status_code) in operation["responses"] else served[name]
        faults += [(name, fault) for fault in misshapen(answer, promised)]
    assert not faults, "\n".join(map(str, faults))


def is_expected(answer: httpx.Response, name: str) -> bool:
    if name in NO_SUCCESS:
        return answer.status_code == NO_SUCCESS[name] and UNKNOWN_ADDRESS not in answer.text
    return answer.is_success


def send(client: httpx.Client, request: Request) -> httpx.Response:
    return client.request(
        request.method, request.path, params=dict(request.query), headers=dict(request.headers), json=request.body
    )


def misshapen(answer: httpx.Response, operation: dict[str, Any]) -> list[str]:
    """Return where the body is not what `operation` promises for its status."""
    response = operation["responses"].get(str(answer.status_code))
    if response is None:
        return [f"{answer.status_code} is not declared: {answer.text[:300]}"]
    schema = body_of(response)
    if schema is None:
        return []
    validator = Draft202012Validator(json_schema(schema))
    return [f"{fault.json_path}: {fault.message}"[:500] for fault in validator.iter_errors(answer.json())]


def test_every_further_operation_of_the_served_document_is_known(
    web_url: str, world: World, gateway_contract: dict[str, Any]
) -> None:
    """What is beyond the contract is at an address too; the tests of its own say what it does."""
    document = httpx.get(f"{web_url}/openapi.json").json()
    known = {operation["operationId"] for _, _, operation in operations(gateway_contract)}
    for method, path, operation in operations(resolved(document, document)):
        if operation["operationId"] not in known and method == "get":
            answer = send(world.client, request_for(method, path, operation, values=world.values()))
            assert answer.status_code < 500, (path, answer.text)
            assert UNKNOWN_ADDRESS not in answer.text, path
