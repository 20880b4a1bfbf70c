"""`/v1/run/inference` by plain HTTP: every field means something, every fault has its status, every outcome is written down once."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from tests.contract.conftest import contract
from tests.contract.document_comparison import json_schema, resolved
from tests.e2e.event_stream import Event, events_of, require_one_end, text_of
from tests.e2e.gateway_hand import CHAT, INFERENCE, MODEL, Gateway, chat, desk, request, unlike
from tests.e2e.patience import at_once, eventually

NODE_OF_NOBODY = f"passport_{'0' * 32}"
MESSAGES = [{"role": "user", "content": "Say something short."}]
FAULTS = {
    "status:500": "PROVIDER_ERROR",
    "status:400": "PROVIDER_ERROR",
    "status:401": "AUTH",
    "status:429:0": "RATE_LIMIT",
    "drop": "CONNECTION",
    "garbage_json": "INVALID_RESPONSE",
}


def streamed(gateway: Gateway, path: str, body: dict[str, Any], **headers: str) -> tuple[httpx.Response, list[Event]]:
    """Ask for a stream and read it to its end."""
    with gateway.http.stream("POST", path, json={**body, "stream": True}, headers=headers) as answer:
        events = list(events_of(answer)) if answer.is_success else []
        answer.read() if not answer.is_success else None
    return answer, events


# -- every field


def test_an_answer_with_every_field_is_the_contracts_and_says_them_back(gateway: Gateway) -> None:
    document = contract("lucidlayer.openapi.yaml")
    schema = json_schema(resolved(document["components"]["schemas"]["InferenceResult"], document))
    policy = {
        "policy_version": "1.0",
        "latency": {"hard_timeout_ms": 30_000},
        "attestation": {"fallback_allowed": True},
    }
    tags = {"trace_id": "trace é/1 2", "request_id": "my own id"}
    plain = gateway.ask()
    node = plain.json()["compute_passport_id"]
    answer = gateway.ask(
        max_tokens=64,
        temperature=0,
        top_p=0.5,
        stop=["never said"],
        stream=False,
        policy=policy,
        compute_passport_id=node,
        project_id="tests",
        **tags,
    )
    assert (plain.status_code, answer.status_code) == (httpx.codes.OK, httpx.codes.OK), answer.text
    for result in (plain.json(), answer.json()):
        Draft202012Validator(schema).validate(result)
    result = answer.json()
    assert {name: result[name] for name in tags} == tags
    assert result["text"].startswith("Simulated answer")
    assert (result["finish_reason"], result["used_fallback"], result["receipt_id"]) == ("stop", False, result["run_id"])
    assert plain.json()["request_id"] == plain.json()["run_id"]
    assert answer.headers["X-Run-ID"] == result["run_id"]
    assert answer.headers["X-Model-Passport-ID"] == result["model_passport_id"]
    assert answer.headers["X-Compute-Passport-ID"] == result["compute_passport_id"] == node
    assert gateway.require_one_end(result["run_id"])["outcome"] == "complete"
    (receipt,) = gateway.receipts(result["run_id"])
    assert {name: receipt[name] for name in tags} == tags
    jcs = json.dumps(policy, sort_keys=True, separators=(",", ":")).encode()
    assert receipt["policy_hash"] == result["policy_hash"] == hashlib.sha256(jcs).hexdigest()
    assert (receipt["ttft_ms"], receipt["total_latency_ms"]) == (result["ttft_ms"], result["total_latency_ms"])
    assert "my own id" in gateway.stack.log("web")


def test_a_model_is_named_by_its_id_its_reference_or_its_name(gateway: Gateway) -> None:
    known = gateway.ask().json()["model_passport_id"]
    ways: list[dict[str, str]] = [
        {"model_passport_id": known},
        {"model": known},
        {"model": f"passport:{known}"},
        {"model_passport_id": known, "model": MODEL},
    ]
    bodies = [{"prompt": unlike("Hi."), **way} for way in ways]
    answers = [gateway.http.post(INFERENCE, json=body).json() for body in bodies]
    assert {answer["model_passport_id"] for answer in answers} == {known}


def test_a_conversation_of_all_roles_and_a_bound_are_heeded(gateway: Gateway) -> None:
    messages = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": unlike("What is the time?")},
        {"role": "assistant", "content": "", "function_call": {"name": "clock", "arguments": "{}"}},
        {"role": "function", "name": "clock", "content": "noon"},
        {"role": "user", "content": "[sim:tokens:9]"},
    ]
    answer = gateway.ask(messages=messages).json()
    assert (answer["tokens_out"], answer["finish_reason"]) == (9, "stop")
    short = gateway.ask("[sim:tokens:9]", max_tokens=4).json()
    assert (short["tokens_out"], short["finish_reason"]) == (4, "length")
    ended = gateway.ask("[sim:tokens:9]", stop=["answer"]).json()
    assert ended["text"].strip() == "Simulated"


BAD: dict[str, tuple[dict[str, Any], str, str | None]] = {
    "nothing": ({}, "VALIDATION_ERROR", "model"),
    "no model": ({"prompt": "x"}, "VALIDATION_ERROR", "model"),
    "no question": ({"model": MODEL}, "VALIDATION_ERROR", "messages"),
    "two questions": ({"model": MODEL, "prompt": "x", "messages": MESSAGES}, "VALIDATION_ERROR", "prompt"),
    "two models": (
        {"model": MODEL, "model_passport_id": NODE_OF_NOBODY, "prompt": "x"},
        "VALIDATION_ERROR",
        "model",
    ),
    "no messages": ({"model": MODEL, "messages": []}, "VALIDATION_ERROR", "messages"),
    "no such role": ({"model": MODEL, "messages": [{"role": "tool", "content": "x"}]}, "VALIDATION_ERROR", None),
    "no content": ({"model": MODEL, "messages": [{"role": "user"}]}, "VALIDATION_ERROR", "messages.0.content"),
    "a bound that is text": ({"model": MODEL, "prompt": "x", "max_tokens": "5"}, "VALIDATION_ERROR", "max_tokens"),
    "a bound that is true": ({"model": MODEL, "prompt": "x", "max_tokens": True}, "VALIDATION_ERROR", "max_tokens"),
    "no tokens": ({"model": MODEL, "prompt": "x", "max_tokens": 0}, "VALIDATION_ERROR", "max_tokens"),
    "too warm": ({"model": MODEL, "prompt": "x", "temperature": 2.1}, "VALIDATION_ERROR", "temperature"),
    "five stops": ({"model": MODEL, "prompt": "x", "stop": list("abcde")}, "VALIDATION_ERROR", "stop"),
    "a line break": ({"model": MODEL, "prompt": "x", "trace_id": "a\nb"}, "VALIDATION_ERROR", "trace_id"),
    "a long id": ({"model": MODEL, "prompt": "x", "request_id": "x" * 129}, "VALIDATION_ERROR", "request_id"),
    "NUL": ({"model": MODEL, "prompt": "a\x00b"}, "VALIDATION_ERROR", None),
    "what it has not": ({"model": MODEL, "prompt": "x", "tools": []}, "VALIDATION_ERROR", "tools"),
    "another's catalogue": ({"model": MODEL, "prompt": "x", "compute_catalog": []}, "VALIDATION_ERROR", None),
    "an unknown demand": (
        {"model": MODEL, "prompt": "x", "policy": {"policy_version": "1.0", "x": 1}},
        "INVALID_POLICY",
        None,
    ),
    "an old policy": ({"model": MODEL, "prompt": "x", "policy": {}}, "INVALID_POLICY", None),
    "no such model": ({"model": "nothing", "prompt": "x"}, "MODEL_NOT_FOUND", "model"),
    "no such region": (
        {"model": MODEL, "prompt": "x", "policy": {"policy_version": "1.0", "allow_regions": ["moon"]}},
        "NO_COMPATIBLE_COMPUTE",
        None,
    ),
    "no such node": (
        {"model": MODEL, "prompt": "x", "compute_passport_id": NODE_OF_NOBODY},
        "NO_COMPATIBLE_COMPUTE",
        None,
    ),
}


def test_every_semantic_fault_is_422_with_its_code_and_calls_nobody(gateway: Gateway) -> None:
    gateway.ask()
    mark, runs = gateway.model.mark(), gateway.tables.one("SELECT count(*) FROM runs")
    for what, (body, code, field) in BAD.items():
        for way in ({}, {"stream": True}):
            answer = gateway.http.post(INFERENCE, json={**body, **way})
            told = answer.json()
            assert (answer.status_code, told["error_code"], told["success"]) == (422, code, False), (what, told)
            if field is not None:
                assert told["details"]["field"] == field, (what, told)
    assert (gateway.model.mark(), gateway.tables.one("SELECT count(*) FROM runs")) == (mark, runs)


def test_what_is_no_json_is_400(gateway: Gateway) -> None:
    for content in (b"", b"{", b"\xff\xfe", b'{"model": NaN}'):
        answer = gateway.http.post(INFERENCE, content=content, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["success"]) == (400, False), content


# -- the upstream's faults


def test_an_upstreams_fault_is_503_with_its_code_streamed_or_not(gateway: Gateway) -> None:
    def ask(fault: str, *, stream: bool) -> None:
        with httpx.Client(base_url=gateway.url, headers=gateway.http.headers, timeout=60, trust_env=False) as http:
            answer = http.post(INFERENCE, json=request(f"[sim:{fault}]", stream=stream))
        told = answer.json()
        seen = (answer.status_code, told.get("error_code"), told.get("success"))
        assert seen == (503, FAULTS[fault], False), (fault, stream, told)
        assert told["receipt_id"] == told["run_id"] == answer.headers["X-Run-ID"]
        assert isinstance(told["total_latency_ms"], int)

    at_once(*(lambda fault=fault, way=way: ask(fault, stream=way) for fault in FAULTS for way in (False, True)))
    for row in gateway.tables.rows("SELECT run_id FROM runs WHERE state = 'failed' ORDER BY id DESC LIMIT 12"):
        usage = gateway.require_one_end(row["run_id"])
        assert (usage["tokens_in"], usage["tokens_out"]) == (0, 0)


def test_a_policys_time_limit_cuts_a_silent_upstream(gateway: Gateway) -> None:
    policy = {"policy_version": "1.0", "latency": {"hard_timeout_ms": 700}}
    for way in (False, True):
        answer = gateway.ask("[sim:hang]", policy=policy, stream=way)
        told = answer.json()
        assert (answer.status_code, told["error_code"]) == (503, "TIMEOUT")
        assert 700 <= told["total_latency_ms"] < 2000
    _, events = streamed(gateway, INFERENCE, request("[sim:hang:2]", policy=policy))
    end = require_one_end(events)
    assert (end.is_fault, end.json["error_code"]) == (True, "TIMEOUT")


# -- figures and commitments


def test_the_time_to_the_first_token_is_true_on_both_ways(gateway: Gateway) -> None:
    pace = "[sim:tokens:17][sim:ttft:0.4][sim:pace:0.1]"

    def plain() -> Any:
        return gateway.ask(pace).json()

    def stream() -> Any:
        with httpx.Client(base_url=gateway.url, headers=gateway.http.headers, timeout=40, trust_env=False) as http:
            answer = http.post(INFERENCE, json=request(pace, stream=True))
        return json.loads(answer.text.split("data: ")[-2].partition("\n")[0])

    gateway.ask()
    for figures in at_once(plain, stream):
        assert figures["ttft_ms"] == pytest.approx(400, abs=100), figures
        assert figures["total_latency_ms"] == pytest.approx(2000, abs=400), figures


def test_the_receipts_commitments_are_over_the_wires_bytes(gateway: Gateway) -> None:
    """Computed here by hand from the rules in docs/gateway.md, without the product's code."""
    content = json.dumps(request("Say something short."), indent=3).encode()
    headers = {"Content-Type": "application/json"}
    result = gateway.http.post(INFERENCE, content=content, headers=headers).json()
    whole = gateway.http.get(f"/v1/runs/{result['run_id']}").json()["run"]
    salts = {name: bytes.fromhex(salt) for name, salt in whole["salts"].items()}
    (receipt,) = gateway.receipts(result["run_id"])
    assert receipt["input_commitment"] == hashlib.sha256(b"\x00" + salts["input"] + content).hexdigest()
    text = result["text"].encode()
    assert receipt["output_commitment"] == hashlib.sha256(b"\x00" + salts["output"] + text).hexdigest()


@pytest.mark.parametrize("path", [INFERENCE, CHAT])
def test_a_streams_commitment_is_over_its_events_up_to_the_one_that_names_the_receipt(
    gateway: Gateway, path: str
) -> None:
    body = request("Say it.") if path == INFERENCE else chat("Say it.", stream_options={"include_usage": True})
    answer, events = streamed(gateway, path, body)
    run_id = answer.headers["X-Run-ID"]
    assert require_one_end(events).is_done
    salt = bytes.fromhex(gateway.http.get(f"/v1/runs/{run_id}").json()["run"]["salts"]["output"])
    digest = hashlib.sha256(b"stream" + run_id.encode()).digest()
    covered = next(place for place, event in enumerate(events) if "receipt_id" in event.data)
    for event in events[:covered]:
        digest = hashlib.sha256(digest + hashlib.sha256(event.wire).digest()).digest()
    (receipt,) = gateway.receipts(run_id)
    assert receipt["output_commitment"] == hashlib.sha256(b"\x01" + salt + digest).hexdigest()


# -- runs: later, elsewhere, by hand


def test_a_caller_who_would_rather_not_wait_gets_an_address(gateway: Gateway) -> None:
    later = {"Prefer": "respond-async"}
    placed = gateway.http.post(INFERENCE, json=request("[sim:tokens:12]"), headers=later)
    assert (placed.status_code, placed.headers["Preference-Applied"]) == (httpx.codes.ACCEPTED, "respond-async")
    place = placed.headers["Location"]
    assert placed.json()["run"]["detached"] is True

    def ended() -> dict[str, Any] | None:
        run: dict[str, Any] = gateway.http.get(place).json()["run"]
        return run if run["state"] == "complete" else None

    run = eventually(ended, what="a complete run")
    assert (run["tokens_out"], run["receipt_id"]) == (12, run["run_id"])
    assert set(run["salts"]) == {"input", "output"}
    with gateway.http.stream("GET", f"{place}/events") as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        events = list(events_of(answer))
    assert [event.json["state"] for event in events[:-1]] == ["queued", "running", "complete"]
    assert require_one_end(events).is_done
    listed = gateway.http.get("/v1/runs", params={"limit": 1}).json()
    assert [one["run_id"] for one in listed["runs"]] == [run["run_id"]]
    assert "text" not in listed["runs"][0]
    before = gateway.http.get("/v1/runs", params={"before": listed["next_before"], "limit": 1}).json()
    assert before["runs"][0]["run_id"] != run["run_id"]


def test_a_run_is_cancelled_by_hand_once_and_its_waiting_caller_is_told(gateway: Gateway) -> None:
    trace = unlike("cancel me")

    def ask() -> httpx.Response:
        with httpx.Client(base_url=gateway.url, headers=gateway.http.headers, timeout=40, trust_env=False) as http:
            return http.post(INFERENCE, json=request("[sim:tokens:100][sim:pace:0.1]", trace_id=trace))

    def cancel() -> httpx.Response:
        run_id = eventually(lambda: gateway.newest_run(trace_id=trace), what="a run")
        eventually(lambda: gateway.state(run_id) == "running", what="a running run")
        return gateway.http.post(f"/v1/runs/{run_id}/cancel")

    asked, cancelled = at_once(ask, cancel)
    run = cancelled.json()["run"]
    assert (cancelled.status_code, run["cancel_reason"]) == (200, "cancelled")
    assert (asked.status_code, asked.json()["error_code"]) == (httpx.codes.GONE, "CANCELLED")
    assert gateway.require_one_end(run["run_id"])["outcome"] == "cancelled"
    again = gateway.http.post(f"/v1/runs/{run['run_id']}/cancel").json()["run"]
    assert (again["state"], again["cancel_reason"]) == ("cancelled", "cancelled")
    done = gateway.ask().json()["run_id"]
    assert gateway.http.post(f"/v1/runs/{done}/cancel").json()["run"]["state"] == "complete"


def test_anothers_run_is_not_there(gateway: Gateway) -> None:
    run_id = gateway.ask().json()["run_id"]
    other = {"Authorization": f"Bearer {gateway.new_key()}"}
    for method, path in (("GET", ""), ("GET", "/events"), ("POST", "/cancel")):
        answer = gateway.http.request(method, f"/v1/runs/{run_id}{path}", headers=other)
        assert answer.status_code == httpx.codes.NOT_FOUND, path
    assert gateway.http.get("/v1/runs", headers=other).json()["runs"] == []


def test_past_the_wait_the_answer_tells_where_to_look_and_the_same_key_gets_the_end(gateway: Gateway) -> None:
    body, key = request("[sim:tokens:30][sim:pace:0.03]"), {"Idempotency-Key": unlike("key")[-30:]}
    headers = {**key, "Authorization": f"Bearer {gateway.key}"}
    with desk(gateway.stack, sync_wait_s=0.0) as (_, client):
        answer = client.post(INFERENCE, json=body, headers=headers)
    told = answer.get_json()
    assert (answer.status_code, told["error_code"]) == (503, "STILL_RUNNING")
    assert int(answer.headers["Retry-After"]) > 0
    ended = gateway.http.post(INFERENCE, json=body, headers=key)
    assert (ended.status_code, ended.headers["Idempotent-Replayed"]) == (200, "true")
    assert answer.headers["Location"] == f"/v1/runs/{ended.json()['run_id']}"
    assert gateway.http.post(INFERENCE, json=body, headers=key).content == ended.content
    other = gateway.http.post(INFERENCE, json={**body, "max_tokens": 5}, headers=key)
    assert other.status_code == httpx.codes.UNPROCESSABLE_ENTITY


def test_without_a_key_a_run_is_open_to_whoever_was_told_its_address(gateway: Gateway) -> None:
    with desk(gateway.stack, env="production") as (_, client):
        placed = client.post(INFERENCE, json=request("Hi."), headers={"Prefer": "respond-async"})
        assert placed.status_code == 202, placed.get_data()
        place = placed.headers["Location"]
        assert client.get(place).status_code == 200
        assert client.get(place.partition("?")[0]).status_code == 404
        assert client.get("/v1/runs").status_code == 401
    shown = httpx.get(gateway.url + place.partition("?")[0], trust_env=False)
    assert shown.status_code == 200, "the embedded stack is its operator's own"


def test_what_is_said_of_an_answer_is_what_was_streamed(gateway: Gateway) -> None:
    answer, events = streamed(gateway, INFERENCE, request("[sim:tokens:20]", trace_id="t"))
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["X-Accel-Buffering"] == "no"
    first, *_, end, done = events
    assert (first.json["is_first"], end.json["done"], done.is_done) == (True, True, True)
    run = gateway.http.get(f"/v1/runs/{answer.headers['X-Run-ID']}").json()["run"]
    assert run["text"] == text_of(events)
    figures = ("tokens_in", "tokens_out", "ttft_ms", "total_latency_ms", "receipt_id", "policy_hash", "trace_id")
    assert {name: end.json[name] for name in figures} == {name: run[name] for name in figures}
