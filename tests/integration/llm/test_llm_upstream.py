"""The model client against the simulated model: every fault ends in its typed error, every answer in counted tokens."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sim_process import SimProcess

from devstack.sim_model.tokens import count_prompt_tokens, split_tokens
from shared.llm.clients.openai import Upstream
from shared.llm.model import (
    ChatMessage,
    Completion,
    UnreadableAnswer,
    UpstreamError,
    UpstreamGarbage,
    UpstreamInterrupted,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from shared.llm.schema import parse_answer
from shared.llm.service import ask

MakeUpstream = Callable[..., Upstream]
EVALUATION = {
    "type": "object",
    "properties": {"accepted": {"type": "boolean"}, "reason": {"type": "string", "maxLength": 200}},
    "required": ["accepted", "reason"],
    "additionalProperties": False,
}
TEXT = {"type": "string", "minLength": 1, "maxLength": 80}
SCHEMAS: dict[str, dict[str, Any]] = {
    "evaluation": EVALUATION,
    "empty object": {"type": "object", "properties": {}, "additionalProperties": False},
    "numbers": {
        "type": "object",
        "properties": {"score": {"type": "number", "minimum": 0, "maximum": 1}, "n": {"type": "integer", "minimum": 3}},
        "required": ["score", "n"],
    },
    "enum": {
        "type": "object",
        "properties": {"verdict": {"enum": ["PASS", "FAIL", "PARTIAL"]}},
        "required": ["verdict"],
    },
    "const": {"type": "object", "properties": {"version": {"const": 1}}, "required": ["version"]},
    "nullable": {"type": "object", "properties": {"note": {"type": ["string", "null"]}}, "required": ["note"]},
    "list of strings": {
        "type": "object",
        "properties": {"items": {"type": "array", "items": TEXT, "minItems": 2, "maxItems": 5}},
        "required": ["items"],
    },
    "claims": {
        "type": "object",
        "properties": {
            "claims": {
                "type": "array",
                "minItems": 1,
                "maxItems": 3,
                "items": {
                    "type": "object",
                    "properties": {
                        "id": {"type": "string", "pattern": "^CLAIM-[0-9]{3}$"},
                        "category": {"enum": ["correctness", "security"]},
                        "description": TEXT,
                    },
                    "required": ["id", "category", "description"],
                    "additionalProperties": False,
                },
            }
        },
        "required": ["claims"],
        "additionalProperties": False,
    },
    "checks": {
        "type": "object",
        "properties": {
            "checks": {
                "type": "array",
                "minItems": 3,
                "maxItems": 3,
                "items": {
                    "type": "object",
                    "properties": {"call": TEXT, "expected": {}},
                    "required": ["call", "expected"],
                },
            }
        },
        "required": ["checks"],
    },
    "references": {
        "type": "object",
        "properties": {"left": {"$ref": "#/$defs/side"}, "right": {"$ref": "#/$defs/side"}},
        "required": ["left", "right"],
        "$defs": {"side": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}},
    },
    "alternatives": {
        "type": "object",
        "properties": {"value": {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "boolean"}}]}},
        "required": ["value"],
    },
    "unique": {
        "type": "object",
        "properties": {
            "set": {"type": "array", "items": {"enum": ["a", "b", "c"]}, "minItems": 3, "uniqueItems": True}
        },
        "required": ["set"],
    },
    "unicode": {"type": "object", "properties": {"größe": TEXT, "名": {"const": "値"}}, "required": ["größe", "名"]},
}


def say(text: str) -> list[ChatMessage]:
    return [ChatMessage("system", "You are asked."), ChatMessage("user", text)]


def complete(upstream: Upstream, text: str, **options: Any) -> Completion:
    return upstream.complete(**{"model": "sim-small", "messages": say(text), "max_tokens": 200, **options})


def test_a_completion_carries_its_text_usage_and_times(upstream: Upstream) -> None:
    pieces: list[str] = []
    completion = complete(upstream, "hello [sim:ttft:0.05]", on_token=pieces.append)
    assert "".join(pieces) == completion.text
    assert pieces == split_tokens(completion.text)
    assert (completion.model, completion.finish_reason, completion.usage_reported) == ("sim-small", "stop", True)
    assert completion.tokens_out == len(pieces)
    assert completion.tokens_in == count_prompt_tokens(["You are asked.", "hello [sim:ttft:0.05]"])
    assert 50 <= completion.ttft_ms <= completion.latency_ms


def test_max_tokens_stop_and_seed_are_passed_on(upstream: Upstream) -> None:
    whole = complete(upstream, "cut [sim:tokens:30]", seed=1, temperature=Decimal("0.5"), top_p=Decimal(1))
    short = complete(upstream, "cut [sim:tokens:30]", seed=1, max_tokens=5)
    assert (short.finish_reason, short.tokens_out) == ("length", 5)
    assert whole.text.startswith(short.text)
    assert complete(upstream, "cut [sim:tokens:30]", seed=2).text != whole.text
    stop = split_tokens(whole.text)[6]
    assert complete(upstream, "cut [sim:tokens:30]", seed=1, stop=[stop]).text == whole.text[: whole.text.index(stop)]


@pytest.mark.parametrize(
    ("fault", "error", "code", "retryable"),
    [
        ("status:429:7", UpstreamRateLimited, "RATE_LIMIT", True),
        ("status:500", UpstreamUnavailable, "PROVIDER_ERROR", True),
        ("status:503", UpstreamUnavailable, "PROVIDER_ERROR", True),
        ("status:408", UpstreamTimeout, "TIMEOUT", True),
        ("status:400", UpstreamRejected, "PROVIDER_ERROR", False),
        ("status:404", UpstreamRejected, "PROVIDER_ERROR", False),
        ("status:401", UpstreamRejected, "AUTH", False),
        ("status:403", UpstreamRejected, "AUTH", False),
        ("drop", UpstreamUnavailable, "CONNECTION", True),
        ("disconnect:0", UpstreamInterrupted, "CONNECTION", True),
        ("disconnect:4", UpstreamInterrupted, "CONNECTION", True),
        ("truncate:4", UpstreamInterrupted, "CONNECTION", True),
        ("gzip,disconnect:4", UpstreamInterrupted, "CONNECTION", True),
        ("error_event:0", UpstreamUnavailable, "PROVIDER_ERROR", True),
        ("error_event:4", UpstreamInterrupted, "PROVIDER_ERROR", True),
        ("garbage_json", UpstreamGarbage, "INVALID_RESPONSE", True),
        ("empty", UpstreamGarbage, "INVALID_RESPONSE", True),
        ("refusal", UpstreamRefused, "PROVIDER_ERROR", False),
    ],
)
def test_every_fault_ends_in_its_typed_error(
    sim: SimProcess, upstream: Upstream, fault: str, error: type[UpstreamError], code: str, retryable: bool
) -> None:
    before = sim.requests()["last"]
    sim.fault(fault)
    with pytest.raises(error) as caught:
        complete(upstream, "a fault")
    assert type(caught.value) is error
    assert (caught.value.code, caught.value.retryable) == (code, retryable)
    assert "simulated" not in caught.value.message.lower()
    assert sim.requests(since=before)["count"] == 1, "one call, never tried again here"
    assert complete(upstream, "a fault").text.startswith("Simulated answer"), "the client is as good as before"


def test_a_rate_limit_says_when_to_come_back(sim: SimProcess, upstream: Upstream) -> None:
    sim.fault("status:429:7")
    with pytest.raises(UpstreamRateLimited) as caught:
        complete(upstream, "busy")
    assert caught.value.retry_after_s == 7
    assert "simulated status 429" in caught.value.detail


def test_an_interruption_keeps_what_came_and_counts_it(upstream: Upstream) -> None:
    pieces: list[str] = []
    with pytest.raises(UpstreamInterrupted) as caught:
        complete(upstream, "[sim:disconnect:4][sim:pace:0.01]", on_token=pieces.append)
    partial = caught.value.partial
    assert len(pieces) == 4
    assert partial.text == "".join(pieces)
    assert partial.tokens_out == -(-len(partial.text) // 4)
    assert partial.tokens_in > 0
    assert not partial.usage_reported


def test_missing_usage_is_counted_by_us_and_flagged(upstream: Upstream) -> None:
    completion = complete(upstream, "[sim:no_usage]")
    assert not completion.usage_reported
    assert completion.tokens_out == -(-len(completion.text) // 4)
    assert completion.tokens_in == -(-len("You are asked.[sim:no_usage]") // 4)


def test_late_usage_is_waited_for(upstream: Upstream) -> None:
    completion = complete(upstream, "[sim:usage_late:0.2]")
    assert completion.usage_reported
    assert completion.latency_ms >= 200


def test_a_complete_answer_whose_usage_never_comes_is_not_thrown_away(upstream: Upstream) -> None:
    completion = complete(upstream, "[sim:usage_late:30]", deadline_s=1.0)
    assert (completion.finish_reason, completion.usage_reported) == ("stop", False)
    assert completion.latency_ms < 3000


def test_a_gzipped_stream_is_read_as_it_comes(upstream: Upstream) -> None:
    pieces: list[str] = []
    completion = complete(upstream, "[sim:gzip][sim:tokens:9]", on_token=pieces.append)
    assert (len(pieces), completion.tokens_out) == (9, 9)


@pytest.mark.parametrize("marker", ["[sim:hang]", "[sim:ttft:30]", "[sim:latency:30]"])
def test_a_first_token_that_does_not_come_is_a_timeout(sim: SimProcess, upstream_to: MakeUpstream, marker: str) -> None:
    upstream = upstream_to(sim.base_url, first_token_s=0.2)
    before = sim.requests()["last"]
    with pytest.raises(UpstreamTimeout) as caught:
        complete(upstream, marker)
    assert (caught.value.code, caught.value.partial.text) == ("TIMEOUT", "")
    assert sim.outcome_of(before + 1) == "client_gone", "the connection does not outlive the call"


@pytest.mark.parametrize("marker", ["[sim:pace:0.02]", "[sim:hang:5]", "[sim:total:30]"])
def test_the_deadline_holds_while_tokens_trickle(upstream: Upstream, marker: str) -> None:
    pieces: list[str] = []
    with pytest.raises(UpstreamTimeout) as caught:
        complete(upstream, f"{marker}[sim:tokens:150]", on_token=pieces.append, deadline_s=0.8)
    assert 0 < len(pieces) < 150
    assert caught.value.partial.text == "".join(pieces)
    assert caught.value.partial.tokens_out > 0


class SteppingClock:
    """A clock that stands still until it is told to step."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds


def test_the_deadline_holds_for_tokens_that_wait_in_a_buffer(sim: SimProcess, upstream_to: MakeUpstream) -> None:
    clock = SteppingClock()
    upstream = upstream_to(sim.base_url, clock=clock)
    pieces: list[str] = []

    def slow_consumer(piece: str) -> None:
        pieces.append(piece)
        clock.seconds += 8

    with pytest.raises(UpstreamTimeout):
        complete(upstream, "[sim:tokens:100]", on_token=slow_consumer)
    assert len(pieces) == 3, "the deadline is 20 seconds"


class Shutdown(Exception):
    """What a worker raises to leave a stream."""


@pytest.mark.parametrize("reason", [Shutdown("the worker stops"), ValueError("not ours"), KeyError("nor this")])
def test_what_on_token_raises_comes_through_and_closes_the_stream(
    sim: SimProcess, upstream: Upstream, reason: Exception
) -> None:
    before = sim.requests()["last"]

    def leave(_: str) -> None:
        raise reason

    with pytest.raises(type(reason)) as caught:
        complete(upstream, "[sim:pace:0.05][sim:tokens:150]", on_token=leave)
    assert caught.value is reason
    assert sim.outcome_of(before + 1) == "client_gone"


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS.keys())
def test_an_answer_in_schema_is_readable(upstream: Upstream, schema: dict[str, Any]) -> None:
    asked = ask(upstream, model="sim-large", messages=say("answer in schema"), schema=schema, max_tokens=2000)
    assert len(asked.completions) == 1
    assert asked.usage_reported
    assert parse_answer(asked.completions[0].text, schema) == asked.answer


def test_an_evaluation_accepts_unless_told_to_refuse(upstream: Upstream) -> None:
    def accepted(text: str) -> object:
        asked = ask(upstream, model="sim-small", messages=say(text), schema=EVALUATION, max_tokens=100)
        return asked.answer["accepted"]

    assert accepted("write a haiku") is True
    assert accepted("write a haiku [sim:refuse]") is False


def test_a_structured_answer_can_be_left_midway(upstream: Upstream) -> None:
    def leave(_: str) -> None:
        raise Shutdown

    with pytest.raises(Shutdown):
        ask(upstream, model="sim-small", messages=say("x"), schema=EVALUATION, max_tokens=100, on_token=leave)


def test_an_unreadable_answer_is_asked_for_again_and_both_are_counted(sim: SimProcess, upstream: Upstream) -> None:
    sim.fault("garbage_content", times=1)
    asked = ask(upstream, model="sim-small", messages=say("again"), schema=EVALUATION, max_tokens=100, seed=3)
    assert asked.answer["accepted"] is True
    assert len(asked.completions) == 2
    assert asked.tokens_out == sum(completion.tokens_out for completion in asked.completions)


def test_an_answer_that_stays_unreadable_spends_the_budget_and_no_more(sim: SimProcess, upstream: Upstream) -> None:
    before = sim.requests()["last"]
    with pytest.raises(UnreadableAnswer) as caught:
        ask(upstream, model="sim-small", messages=say("[sim:garbage_content]"), schema=EVALUATION, max_tokens=100)
    assert len(caught.value.completions) == sim.requests(since=before)["count"] == 2


def test_an_answer_cut_by_max_tokens_is_unreadable(upstream: Upstream) -> None:
    with pytest.raises(UnreadableAnswer) as caught:
        ask(upstream, model="sim-small", messages=say("cut"), schema=EVALUATION, max_tokens=4)
    assert {completion.finish_reason for completion in caught.value.completions} == {"length"}


def test_a_hundred_streams_run_at_once(sim: SimProcess, upstream: Upstream) -> None:
    together = threading.Barrier(100)

    def one(number: int) -> Completion:
        seen: list[str] = []

        def on_token(piece: str) -> None:
            if not seen:
                together.wait(timeout=30)
            seen.append(piece)

        completion = complete(upstream, f"stream {number}", on_token=on_token, deadline_s=20)
        assert "".join(seen) == completion.text
        return completion

    with ThreadPoolExecutor(100) as pool:
        completions = list(pool.map(one, range(100)))
    assert len({completion.text for completion in completions}) == 100
    assert all(completion.usage_reported for completion in completions)
