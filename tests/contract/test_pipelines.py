"""Door two over HTTP, as far as no worker is needed: who is let in, what a request may hold, where an answer is found."""

from __future__ import annotations

import json
import random
import re
from itertools import product
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from shared.access.keys import key_text
from shared.access.model import Mode, Scope, Tier
from shared.bootstrap import Container
from tests.contract.conftest import ADMIN_KEY
from tests.contract.pipelines_caller import ASYNC, BASE, FORWARD, REVERSE, SUBTRACTING, Caller, refusal
from web.pipelines.addresses import canonical
from web.problems import Door, door_of

MISSING = "Missing or invalid Authorization header. Use: Bearer lk_live_..."
MALFORMED = "Invalid API key format. Keys start with lk_live_ or lk_test_"
UNKNOWN = "Invalid or inactive API key"
PUBLIC = {"getHealth", "listPlans", "createKey", "verification"}
"""What asks for no key; `verification` is the served document. Every other address of the door does."""
CREDENTIALS = {
    "none": ({}, MISSING),
    "another scheme": ({"Authorization": "Basic dXNlcjpwYXNz"}, MISSING),
    "nothing in it": ({"Authorization": "Bearer"}, MISSING),
    "two": ({"Authorization": "Bearer lk_live_a lk_live_b"}, MISSING),
    "of somebody else's": ({"Authorization": "Bearer sk-proj-123"}, MALFORMED),
    "too short": ({"Authorization": "Bearer lk_live_123"}, UNKNOWN),
    "invented": ({"Authorization": f"Bearer {key_text(Mode.LIVE, b'9' * 28)}"}, UNKNOWN),
    "invented for tests": ({"Authorization": f"Bearer {key_text(Mode.TEST, b'9' * 28)}"}, UNKNOWN),
}


@pytest.fixture(scope="module")
def needing_a_key(app: Flask) -> list[tuple[str, str]]:
    """Every method of every address of the door that a key opens."""
    found = [
        (method, re.sub("<[^>]+>", "unknown", rule.rule))
        for rule in app.url_map.iter_rules()
        if door_of(rule.rule) is Door.VERIFICATION and rule.endpoint.rpartition(".")[2] not in PUBLIC
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    ]
    assert {("POST", FORWARD), ("POST", REVERSE), ("GET", f"{BASE}/runs"), ("GET", f"{BASE}/usage")} < set(found)
    return found


@pytest.fixture
def caller(app: Flask, container: Container) -> Caller:
    return Caller(app, container)


# -- who is let in


@pytest.mark.parametrize(("shown", "message"), CREDENTIALS.values(), ids=CREDENTIALS.keys())
def test_whoever_shows_no_good_key_is_told_so_in_the_contracts_words(
    client: FlaskClient, needing_a_key: list[tuple[str, str]], shown: dict[str, str], message: str
) -> None:
    for method, path in needing_a_key:
        answer = client.open(path, method=method, headers=shown, data=b"{")
        assert refusal(answer) == (401, "unauthorized", message), path
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_revoked_key_is_as_good_as_none(client: FlaskClient, container: Container) -> None:
    issued = container.api_keys.create(mode=Mode.TEST, tier=Tier.FREE, scopes=[Scope.VERIFICATION])
    container.api_keys.revoke(issued.record.key_id)
    answer = client.post(FORWARD, json={"code": "x"}, headers={"Authorization": f"Bearer {issued.text}"})
    assert refusal(answer) == (401, "unauthorized", UNKNOWN)


def test_a_key_of_another_scope_is_refused_before_its_request_is_looked_at(
    app: Flask, container: Container, needing_a_key: list[tuple[str, str]]
) -> None:
    stranger = Caller(app, container, scopes=frozenset({Scope.INFERENCE, Scope.ADMIN}))
    for method, path in needing_a_key:
        status, code, _ = refusal(stranger.call(method, path, data=b"{"))
        assert (status, code) == (403, "forbidden"), path


def test_the_operators_own_key_opens_the_door_and_a_wrong_one_does_not(client: FlaskClient) -> None:
    assert client.get(f"{BASE}/runs", headers={"X-Admin-Key": ADMIN_KEY}).status_code == 200
    assert client.get(f"{BASE}/runs", headers={"X-Admin-Key": "x" * 40}).status_code == 401


def test_health_and_documents_ask_for_no_key(client: FlaskClient) -> None:
    answer = client.get(f"{BASE}/health")
    assert answer.get_json()["status"] == "ok"
    assert set(answer.get_json()) == {"status", "version", "timestamp", "request_id"}
    assert answer.get_json()["request_id"] == answer.headers["X-Request-Id"]
    assert client.get(f"{BASE}/openapi.json").get_json()["info"]["title"] == "LUCID API"


# -- how often


def test_a_burst_meets_the_plans_limit_exactly_whatever_becomes_of_its_requests(
    app: Flask, container: Container
) -> None:
    free = Caller(app, container, tier=Tier.FREE, calls_a_key=1000)
    paths = [FORWARD, f"{FORWARD}/", "/API/v1/Forward", f"{REVERSE}?x=1", "/api/v1/REVERSE/?y=2", FORWARD, REVERSE]
    answers = [free.call("POST", path, json={}) for path in paths]
    assert [answer.status_code for answer in answers] == [400] * 5 + [429] * 2
    assert answers[0].headers["RateLimit-Policy"] == '"plan";q=5;w=60'
    status, code, message = refusal(answers[-1])
    assert (status, code) == (429, "rate_limited")
    assert message == "Rate limit exceeded. 5 requests/minute for Free tier."
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
    assert free.call("GET", f"{BASE}/runs").status_code == 200, "looking has a limit of its own"


def test_a_request_that_is_refused_takes_nothing_of_the_months_quota(app: Flask, container: Container) -> None:
    free = Caller(app, container, tier=Tier.FREE, calls_a_key=4)
    for _ in range(8):
        assert free.call("POST", FORWARD, json={"code": " "}).status_code == 400
    principal = container.api_keys.identify(free.keys.headers["Authorization"].removeprefix("Bearer "))
    assert container.quotas.standing(principal).used == 0


# -- one spelling


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("/api/v1/forward/", "/api/v1/forward"),
        ("/API/V1/FORWARD", "/api/v1/forward"),
        ("/Api/v1/Runs/REQ_0A/", "/api/v1/runs/req_0a"),
        ("/api/v1/forward//", "/api/v1/forward/"),
        ("/api/v1/", "/api/v1"),
        ("/api/v1", "/api/v1"),
        ("/api/v10/Forward/", "/api/v10/Forward/"),
        ("/api/Jobs/", "/api/Jobs/"),
        ("/v1/Runs/", "/v1/Runs/"),
        ("/api/v1/\u00c4", "/api/v1/\u00c4"),
    ],
)
def test_an_address_of_the_door_has_one_spelling_and_no_other_door_is_touched(written: str, read: str) -> None:
    assert canonical(written) == read


def test_case_slash_and_query_change_nothing(caller: Caller) -> None:
    run_id = caller.placed()
    shown = caller.call("GET", f"{BASE}/runs/{run_id}").get_json()
    for prefix, tail in product((BASE, BASE.upper(), "/Api/v1"), ("", "/", "?x=1", "/?x=1&y=%00")):
        answer = caller.call("GET", f"{prefix}/Runs/{run_id.upper()}{tail}")
        assert answer.status_code == 200, (prefix, tail)
        assert answer.get_json()["request_id"] == shown["request_id"]
        assert "Location" not in answer.headers


def test_an_idempotency_key_is_of_the_address_however_it_is_spelled(caller: Caller) -> None:
    key = {"Idempotency-Key": f"spelled-{random.random()}"}
    first = caller.forward(headers=key)
    again = caller.call("POST", "/API/v1/Forward/", json={"code": SUBTRACTING}, headers={**ASYNC, **key})
    assert again.get_json()["request_id"] == first.get_json()["request_id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    assert refusal(caller.forward("other", headers=key))[0] == 422


# -- what a request may hold

LONG = {"code": "c" * 100_001, "task": "t" * 20_001, "context": "x" * 20_001, "language": "l" * 41}
BAD = {
    "nothing": ({}, "Missing required field: {subject}"),
    "null": ({"{subject}": None}, "Missing required field: {subject}"),
    "empty": ({"{subject}": ""}, "Missing required field: {subject}"),
    "blank": ({"{subject}": " \n\t"}, "Missing required field: {subject}"),
    "a number": ({"{subject}": 7}, "Field {subject} must be a string"),
    "a list": ({"{subject}": ["x"]}, "Field {subject} must be a string"),
    "an object": ({"{subject}": {}}, "Field {subject} must be a string"),
    "true": ({"{subject}": True}, "Field {subject} must be a string"),
    "context, a number": ({"{subject}": "x", "context": 1}, "Field context must be a string"),
    "context, null": ({"{subject}": "x", "context": None}, "Field context must be a string"),
    "language, a list": ({"{subject}": "x", "language": []}, "Field language must be a string"),
    "language, empty": ({"{subject}": "x", "language": ""}, "language must have 1 to 40 printable characters"),
    "language, two lines": ({"{subject}": "x", "language": "a\nb"}, "language must have 1 to 40 printable characters"),
    "language, too long": ({"{subject}": "x", "language": LONG["language"]}, "1 to 40 printable characters"),
    "context, too long": ({"{subject}": "x", "context": LONG["context"]}, "20001 characters, above the limit of 20000"),
    "NUL": ({"{subject}": "a\x00b"}, "NUL"),
    "NUL in a field that nobody knows": ({"{subject}": "x", "other": ["\x00"]}, "NUL"),
    "a lone surrogate": ({"{subject}": "a\ud800b"}, "surrogate"),
    "a lone surrogate in the context": ({"{subject}": "x", "context": "\udfff"}, "surrogate"),
}


@pytest.mark.parametrize(("path", "subject"), [(FORWARD, "code"), (REVERSE, "task")])
@pytest.mark.parametrize(("body", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_request_is_400_and_says_which_field_is_wrong(
    caller: Caller, path: str, subject: str, body: dict[str, Any], message: str
) -> None:
    sent = {name.format(subject=subject): value for name, value in body.items()}
    status, code, told = refusal(caller.call("POST", path, json=sent))
    assert (status, code) == (400, "invalid_request")
    assert message.format(subject=subject) in told


@pytest.mark.parametrize(("path", "subject"), [(FORWARD, "code"), (REVERSE, "task")])
def test_what_is_too_long_is_400_and_what_is_far_too_long_413(caller: Caller, path: str, subject: str) -> None:
    status, code, told = refusal(caller.call("POST", path, json={subject: LONG[subject]}))
    assert (status, code) == (400, "invalid_request")
    assert f"above the limit of {len(LONG[subject]) - 1}" in told
    assert refusal(caller.call("POST", path, json={subject: "x" * 1_100_000}))[:2] == (413, "request_too_large")
    assert caller.call("POST", path, json={subject: LONG[subject][:-1]}, headers=ASYNC).status_code == 202


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"code"', b"null", b'{"code": NaN}', b'{"code": "\xff"}'])
def test_what_is_no_json_object_is_400(caller: Caller, content: bytes) -> None:
    answer = caller.call("POST", FORWARD, data=content, content_type="application/json")
    assert refusal(answer)[:2] == (400, "invalid_request")


def test_what_does_not_say_that_it_is_json_is_415(caller: Caller) -> None:
    answer = caller.call("POST", FORWARD, data=b'{"code": "x"}', content_type="text/plain")
    assert refusal(answer)[:2] == (415, "unsupported_media_type")


def test_fields_that_nobody_knows_are_ignored(caller: Caller) -> None:
    assert caller.forward(entry_point="add", options={"deep": [1, None]}).status_code == 202


def test_another_method_is_405_and_named(client: FlaskClient) -> None:
    for path in (FORWARD, REVERSE):
        answer = client.get(path)
        assert refusal(answer) == (405, "method_not_allowed", "Method not allowed. Use POST.")
        assert set(answer.headers["Allow"].split(", ")) == {"OPTIONS", "POST"}
    assert refusal(client.post(f"{BASE}/runs"))[2] == "Method not allowed. Use GET."


# -- runs


def test_a_run_that_nobody_waits_for_is_202_with_its_address(caller: Caller) -> None:
    answer = caller.forward(language="python", context="adds")
    shown = answer.get_json()
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"{BASE}/runs/{shown['request_id']}"
    assert answer.headers["Preference-Applied"] == "respond-async"
    assert (shown["pipeline"], shown["language"], shown["mode"]) == ("forward", "python", "test")
    found = caller.call("GET", answer.headers["Location"]).get_json()
    assert {name: found[name] for name in ("request_id", "created_at")} == {
        name: shown[name] for name in ("request_id", "created_at")
    }
    assert found["usage"].keys() >= {"input_tokens", "output_tokens", "duration_ms", "pipeline_calls", "stages"}


def test_the_language_is_typescript_unless_named(caller: Caller) -> None:
    assert caller.forward().get_json()["language"] == "typescript"


def test_runs_are_listed_newest_first_page_by_page(caller: Caller) -> None:
    made = [caller.placed() for _ in range(5)][::-1]
    first = caller.call("GET", f"{BASE}/runs?limit=3").get_json()
    assert [run["request_id"] for run in first["runs"]] == made[:3]
    rest = caller.call("GET", f"{BASE}/runs?limit=3&before={first['next_before']}").get_json()
    assert [run["request_id"] for run in rest["runs"]] == made[3:]
    assert "next_before" not in rest
    assert all("result" not in run and "salts" not in run for run in first["runs"])


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "limit=%00", "limit=" + "9" * 400])
def test_a_bad_page_is_400(caller: Caller, query: str) -> None:
    assert refusal(caller.call("GET", f"{BASE}/runs?{query}"))[:2] == (400, "invalid_request")


def test_a_strangers_run_is_not_there(app: Flask, container: Container, caller: Caller) -> None:
    run_id, stranger = caller.placed(), Caller(app, container)
    for name in (run_id, "req_" + "0" * 32, "run_" + "0" * 32, "x", "%27;--", "%ff", "x" * 3000):
        for method, tail in (
            ("GET", ""),
            ("GET", "/sarif"),
            ("GET", "/events"),
            ("POST", "/cancel"),
            ("POST", "/resume"),
        ):
            answer = stranger.call(method, f"{BASE}/runs/{name}{tail}")
            assert refusal(answer)[:2] == (404, "not_found"), (name[:40], tail)
    assert refusal(stranger.call("GET", f"{BASE}/runs?before={run_id}"))[0] == 404
    assert stranger.call("GET", f"{BASE}/runs").get_json() == {"runs": []}
    assert caller.call("GET", f"{BASE}/runs/{run_id}").get_json()["state"] != "cancelled"


def test_a_strangers_keys_are_not_there(app: Flask, container: Container, caller: Caller) -> None:
    caller.placed()
    (own,) = [key["id"] for key in caller.call("GET", f"{BASE}/keys").get_json()["keys"]]
    stranger = Caller(app, container)
    assert own not in stranger.call("GET", f"{BASE}/keys").get_data(as_text=True)
    for method, path in (("DELETE", f"{BASE}/keys/{own}"), ("POST", f"{BASE}/keys/{own}/rotate")):
        assert refusal(stranger.call(method, path))[:2] == (404, "not_found")
    assert caller.call("GET", f"{BASE}/usage").status_code == 200, "it is still good"


def test_a_run_that_has_not_failed_cannot_be_resumed_and_one_without_findings_shows_none(caller: Caller) -> None:
    run_id = caller.placed()
    cancelled = caller.call("POST", f"{BASE}/runs/{run_id}/cancel")
    assert cancelled.status_code == 200
    assert refusal(caller.call("POST", f"{BASE}/runs/{run_id}/resume"))[0] == 409
    task = caller.call("POST", REVERSE, json={"task": "add two numbers"}, headers=ASYNC).get_json()["request_id"]
    assert refusal(caller.call("GET", f"{BASE}/runs/{task}/sarif"))[:2] == (409, "no_findings")


def test_findings_that_were_deleted_by_age_are_told_as_that(caller: Caller, container: Container) -> None:
    answer = caller.call("POST", FORWARD, json={"code": SUBTRACTING})
    assert answer.status_code == 200, answer.get_data(as_text=True)
    run_id = answer.get_json()["request_id"]
    with container.database.transaction() as tx:
        erased = (
            "UPDATE verifications SET erased_at = now(), subject = NULL, context = NULL, request_salt = NULL, input_salt = NULL"
            " WHERE request_id = %(id)s"
        )
        assert tx.run(erased, {"id": run_id}) == 1
    assert refusal(caller.call("GET", f"{BASE}/runs/{run_id}/sarif"))[:2] == (409, "erased")


def test_the_id_of_an_event_is_a_whole_number(caller: Caller) -> None:
    run_id = caller.placed()
    for wrong in ("x", "-1", "1.5", "9" * 40):
        answer = caller.call("GET", f"{BASE}/runs/{run_id}/events", headers={"Last-Event-ID": wrong})
        assert refusal(answer)[:2] == (400, "invalid_request")


def test_problem_json_is_told_on_request(caller: Caller) -> None:
    answer = caller.call("POST", FORWARD, json={}, headers={"Accept": "application/problem+json"})
    told = json.loads(answer.get_data())
    assert answer.mimetype == "application/problem+json"
    assert (told["status"], told["code"], told["detail"]) == (400, "invalid_request", "Missing required field: code")
