"""The served documents against the contracts: same titles, servers, operations and shapes; what is beyond is declared."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from openapi_spec_validator import validate

from tests.contract import pipelines_page
from tests.contract.conftest import ROOT, contract
from tests.contract.document_comparison import absent, beyond, body_of, operations, refused, unexpected
from tests.contract.supersets import SUPERSETS, application, declared_supersets, named_supersets
from web.documents.not_built import page
from web.gateway.not_built import NOT_BUILT, UNBUILT

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
GATEWAY_CONTRACTS = {"lucidlayer-full.openapi.yaml": 185, "lucidlayer.openapi.yaml": 1}
"""The gateway's contracts, and how many operations each has."""
BUILT_TAGS = frozenset({"Run", "Match", "Passports", "Compute", "Receipts", "Epochs", "Payouts", "Health"})
OPENAI_ERRORS = {"lucid_chat_completions"}
REFUSALS_OF_KEYS = {"401", "403", "429"}
ADDRESSES = SUPERSETS.partition("## Addresses")[2]

Document = dict[str, Any]


@pytest.fixture(scope="module")
def client() -> FlaskClient:
    """The documents say the same without a stack."""
    return application().test_client()


@pytest.fixture
def agent_document(client: FlaskClient) -> Document:
    return dict(client.get("/api/openapi.json").get_json())


@pytest.fixture
def gateway_document(client: FlaskClient) -> Document:
    return dict(client.get("/openapi.json").get_json())


def by_id(document: Document) -> dict[str, tuple[str, str, dict[str, Any]]]:
    return {operation["operationId"]: (method, path, operation) for method, path, operation in operations(document)}


@pytest.fixture
def verification_document(client: FlaskClient) -> Document:
    return dict(client.get("/api/v1/openapi.json").get_json())


@pytest.fixture
def verification_contract() -> Document:
    return pipelines_page.document()


@pytest.mark.parametrize("path", ["/api/openapi.json", "/openapi.json", "/api/v1/openapi.json"])
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
    assert places(agent_document, base="/api") - places(agent_contract, base="/api") == {
        place for place in places(agent_document, base="/api") if place[2] in AGENT_SUPERSETS
    }
    assert places(agent_document) >= places(agent_contract)


@pytest.mark.parametrize("name", GATEWAY_CONTRACTS)
def test_every_gateway_operation_is_served(gateway_document: Document, name: str) -> None:
    wanted = places(contract(name))
    assert len(wanted) == GATEWAY_CONTRACTS[name]
    assert wanted <= places(gateway_document)


def test_every_further_address_of_the_gateway_stands_in_supersets(
    gateway_document: Document, gateway_contract: Document
) -> None:
    further = {f"{method} {path}" for method, path, _ in places(gateway_document) - places(gateway_contract)}
    listed = set(re.findall(r"`([A-Z]+ /[^`]*)`", ADDRESSES))
    assert {address for address in further if address not in listed and not address.startswith("GET /tile/")} == set()


def test_exactly_what_is_not_built_says_so_and_why(gateway_document: Document, gateway_contract: Document) -> None:
    reasons = {name: group.reason for group in UNBUILT for _, _, name in group.operations}
    offered, wanted = by_id(gateway_document), by_id(gateway_contract)
    refusing = {name for name, (_, _, operation) in offered.items() if set(operation["responses"]) == {"501"}}
    assert refusing == set(reasons)
    for name, reason in reasons.items():
        assert reason in offered[name][2]["responses"]["501"]["description"]
        assert offered[name][2]["tags"] == wanted[name][2]["tags"][:1]
        assert parameters_in_path(offered[name][2]) == parameters_in_path(wanted[name][2])


def test_of_the_eight_tags_only_sync_with_chains_and_projections_are_not_built(gateway_contract: Document) -> None:
    wanted = by_id(gateway_contract)
    missing = {name for _, _, name in NOT_BUILT if wanted[name][2]["tags"][0] in BUILT_TAGS}
    assert missing == {
        "lucid_trigger_passport_sync",
        "lucid_list_passports_pending_sync",
        "lucid_retry_passport_projections",
    }


def places(document: Document, *, base: str = "") -> set[tuple[str, str, str]]:
    return {(method.upper(), base + path, name) for name, (method, path, _) in by_id(document).items()}


def parameters_in_path(operation: dict[str, Any]) -> set[str]:
    return {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"}


def test_agent_operations_have_the_contracts_structure(agent_document: Document, agent_contract: Document) -> None:
    assert faults_between(agent_contract, agent_document) == []


@pytest.mark.parametrize("name", GATEWAY_CONTRACTS)
def test_gateway_operations_have_the_contracts_structure(gateway_document: Document, name: str) -> None:
    assert faults_between(contract(name), gateway_document) == []


def test_the_gateways_credentials_are_the_contracts(gateway_document: Document, gateway_contract: Document) -> None:
    assert gateway_document["security"] == gateway_contract["security"]
    for name, scheme in gateway_contract["components"]["securitySchemes"].items():
        told = {key: value for key, value in scheme.items() if key != "description"}
        served = gateway_document["components"]["securitySchemes"][name]
        assert {key: value for key, value in served.items() if key != "description"} == told


def test_exactly_the_operations_listed_in_supersets_always_need_a_key(
    gateway_document: Document, gateway_contract: Document
) -> None:
    wanted, offered = by_id(gateway_contract), by_id(gateway_document)
    stricter = {
        name
        for name in wanted.keys() & offered.keys() - {name for _, _, name in NOT_BUILT}
        if "" in credentials(wanted[name][2], gateway_contract)
        and "" not in credentials(offered[name][2], gateway_document)
    }
    (row,) = re.findall(r"^\| always with a key \| (.*) \|$", SUPERSETS, re.MULTILINE)
    assert stricter == set(re.findall(r"`(lucid_\w+)`", row))


def faults_between(contract: Document, served: Document) -> list[str]:
    wanted, offered = by_id(contract), by_id(served)
    faults = []
    for name in sorted(wanted.keys() - {name for _, _, name in NOT_BUILT}):
        if name not in offered:
            faults.append(f"{name} is missing")
            continue
        faults += [
            f"{name}: {fault}" for compare in COMPARISONS for fault in compare(wanted[name][2], offered[name][2])
        ]
        beyond_it = credentials(offered[name][2], served) - credentials(wanted[name][2], contract) - {"AdminAuth"}
        faults += [f"{name}: lets in with {scheme or 'nothing'}" for scheme in beyond_it]
    return faults


def credentials(operation: dict[str, Any], document: Document) -> set[str]:
    """Return the schemes that let a caller in, each of them alone; the empty name is for none at all."""
    alternatives = operation["security"] if "security" in operation else document.get("security") or [{}]
    return {next(iter(alternative), "") for alternative in alternatives}


def compare_tags(wanted: dict[str, Any], served: dict[str, Any]) -> list[str]:
    """The log is a tag of its own here: the contract has it under receipts."""
    same = wanted["tags"] == served["tags"] or (wanted["tags"], served["tags"]) == (["Receipts"], ["Log"])
    return [] if same else [f"tags are {served['tags']}"]


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
            faults += refused(as_sent(parameter["schema"], found["schema"]), found["schema"], parameter["name"])
    return faults + [f"parameter {name} is required" for (_, name), extra in offered.items() if extra.get("required")]


def as_sent(wanted: dict[str, Any], served: dict[str, Any]) -> dict[str, Any]:
    """Return what is to be taken: in a query, one value is a list of one."""
    lists = [option for option in wanted.get("oneOf", ()) if option.get("type") == served.get("type") == "array"]
    return dict(lists[0]) if lists else wanted


def compare_request(wanted: dict[str, Any], served: dict[str, Any]) -> list[str]:
    body, offered = wanted.get("requestBody", {}), served.get("requestBody", {})
    if bool(body.get("required")) != bool(offered.get("required")):
        return ["requestBody: required differs"]
    schema = body_of(body)
    return refused(schema, body_of(offered) or {}, "request") if schema else []


def compare_answers(wanted: dict[str, Any], served: dict[str, Any]) -> list[str]:
    """Errors of a door that OpenAI's clients speak to have OpenAI's shape, which no contract's error has."""
    faults = []
    for code, response in wanted["responses"].items():
        schema, offered = body_of(response), body_of(served["responses"].get(code, {}))
        if code not in served["responses"]:
            faults.append(f"answers no {code}")
        elif schema is not None and not (wanted["operationId"] in OPENAI_ERRORS and int(code) >= 400):
            faults += unexpected(schema, offered or {}, code)
    return faults


COMPARISONS: tuple[Callable[[dict[str, Any], dict[str, Any]], list[str]], ...] = (
    compare_tags,
    compare_parameters,
    compare_request,
    compare_answers,
)


def test_every_member_beyond_the_contract_stands_in_supersets(
    gateway_document: Document, gateway_contract: Document
) -> None:
    """Of requests and of answers; named there anywhere, since most are of a shape that several operations answer with."""
    wanted, offered = by_id(gateway_contract), by_id(gateway_document)
    found = {
        f"{name}: {member}"
        for name in wanted.keys() - {name for _, _, name in NOT_BUILT}
        for member in members_beyond(wanted[name][2], offered[name][2])
        if not re.search(rf"`(\w+\.)?{member}`", SUPERSETS)
    }
    assert sorted(found) == []


def test_every_member_that_no_answer_has_stands_in_supersets(
    gateway_document: Document, gateway_contract: Document
) -> None:
    wanted, offered = by_id(gateway_contract), by_id(gateway_document)
    found = {
        member
        for name in wanted.keys() - {name for _, _, name in NOT_BUILT}
        for code, response in wanted[name][2]["responses"].items()
        if not (name in OPENAI_ERRORS and int(code) >= 400)
        for member in absent(body_of(response) or {}, body_of(offered[name][2]["responses"].get(code, {})) or {})
    }
    (row,) = re.findall(r"^\| members of the contract that no answer has \| ([^|]*) \|$", SUPERSETS, re.MULTILINE)
    assert found == set(re.findall(r"`(\w+)`", row))


def members_beyond(wanted: dict[str, Any], served: dict[str, Any]) -> set[str]:
    known = {(parameter["in"], parameter["name"]) for parameter in wanted["parameters"]}
    found = {one["name"] for one in served["parameters"] if (one["in"], one["name"]) not in known}
    found |= beyond(body_of(wanted.get("requestBody", {})) or {}, body_of(served.get("requestBody", {})) or {})
    for code, response in wanted["responses"].items():
        found |= beyond(body_of(response) or {}, body_of(served["responses"].get(code, {})) or {})
    return found


@pytest.mark.parametrize("door", ["agent", "gateway", "verification"])
def test_every_status_beyond_the_contract_is_declared_in_supersets(door: str, request: pytest.FixtureRequest) -> None:
    promised = by_id(request.getfixturevalue(f"{door}_contract"))
    served_ones = by_id(request.getfixturevalue(f"{door}_document"))
    unbuilt = {name for _, _, name in NOT_BUILT}
    beyond_it = {
        (code, name)
        for name, (_, _, operation) in served_ones.items()
        for code in operation["responses"]
        if name in promised and name not in unbuilt and code not in promised[name][2]["responses"]
    }
    known = {pair for pair in declared_supersets() if pair[1] in promised}
    assert beyond_it - known == set()
    named = {pair for pair in named_supersets() if pair[1] in promised and pair[1] in served_ones}
    assert named - beyond_it == set()


def test_every_pipeline_is_served_where_and_as_the_page_says(
    verification_document: Document, verification_contract: Document
) -> None:
    wanted, offered = by_id(verification_contract), by_id(verification_document)
    for name, (method, path, operation) in wanted.items():
        assert offered[name][:2] == (method, path)
        asked = body_of(operation["requestBody"]) or {}
        taken = body_of(offered[name][2]["requestBody"]) or {}
        assert refused(asked, taken, "request") == []
        assert taken["properties"]["language"]["default"] == "typescript"
        for code, response in operation["responses"].items():
            if code == "405":  # of every path, and so of no operation
                continue
            told = body_of(offered[name][2]["responses"][code])
            assert lacking(body_of(response) or {}, told or {}, code) == []


def lacking(wanted: dict[str, Any], served: dict[str, Any], at: str) -> list[str]:
    """Return what stands in a sample and is not promised by `served`: each of its members, of its type, wherever it is nested."""
    if wanted["type"] != served.get("type"):
        return [f"{at}: type {served.get('type')}, not {wanted['type']}"]
    faults = [
        f"{at}.{name}: is not required" for name in set(wanted.get("required", ())) - set(served.get("required", ()))
    ]
    for name, schema in wanted.get("properties", {}).items():
        faults += lacking(schema, served["properties"].get(name, {}), f"{at}.{name}")
    return faults + (lacking(wanted["items"], served["items"], f"{at}[]") if "items" in wanted else [])


@pytest.mark.parametrize(
    ("pipeline", "items", "member", "known"),
    [
        ("forward", "claims", "category", "correctness security performance error-handling edge-case type-safety"),
        ("forward", "claims", "severity", "critical high medium low"),
        ("forward", "verification", "verdict", "PASS PARTIAL FAIL N/A"),
        ("forward", "verification", "evidence_kind", "executed static opinion none"),
        ("forward", "remediation", "action", "add modify remove"),
        ("reverse", "specs", "category", "correctness security performance error-handling edge-case type-safety"),
        ("reverse", "constraints", "type", "must must-not prefer"),
        ("reverse", "constraints", "source", "domain spec"),
        ("reverse", "verification", "status", "satisfied partial unsatisfied unknown"),
    ],
)
def test_the_pipelines_know_these_words_and_no_others(
    verification_document: Document, pipeline: str, items: str, member: str, known: str
) -> None:
    answer = body_of(by_id(verification_document)[pipeline][2]["responses"]["200"]) or {}
    item = answer["properties"][items]["properties"]["items"]["items"]
    assert set(item["properties"][member]["enum"]) == set(known.split())


def test_every_member_of_the_pipelines_beyond_the_page_stands_in_supersets(
    verification_document: Document, verification_contract: Document
) -> None:
    wanted, offered = by_id(verification_contract), by_id(verification_document)
    found = {
        f"{name}: {member}"
        for name in wanted
        for member in members_beyond(wanted[name][2], offered[name][2])
        if not re.search(rf"`(\w+\.)?{member}`", SUPERSETS)
    }
    assert sorted(found) == []


def test_every_further_address_of_the_pipelines_stands_in_supersets(
    verification_document: Document, verification_contract: Document
) -> None:
    further = {f"{method} {path}" for method, path, _ in places(verification_document) - places(verification_contract)}
    assert further - set(re.findall(r"`([A-Z]+ /[^`]*)`", ADDRESSES)) == set()


def test_the_page_of_what_is_not_built_is_up_to_date() -> None:
    assert (ROOT / "docs" / "not-built.md").read_text(encoding="utf-8") == page()


def test_the_docs_page_lists_every_operation_and_loads_nothing(client: FlaskClient) -> None:
    answer = client.get("/docs")
    assert answer.mimetype == "text/html"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    text = answer.get_data(as_text=True)
    assert not re.search(r"<script|src=|@import|https?://(?!api\.lucid)", text)
    for path in ("/api/openapi.json", "/openapi.json", "/api/v1/openapi.json"):
        for name in by_id(client.get(path).get_json()):
            assert f'id="{name}"' in text


def test_llms_txt_names_every_operation_that_is_built(client: FlaskClient) -> None:
    answer = client.get("/llms.txt")
    assert answer.mimetype == "text/plain"
    text = answer.get_data(as_text=True)
    assert "POST /api/jobs:" in text
    unbuilt = {name for _, _, name in NOT_BUILT}
    for path, base in (("/api/openapi.json", "/api"), ("/openapi.json", ""), ("/api/v1/openapi.json", "")):
        for name, (method, address, _) in by_id(client.get(path).get_json()).items():
            assert (f"- {method.upper()} {base}{address}:" in text) == (name not in unbuilt), name


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models/{model}"])
def test_where_openais_clients_call_every_error_is_declared_in_openais_shape(client: FlaskClient, path: str) -> None:
    document = client.get("/openapi.json").get_json()
    (operation,) = (part for part in document["paths"][path].values() if "responses" in part)
    errors = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
    assert errors
    for status, answer in errors.items():
        shape = answer["content"]["application/json"]["schema"]["$ref"]
        assert shape.endswith("/OpenAiErrorResponse"), status
