"""OpenAI's own Python package, unmodified, with our base URL."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import httpx
import httpx2
import openai
import pytest
import redis
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from werkzeug.serving import make_server

from config.settings import Settings
from shared.access.model import Mode, Scope
from tests.e2e.gateway_hand import CHAT, MODEL, Gateway, chat, desk, unlike

TOOL: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "find_weather",
        "description": "The weather of a town.",
        "parameters": {
            "type": "object",
            "properties": {"town": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
            "required": ["town", "days"],
            "additionalProperties": False,
        },
    },
}
NOWHERE = {"policy": {"policy_version": "1.0", "allow_regions": ["moon"]}}


def asked(text: str = "Say something short.") -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": unlike(text)}]


@contextmanager
def client_of(url: str, key: str, **options: Any) -> Iterator[openai.OpenAI]:
    with (
        httpx2.Client(trust_env=False, timeout=40) as http,
        openai.OpenAI(base_url=f"{url}/v1", api_key=key, http_client=http, **{"max_retries": 0, **options}) as client,
    ):
        yield client


@pytest.fixture
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with client_of(gateway.url, gateway.key) as made:
        yield made


def test_models_are_listed_and_one_is_looked_up(client: openai.OpenAI) -> None:
    listed = client.models.list()
    assert listed.object == "list"
    assert MODEL in {model.id for model in listed}
    assert client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError) as refused:
        client.models.retrieve("nothing")
    assert refused.value.code == "model_not_found"


def test_a_chat_is_completed(client: openai.OpenAI, gateway: Gateway) -> None:
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=asked(), max_completion_tokens=64)
    completion = raw.parse()
    (choice,) = completion.choices
    assert (choice.message.content or "").startswith("Simulated answer")
    assert (choice.finish_reason, completion.object, completion.model) == ("stop", "chat.completion", MODEL)
    assert completion.usage is not None
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens
    proof = completion.model_extra["lucid"]  # type: ignore[index] # ours beside OpenAI's
    assert proof["run_id"] == proof["receipt_id"] == completion.id == raw.headers["x-run-id"]
    assert completion._request_id == raw.headers["x-request-id"]
    (receipt,) = gateway.receipts(completion.id)
    assert {name: receipt[name] for name in proof.keys() & receipt.keys()} == {
        name: proof[name] for name in proof.keys() & receipt.keys()
    }


def test_a_stream_ends_with_its_usage(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model=MODEL, messages=asked("[sim:tokens:15]"), stream=True, stream_options={"include_usage": True}, seed=7
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text.startswith("Simulated answer")
    assert chunks[-1].usage is not None
    assert (chunks[-1].choices, chunks[-1].usage.completion_tokens) == ([], 15)
    assert [chunk.choices[0].finish_reason for chunk in chunks[-3:-1]] == [None, "stop"]


def test_a_tool_is_called_and_its_result_read(client: openai.OpenAI) -> None:
    messages = asked("How will the weather be?")
    first = client.chat.completions.create(model=MODEL, messages=messages, tools=[TOOL], tool_choice="required")
    (choice,) = first.choices
    (call,) = choice.message.tool_calls or []
    assert choice.finish_reason == "tool_calls"
    assert call.type == "function"
    assert call.function.name == "find_weather"
    assert set(json.loads(call.function.arguments)) == {"town", "days"}
    answered: list[Any] = [
        *messages,
        choice.message,
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
    ]
    second = client.chat.completions.create(model=MODEL, messages=answered, tools=[TOOL])
    assert (second.choices[0].message.content or "").startswith("Simulated answer")


def test_a_tool_is_called_in_a_stream(client: openai.OpenAI) -> None:
    choice: Any = {"type": "function", "function": {"name": "find_weather"}}
    with client.chat.completions.stream(model=MODEL, messages=asked(), tools=[TOOL], tool_choice=choice) as stream:
        final = stream.get_final_completion()
    (call,) = final.choices[0].message.tool_calls or []
    assert set(json.loads(call.function.arguments)) == {"town", "days"}
    assert final.choices[0].finish_reason == "tool_calls"


def test_an_answer_is_a_document_of_the_schema_asked_for(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}},
        "required": ["name", "tags"],
        "additionalProperties": False,
    }
    completion = client.chat.completions.create(
        model=MODEL,
        messages=asked(),
        response_format={"type": "json_schema", "json_schema": {"name": "thing", "schema": schema, "strict": True}},
    )
    assert set(json.loads(completion.choices[0].message.content or "")) == {"name", "tags"}
    plain = client.chat.completions.create(
        model=MODEL, messages=asked(), response_format={"type": "json_object"}, temperature=0, stop=["never said"]
    )
    assert isinstance(json.loads(plain.choices[0].message.content or ""), dict)


def test_parts_and_the_newer_role_are_read(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(
        model=MODEL,
        messages=[
            {"role": "developer", "content": "Be short."},
            {"role": "user", "content": [{"type": "text", "text": unlike("One.")}, {"type": "text", "text": "Two."}]},
        ],
        user="somebody",
        frequency_penalty=0.1,
        presence_penalty=-0.1,
        n=1,
    )
    assert completion.choices[0].message.content


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "n": ({"n": 2}, "n"),
    "temperature": ({"temperature": 9}, "temperature"),
    "tools": ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools.0.function.name"),
    "stop": ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    "images": ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content.0"),
    "no messages": ({"messages": []}, "messages"),
    "top_logprobs": ({"top_logprobs": 2}, "top_logprobs"),
    "stream_options": ({"stream_options": {"include_usage": True}}, "stream_options"),
    "audio": ({"audio": {"voice": "x", "format": "wav"}}, "audio"),
    "policy": ({"extra_body": {"policy": {"policy_version": "1.0", "x": 1}}}, "policy.x"),
}


def test_a_bad_parameter_is_a_bad_request_that_names_it(client: openai.OpenAI) -> None:
    for what, (members, param) in BAD.items():
        for way in ({}, {"stream": True}) if "stream_options" not in members else ({},):
            with pytest.raises(openai.BadRequestError) as refused:
                client.chat.completions.create(**{"model": MODEL, "messages": asked(), **members, **way})
            assert (refused.value.param, refused.value.type) == (param, "invalid_request_error"), what


def test_each_refusal_is_the_exception_that_its_caller_expects(client: openai.OpenAI, gateway: Gateway) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="nothing", messages=asked())
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.UnprocessableEntityError) as nowhere:
        client.chat.completions.create(model=MODEL, messages=asked(), extra_body=NOWHERE)
    assert nowhere.value.code == "no_compatible_compute"
    with client_of(gateway.url, "lk_live_nonsense") as stranger, pytest.raises(openai.AuthenticationError) as bad:
        stranger.chat.completions.create(model=MODEL, messages=asked())
    assert bad.value.code == "invalid_api_key"
    key = gateway.new_key(Scope.VERIFICATION)
    with client_of(gateway.url, key) as verifier, pytest.raises(openai.PermissionDeniedError):
        verifier.chat.completions.create(model=MODEL, messages=asked())
    for fault, code in (("status:500", "provider_error"), ("drop", "connection")):
        for stream in (False, True):
            with pytest.raises(openai.InternalServerError) as failed:
                client.chat.completions.create(model=MODEL, messages=asked(f"[sim:{fault}]"), stream=stream)
            assert (failed.value.status_code, failed.value.code, failed.value.type) == (503, code, "server_error")


def test_a_fault_in_the_middle_of_a_stream_is_raised_there(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model=MODEL, messages=asked("[sim:disconnect:4]"), stream=True)
    assert next(stream).choices
    with pytest.raises(openai.APIError) as broken:
        list(stream)
    assert broken.value.code == "connection"


def test_a_caller_whose_patience_ends_gets_a_timeout_and_his_run_is_ended(gateway: Gateway) -> None:
    trace = unlike("impatient")
    with client_of(gateway.url, gateway.key, timeout=0.7) as client, pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(
            model=MODEL, messages=asked("[sim:tokens:60][sim:pace:0.1]"), extra_body={"trace_id": trace}
        )
    run_id = gateway.newest_run(trace_id=trace)
    assert run_id is not None
    assert gateway.require_one_end(run_id)["outcome"] == "disconnected"


def test_a_test_key_runs_on_the_simulated_model(gateway: Gateway) -> None:
    with client_of(gateway.url, gateway.new_key(mode=Mode.TEST)) as tester:
        completion = tester.chat.completions.create(model=MODEL, messages=asked())
    assert gateway.tables.one("SELECT mode FROM runs WHERE run_id = %(run)s", run=completion.id) == "test"


def test_above_its_limit_a_client_waits_as_long_as_it_is_told(gateway: Gateway) -> None:
    key = gateway.new_key()
    with served(gateway, key_per_minute=2) as url, client_of(url, key, max_retries=1) as client:
        for _ in range(2):
            client.chat.completions.create(model=MODEL, messages=asked())
        with client_of(url, key) as impatient, pytest.raises(openai.RateLimitError) as refused:
            impatient.chat.completions.create(model=MODEL, messages=asked())
        assert refused.value.code == "rate_limit_exceeded"
        assert 1 <= int(refused.value.response.headers["Retry-After"]) <= 60
        let_time_pass(gateway, seconds=58)
        began = time.monotonic()
        assert client.chat.completions.create(model=MODEL, messages=asked()).choices
    assert time.monotonic() - began >= 0.9


@contextmanager
def served(gateway: Gateway, **settings: Any) -> Iterator[str]:
    """A web process with other settings, listening on a port of its own."""
    with desk(gateway.stack, **settings) as (app, _):
        server = make_server("127.0.0.1", 0, app, threaded=True)
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def let_time_pass(gateway: Gateway, *, seconds: float) -> None:
    """Make every call that was counted older than it is."""
    with redis.Redis.from_url(Settings.load(gateway.stack.environment).redis_events_url) as store:
        for name in store.scan_iter("lucid:limits*"):
            if store.type(name) == b"list":
                times = [float(at) - seconds for at in store.lrange(name, 0, -1)]
                store.delete(name)
                store.rpush(name, *times)


def test_before_any_view_errors_have_openais_shape_too(gateway: Gateway) -> None:
    json_type = {"Content-Type": "application/json"}
    calls: list[tuple[int, Callable[[], httpx.Response]]] = [
        (400, lambda: gateway.http.post(CHAT, content=b"{", headers=json_type)),
        (400, lambda: gateway.http.post(CHAT, content=b"[]", headers=json_type)),
        (405, lambda: gateway.http.get(CHAT)),
        (415, lambda: gateway.http.post(CHAT, content=b"x=1", headers={"Content-Type": "text/plain"})),
        (413, lambda: gateway.http.post(CHAT, content=b"x" * 1_100_000, headers=json_type)),
        (400, lambda: gateway.http.post(CHAT, json=chat("x"), headers={"Idempotency-Key": "x" * 300})),
        (404, lambda: gateway.http.get(f"{CHAT}/nothing")),
        (405, lambda: gateway.http.post("/v1/models/x")),
        (401, lambda: httpx.post(gateway.url + CHAT, json=chat("x"), headers={"Authorization": "x"}, trust_env=False)),
    ]
    for status, call in calls:
        answer = call()
        assert answer.status_code == status, answer.text
        assert set(answer.json()["error"]) >= {"message", "type", "param", "code"}
