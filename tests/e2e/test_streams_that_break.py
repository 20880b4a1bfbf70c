"""Streams whose caller, web process or worker goes away: each ends once, is paid for once, and is never spliced."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.e2e.event_stream import Event, events_of, require_one_end, text_of
from tests.e2e.gateway_hand import CHAT, INFERENCE, Gateway, chat, request, unlike
from tests.e2e.patience import at_once, eventually

CHUNKS = 30
SLOW = f"[sim:tokens:{CHUNKS}][sim:pace:0.1]"
SHORT = "[sim:tokens:12][sim:pace:0.1]"
LONG = "[sim:tokens:28][sim:pace:0.1]"


@contextmanager
def open_stream(gateway: Gateway, body: dict[str, Any], **headers: str) -> Iterator[tuple[str, Iterator[Event]]]:
    """Open a stream on a connection of its own; answer its run and its events."""
    own = {**gateway.http.headers, **headers}
    with (
        httpx.Client(base_url=gateway.url, headers=own, timeout=40, trust_env=False) as http,
        http.stream("POST", INFERENCE, json={**body, "stream": True}) as answer,
    ):
        assert answer.status_code == httpx.codes.OK, answer.read()
        yield answer.headers["X-Run-ID"], events_of(answer)


def resumed(gateway: Gateway, run_id: str, after: int) -> list[Event]:
    """Read the rest of a stream."""
    with gateway.http.stream("GET", f"/v1/runs/{run_id}/events", headers={"Last-Event-ID": str(after)}) as answer:
        assert answer.status_code == httpx.codes.OK, answer.read()
        return list(events_of(answer))


def test_a_caller_who_leaves_ends_his_run_and_it_is_counted_once(gateway: Gateway) -> None:
    def leave_after(chunks: int) -> tuple[int, str]:
        trace = unlike("left")
        if chunks == 0:
            leave_before_the_first(gateway, trace)
            return chunks, eventually(lambda: gateway.newest_run(trace_id=trace), what="a run")
        with open_stream(gateway, request(SLOW, trace_id=trace)) as (run_id, events):
            for _ in range(chunks):
                next(events)
        return chunks, run_id

    counts = (0, 1, CHUNKS // 2, CHUNKS - 1)
    for chunks, run_id in at_once(*(lambda chunks=chunks: leave_after(chunks) for chunks in counts)):
        usage = gateway.require_one_end(run_id)
        assert usage["outcome"] == "disconnected" or chunks == CHUNKS - 1, (chunks, usage)
        assert usage["tokens_out"] > 0 or chunks == 0, "what was generated is counted"
        assert text_of(resumed(gateway, run_id, 0)).startswith("Simulated answer"[: 9 * chunks])


def leave_before_the_first(gateway: Gateway, trace: str) -> None:
    """Send a request whose first token takes long, and close without reading anything."""
    body = httpx.Request("POST", INFERENCE, json=request("[sim:ttft:1.5]" + SLOW, trace_id=trace, stream=True)).read()
    host, port = gateway.url.removeprefix("http://").split(":")
    head = (
        f"POST {INFERENCE} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {gateway.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head.encode() + body)
        eventually(lambda: gateway.newest_run(trace_id=trace), what="a run")


def test_a_caller_who_leaves_in_a_silence_is_noticed(gateway: Gateway) -> None:
    with open_stream(gateway, request("[sim:hang:2]")) as (run_id, events):
        next(events)
    assert gateway.require_one_end(run_id, within_s=4)["outcome"] == "disconnected"


def test_a_caller_who_comes_back_in_time_gets_the_rest(gateway: Gateway) -> None:
    with open_stream(gateway, request(LONG)) as (run_id, events):
        read = [next(events) for _ in range(5)]
    rest = resumed(gateway, run_id, 5)
    assert require_one_end([*read, *rest]).is_done
    assert gateway.require_one_end(run_id)["outcome"] == "complete"
    assert text_of([*read, *rest]) == text_of(resumed(gateway, run_id, 0))


def test_a_stream_outlives_its_web_process_and_is_resumed_without_a_gap(gateway: Gateway) -> None:
    body = request(LONG)
    read = []
    with open_stream(gateway, body) as (run_id, events):
        read += [next(events) for _ in range(5)]
        gateway.stack.process("web").kill()
        with pytest.raises((httpx.TransportError, AssertionError)):
            read += list(events)

    def rest() -> list[Event] | None:
        try:
            return resumed(gateway, run_id, len(read))
        except httpx.TransportError:
            return None

    read += eventually(rest, what="the rest", within_s=60)
    assert require_one_end(read).is_done
    assert gateway.require_one_end(run_id)["outcome"] == "complete"
    assert [event.wire for event in read] == [event.wire for event in resumed(gateway, run_id, 0)]


def test_a_worker_that_dies_at_a_stream_leaves_an_error_and_no_second_answer(gateway: Gateway) -> None:
    with open_stream(gateway, request("[sim:tokens:60][sim:pace:0.1]")) as (run_id, events):
        read = [next(events) for _ in range(5)]
        gateway.stack.process("worker-inference").kill()
        read += list(events)
    end = require_one_end(read)
    assert (end.is_fault, end.json["error_code"], end.json["receipt_id"]) == (True, "INTERRUPTED", run_id)
    assert gateway.state(run_id) == "failed"
    gateway.require_one_end(run_id)


def test_a_key_has_a_stream_once_and_then_repeats_its_bytes(gateway: Gateway) -> None:
    body, key = {**request(SHORT), "stream": True}, {"Idempotency-Key": unlike("key")[-30:]}
    with open_stream(gateway, body, **key) as (run_id, events):
        first = [next(events)]
        busy = gateway.http.post(INFERENCE, json=body, headers=key)
        assert (busy.status_code, busy.json()["error_code"]) == (409, "IDEMPOTENCY_KEY_IN_USE")
        assert int(busy.headers["Retry-After"]) > 0
        first += list(events)
    again = gateway.http.post(INFERENCE, json=body, headers=key)
    assert (again.status_code, again.headers["Idempotent-Replayed"], again.headers["X-Run-ID"]) == (200, "true", run_id)
    assert again.content == b"".join(event.wire for event in first)
    other = gateway.http.post(INFERENCE, json={**body, "max_tokens": 3}, headers=key)
    assert other.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert (
        gateway.tables.one("SELECT count(*) FROM usage JOIN runs ON owner_id = runs.id WHERE run_id = %(r)s", r=run_id)
        == 1
    )


def test_whoever_sent_a_key_is_expected_back(gateway: Gateway) -> None:
    body, key = {**request(LONG), "stream": True}, {"Idempotency-Key": unlike("key")[-30:]}
    with open_stream(gateway, body, **key) as (run_id, events):
        next(events)
    assert gateway.require_one_end(run_id)["outcome"] == "complete"
    again = gateway.http.post(INFERENCE, json=body, headers=key)
    assert (again.headers["X-Run-ID"], again.text.endswith("data: [DONE]\n\n")) == (run_id, True)


def test_a_chat_streams_end_names_its_receipt_and_its_usage_where_asked_for(gateway: Gateway) -> None:
    for asks in (True, False):
        options = {"stream_options": {"include_usage": True}} if asks else {}
        with gateway.http.stream("POST", CHAT, json=chat("[sim:tokens:6]", stream=True, **options)) as answer:
            events = list(events_of(answer))
        assert require_one_end(events).is_done
        chunks = [event.json for event in events[:-1]]
        assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
        assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
        last = chunks[-2] if asks else chunks[-1]
        assert last["choices"][0]["finish_reason"] == "stop"
        assert last["lucid"]["receipt_id"] == answer.headers["X-Run-ID"] == last["id"]
        if asks:
            assert (chunks[-1]["choices"], chunks[-1]["usage"]["completion_tokens"]) == ([], 6)


def test_a_resumption_behind_the_end_or_at_nonsense_is_refused(gateway: Gateway) -> None:
    with open_stream(gateway, request("[sim:tokens:3]")) as (run_id, events):
        last = [event.id for event in events if event.id][-1]
    assert resumed(gateway, run_id, last)[-1].is_done
    for nonsense in ("x", "-1", "1e3", "9" * 40):
        answer = gateway.http.get(f"/v1/runs/{run_id}/events", headers={"Last-Event-ID": nonsense})
        assert answer.status_code == httpx.codes.BAD_REQUEST, nonsense
