"""The served documents against the contracts: same titles, servers, operations and shapes; what is beyond is declared."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from openapi_spec_validator import validate

from tests.contract.document_comparison import body_of, narrower, operations
from web.documents.not_built import page
from web.gateway.not_built import NOT_BUILT as GATEWAY_NOT_BUILT

ROOT = Path(__file__).resolve().parents[2]
SUPERSETS = (ROOT / "docs" / "supersets.md").read_text(encoding="utf-8")
AGENT_SUPERSETS = {
    "buyJob",
    "buyRequest",
    "closeBoughtSession",
    "closeSession",
    "estimateCost",
    "getBoughtRequest",
    "getSessionRequest",
    "listSessionRequests",
}
SUPERSET_OPERATIONS = {
    "lucid_get_receipt_bundle",
    "lucid_get_settlement_table",
    "lucid_get_trust",
    "lucid_get_checkpoint",
    "lucid_get_tile",
}

Document = dict[str, Any]


@pytest.fixture
def agent_document(client: FlaskClient) -> Document:
    return dict(client.get("/api/openapi.json").get_json())


@pytest.fixture
def gateway_document(client: FlaskClient) -> Document:
    return dict(client.get("/openapi.json").get_json())


def by_id(document: Document) -> dict[str, tuple[str, str, dict[str, Any]]]:
    return {operation["operationId"]: (method, path, operation) for method, path, operation in operations(document)}


def declared_supersets() -> set[tuple[str, str]]:
    rows = re.findall(r"^\| ([0-9, ]+) \| ([^|]+) \|", SUPERSETS, re.MULTILINE)
    return {
        (code.strip(), name)
        for codes, where in rows
        for code in codes.split(",")
        for name in re.findall(r"`(\w+)`", where)
    }


@pytest.mark.parametrize("path", ["/api/openapi.json", "/openapi.json"])
def test_a_served_document_is_valid_openapi_3_1(client: FlaskClient, path: str) -> None:
    document = client.get(path).get_json()
    assert document["openapi"] == "3.1.0"
    validate(document)


def test_the_agent_document_keeps_title_version_and_servers(agent_document: Document, agent_contract: Document) -> None:
    assert agent_document["info"]["title"] == agent_contract["info"]["title"]
    assert agent_document["info"]["version"] == agent_contract["info"]["version"]
    assert [server["url"] for server in agent_document["servers"]] == ["/api"]


def test_the_gateway_document_keeps_title_version_and_servers(
    gateway_document: Document, gateway_contract: Document
) -> None:
    assert gateway_document["info"]["title"] == gateway_contract["info"]["title"]
    assert gateway_document["info"]["version"] == gateway_contract["info"]["version"]
    served = [server["url"] for server in gateway_document["servers"]]
    assert served == [server["url"] for server in gateway_contract["servers"]]


def test_every_agent_operation_is_served(agent_document: Document, agent_contract: Document) -> None:
    check_coverage(agent_document, agent_contract, (), base="/api", beyond=AGENT_SUPERSETS)


def test_every_gateway_operation_is_served_or_answers_501(
    gateway_document: Document, gateway_contract: Document
) -> None:
    check_coverage(gateway_document, gateway_contract, GATEWAY_NOT_BUILT, base="", beyond=SUPERSET_OPERATIONS)


def check_coverage(
    served: Document, contract: Document, not_built: tuple[tuple[str, str, str], ...], *, base: str, beyond: set[str]
) -> None:
    wanted = {(method.upper(), base + path, name) for name, (method, path, _) in by_id(contract).items()}
    offered = {(method.upper(), base + path, name) for name, (method, path, _) in by_id(served).items()}
    ours = {row for row in offered if row[2] not in beyond}
    assert ours.isdisjoint(not_built)
    assert ours | set(not_built) == wanted


def test_agent_operations_have_the_contracts_structure(agent_document: Document, agent_contract: Document) -> None:
    assert faults_between(agent_contract, agent_document) == []


def test_gateway_operations_have_the_contracts_structure(
    gateway_document: Document, gateway_contract: Document
) -> None:
    assert faults_between(gateway_contract, gateway_document) == []


def faults_between(contract: Document, served: Document) -> list[str]:
    wanted, offered = by_id(contract), by_id(served)
    faults = []
    for name in sorted(wanted.keys() & offered.keys()):
        for compare in COMPARISONS:
            faults += [f"{name}: {fault}" for fault in compare(wanted[name][2], offered[name][2])]
    return faults


def compare_place(wanted: dict[str, Any], served: dict[str, Any]) -> list[str]:
    differing = [name for name in ("tags", "security") if wanted.get(name) != served.get(name)]
    return [f"{name} differs" for name in differing if name != "tags" or set(wanted["tags"]) != {"Receipts"}]


def compare_parameters(wanted: dict[str, Any], served: dict[str, Any]) -> list[str]:
    offered = {(parameter["in"], parameter["name"]): parameter for parameter in served["parameters"]}
    faults = []
    for parameter in wanted["parameters"]:
        found = offered.pop((parameter["in"], parameter["name"]), None)
        if found is None:
            faults.append(f"parameter {parameter['name']} is missing")
        else:
            if bool(parameter.get("required")) != bool(found.get("required")):
                faults.append(f"parameter {parameter['name']}: required differs")
            faults += narrower(parameter["schema"], found["schema"], parameter["name"])
    return faults + [f"parameter {name} is required" for (_, name), extra in offered.items() if extra.get("required")]


def compare_request(wanted: dict[str, Any], served: dict[str, Any]) -> list[str]:
    body, offered = wanted.get("requestBody", {}), served.get("requestBody", {})
    if bool(body.get("required")) != bool(offered.get("required")):
        return ["requestBody: required differs"]
    schema = body_of(body)
    return narrower(schema, body_of(offered) or {}, "request") if schema else []


def compare_answers(wanted: dict[str, Any], served: dict[str, Any]) -> list[str]:
    faults = []
    for code, response in wanted["responses"].items():
        schema, offered = body_of(response), body_of(served["responses"].get(code, {}))
        if code not in served["responses"]:
            faults.append(f"answers no {code}")
        elif schema is not None:
            faults += narrower(schema, offered or {}, code)
    return faults


COMPARISONS: tuple[Callable[[dict[str, Any], dict[str, Any]], list[str]], ...] = (
    compare_place,
    compare_parameters,
    compare_request,
    compare_answers,
)


@pytest.mark.parametrize("door", ["agent", "gateway"])
def test_every_status_beyond_the_contract_is_declared_in_supersets(door: str, request: pytest.FixtureRequest) -> None:
    contract = by_id(request.getfixturevalue(f"{door}_contract"))
    served = by_id(request.getfixturevalue(f"{door}_document"))
    beyond = {
        (code, name)
        for name, (_, _, operation) in served.items()
        for code in operation["responses"]
        if name in contract and code not in contract[name][2]["responses"]
    }
    declared = {(code, name) for code, name in declared_supersets() if name in contract and name in served}
    assert beyond == declared


def test_the_page_of_what_is_not_built_is_up_to_date() -> None:
    assert (ROOT / "docs" / "not-built.md").read_text(encoding="utf-8") == page()


def test_the_docs_page_lists_every_operation_and_loads_nothing(client: FlaskClient) -> None:
    answer = client.get("/docs")
    assert answer.mimetype == "text/html"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    text = answer.get_data(as_text=True)
    assert not re.search(r"<script|src=|@import|https?://(?!api\.lucid)", text)
    for path in ("/api/openapi.json", "/openapi.json"):
        for name in by_id(client.get(path).get_json()):
            assert f'id="{name}"' in text


def test_llms_txt_names_every_operation(client: FlaskClient) -> None:
    answer = client.get("/llms.txt")
    assert answer.mimetype == "text/plain"
    assert "POST /api/jobs:" in answer.get_data(as_text=True)
    assert "GET /v1/receipts/{receipt_id}/proof:" in answer.get_data(as_text=True)
