"""Whatever is sent to whatever address: the right status, in JSON of the door's shape, never HTML, never a fault of ours."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from shared.access.model import Mode, Scope, Tier
from shared.bootstrap import Container
from tests.contract.document_comparison import body_of, operations
from tests.contract.supersets import served
from web.problems import PREFIXES, Door, door_of

MEGABYTE = 1024 * 1024
PAGES = {"/docs", "/llms.txt"}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
HOSTILE_IDS = {
    "unknown": "unknown",
    "well formed": "job_" + "0" * 32,
    "receipt": "run_" + "0" * 32,
    "epoch": "epoch_" + "0" * 32,
    "hash": "0" * 64,
    "too long": "x" * 5000,
    "NUL": "%00",
    "not UTF-8": "%ff%fe",
    "quotes": "'%22;--",
    "dots": "..%2f..%2fetc",
}
JSON = "application/json"
ASK_FOR_A_CREDENTIAL_FIRST = {"submitSessionRequest", "topupSession", "closeSession", "closeBoughtSession"}
ANYTHING = {200, 201, 202, 400, 404, 422}
WITH_KEYS = {
    operation["operationId"]: operation
    for path in ("/openapi.json", "/api/v1/openapi.json")
    for _, _, operation in operations(served(path))
}
READ_NO_BODY = {name for name, operation in WITH_KEYS.items() if "requestBody" not in operation}
REQUIRE_NOTHING = {
    name
    for name, operation in WITH_KEYS.items()
    if not (body_of(operation.get("requestBody", {})) or {}).get("required")
}
BAD_BODIES = {
    "no body": (b"", JSON, 400),
    "no JSON": (b"{", JSON, 400),
    "a list": (b"[]", JSON, 400),
    "a string": (b'"request"', JSON, 400),
    "null": (b"null", JSON, 400),
    "nothing in it": (b"{}", JSON, 400),
    "a number": (b'{"request": 7}', JSON, 400),
    "an object": (b'{"request": {}}', JSON, 400),
    "null inside": (b'{"request": null}', JSON, 400),
    "empty": (b'{"request": ""}', JSON, 400),
    "blank": (b'{"request": "  "}', JSON, 400),
    "too long": (json.dumps({"request": "x" * 8001}).encode(), JSON, 400),
    "NUL": (b'{"request": "a\\u0000b"}', JSON, 400),
    "lone surrogate": (b'{"request": "a\\ud800b"}', JSON, 400),
    "not UTF-8": (b'{"request": "\xff\xfe"}', JSON, 400),
    "NaN": (b'{"request": "x", "y": NaN}', JSON, 400),
    "deep": (b'{"request":' + b"[" * 100_000 + b"]" * 100_000 + b"}", JSON, 400),
    "endless digits": (b'{"request": ' + b"9" * 10_000 + b"}", JSON, 400),
    "form": (b"request=x", "application/x-www-form-urlencoded", 415),
    "plain text": (b'{"request": "x"}', "text/plain", 415),
    "no media type": (b'{"request": "x"}', "", 415),
    "too large": (b'{"request": "' + b"x" * MEGABYTE + b'"}', JSON, 413),
}


def rules(app: Flask) -> Iterator[Rule]:
    yield from app.url_map.iter_rules()


def address(rule: Rule, value: str) -> str:
    return re.sub(r"<[^>]+>", value, rule.rule)


def check_error(answer: TestResponse, path: str) -> None:
    assert answer.mimetype == JSON, answer.get_data()[:200]
    assert answer.headers["X-Request-Id"]
    assert b"<html" not in answer.get_data().lower()
    body = answer.get_json()
    match door_of(path):
        case Door.GATEWAY:
            assert body["success"] is False
            assert isinstance(body["message"], str)
            assert body["error"] == body["error_code"] == body["error_code"].upper()
        case Door.OPENAI:
            assert set(body["error"]) >= {"message", "type", "param", "code"}
            assert isinstance(body["error"]["message"], str)
        case Door.VERIFICATION:
            assert set(body["error"]) == {"code", "message"}
        case Door.AGENT:
            assert isinstance(body["error"], str)
            assert body["code"] == body["code"].lower()


@pytest.mark.parametrize("value", HOSTILE_IDS.values(), ids=HOSTILE_IDS.keys())
def test_no_id_makes_any_address_fail(app: Flask, client: FlaskClient, value: str) -> None:
    for rule in rules(app):
        if not rule.arguments or "GET" not in (rule.methods or ()):
            continue
        path = address(rule, value)
        answer = client.get(path)
        away = (
            {503} if rule.endpoint.endswith("lucid_get_health") else set()
        )  # what the contract says of an unknown node
        assert answer.status_code in {200, 400, 401, 404, 501} | away, (path[:80], answer.status_code)
        if answer.status_code != 200:
            check_error(answer, path)


def test_unknown_ids_are_404_where_their_address_is_built(client: FlaskClient) -> None:
    for path in (
        f"/api/jobs/job_{'0' * 32}",
        f"/v1/receipts/run_{'0' * 32}",
        f"/v1/receipts/run_{'0' * 32}/verify",
        f"/v1/receipts/run_{'0' * 32}/proof",
        f"/v1/receipts/run_{'0' * 32}/bundle",
        f"/v1/verify/{'0' * 64}",
        f"/v1/epochs/epoch_{'0' * 32}",
        f"/v1/epochs/epoch_{'0' * 32}/transaction",
        "/tile/0/x001/000",
    ):
        assert client.get(path).status_code == 404, path
    assert client.get("/v1/verify/abc").status_code == 400
    assert client.get("/tile/9/000").status_code == 400


def test_every_wrong_method_is_405_and_says_what_is_right(app: Flask, client: FlaskClient) -> None:
    for path in sorted({address(rule, "unknown") for rule in rules(app)}):
        allowed = set(client.options(path).headers["Allow"].split(", "))
        assert {"OPTIONS"} < allowed
        for method in {*METHODS, "TRACE", "BREW"} - allowed:
            answer = client.open(path, method=method)
            assert answer.status_code == 405, (method, path)
            assert set(answer.headers["Allow"].split(", ")) == allowed, (method, path)
            check_error(answer, path)


def test_options_answers_everywhere_with_cors_and_without_credentials(app: Flask, client: FlaskClient) -> None:
    asked = {"Origin": "https://app.example", "Access-Control-Request-Headers": "Authorization, X-Claim-Token"}
    for path in sorted({address(rule, "unknown") for rule in rules(app)}):
        answer = client.options(path, headers=asked)
        assert answer.status_code == 204, path
        assert answer.get_data() == b""
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Access-Control-Allow-Headers"] == "Authorization, X-Claim-Token"
        assert "Access-Control-Allow-Credentials" not in answer.headers


def test_head_answers_as_get_does_without_a_body(app: Flask, client: FlaskClient) -> None:
    for path in sorted({address(rule, "unknown") for rule in rules(app) if "GET" in (rule.methods or ())}):
        answer = client.head(path)
        assert answer.status_code == client.get(path).status_code, path
        assert answer.get_data() == b""


@pytest.mark.parametrize(("content", "media_type", "status"), BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_a_bad_body_is_refused_at_every_post(
    app: Flask, client: FlaskClient, container: Container, content: bytes, media_type: str, status: int
) -> None:
    typed = {"Content-Type": media_type} if media_type else {}
    key = container.api_keys.create(mode=Mode.TEST, tier=Tier.TEAM, scopes=frozenset(Scope)).text
    for rule in rules(app):
        if "POST" not in (rule.methods or ()):
            continue
        path = address(rule, "unknown")
        shown = {} if door_of(path) is Door.AGENT else {"Authorization": f"Bearer {key}"}
        answer = client.post(path, data=content, headers={**typed, **shown})
        assert answer.status_code in expected(rule, path, status, content), (path, answer.get_data())
        if answer.status_code >= 400:
            check_error(answer, path)


def expected(rule: Rule, path: str, status: int, content: bytes) -> set[int]:
    """Return the statuses of a bad body: door one also says 422, to what is JSON and no request, and takes `{}` in places."""
    name = rule.endpoint.rpartition(".")[2]
    if status == 413:
        return {413}
    if rule.endpoint.startswith("not_built."):
        return {501}
    if door_of(path) is Door.AGENT:
        return {401 if name in ASK_FOR_A_CREDENTIAL_FIRST else status}
    if name in READ_NO_BODY:
        return ANYTHING
    if name in REQUIRE_NOTHING and status == 400 and (not content or is_object(content)):
        return ANYTHING
    return {status, 422} if status == 400 else {status}


def is_object(content: bytes) -> bool:
    try:
        return isinstance(json.loads(content, parse_constant=lambda _: None), dict)
    except (ValueError, RecursionError):
        return False


@pytest.mark.parametrize("prefix", ["", "/v1", "/v2", *PREFIXES, "/apiary", "/api/v1x"])
def test_an_address_that_is_none_is_404_in_the_shape_of_its_door(client: FlaskClient, prefix: str) -> None:
    for tail in ("/nothing/here", "/%00", "/%ff", "//x", "/" + "x" * 4000):
        answer = client.get(prefix + tail)
        assert answer.status_code == 404, prefix + tail[:20]
        check_error(answer, prefix + tail)


@pytest.mark.parametrize(
    "query", ["page=0", "page=x", "page=-1", "per_page=101", "status=half", "page=%00", "%00=1", "page=" + "9" * 5000]
)
def test_a_bad_query_is_400(client: FlaskClient, query: str) -> None:
    answer = client.get(f"/v1/epochs?{query}")
    assert answer.status_code == 400, answer.get_data()
    check_error(answer, "/v1/epochs")


def test_problem_json_is_given_on_request_on_every_door(client: FlaskClient) -> None:
    for path in ("/v1/nothing", "/api/v1/nothing", "/api/nothing"):
        answer = client.get(path, headers={"Accept": "application/problem+json"})
        assert answer.mimetype == "application/problem+json"
        body = answer.get_json()
        assert (body["status"], body["title"], body["code"]) == (404, "Not Found", "not_found")
        assert body["instance"].endswith(answer.headers["X-Request-Id"])


def test_a_request_id_is_taken_over_unless_it_is_a_secret(client: FlaskClient) -> None:
    assert client.get("/api/healthz", headers={"X-Request-Id": "trace-42.a"}).headers["X-Request-Id"] == "trace-42.a"
    for hostile in ("job_" + "a" * 32, "x" * 65, "a b", "<script>"):
        assert client.get("/api/healthz", headers={"X-Request-Id": hostile}).headers["X-Request-Id"] != hostile
