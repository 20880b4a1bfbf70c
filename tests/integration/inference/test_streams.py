"""A stream comes complete and in order, whenever one looks, and whatever Redis loses; its end is the database's word."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pytest

from shared.inference.channel import CHANNEL, key_of, pack
from shared.inference.model import Frame, RunState, Surface
from tests.integration.inference import receipts_check
from tests.integration.inference.engine_bench import NOWHERE, EngineBench

SLOWLY = "[sim:tokens:12][sim:pace:0.04] Say something."


def texts(frames: list[Frame]) -> str:
    said = [receipts_check.payload(frame.wire) for frame in frames]
    return "".join(one["text"] for one in said if isinstance(one, dict) and "text" in one)


def test_events_come_while_the_model_speaks(bench: EngineBench) -> None:
    run = bench.ask(SLOWLY, stream=True)
    worker = bench.start(run)
    stream = bench.desk.runs.frames(run)
    first = next(stream)
    assert first is not None
    assert first.seq == 1
    assert worker.is_alive()
    assert bench.look(run).end is None
    rest = [frame for frame in stream if frame is not None]
    assert [frame.seq for frame in [first, *rest]] == list(range(1, 16))
    assert receipts_check.payload(rest[-1].wire) == "[DONE]"


def test_a_stream_reads_the_same_live_later_and_from_any_place(bench: EngineBench) -> None:
    run = bench.ask(SLOWLY, stream=True)
    bench.start(run)
    live = bench.read(run)
    stored = bench.read(run)
    assert stored == live
    for after in (1, 7, len(live) - 1):
        assert bench.read(run, after=after) == live[after:]
    assert bench.read(run, after=len(live)) == live[-1:], "who has read all is told again that it is over"
    end = bench.look(run).end
    assert end is not None
    assert end.reply is not None
    assert texts(live) == end.reply.text


def test_who_comes_late_misses_nothing(bench: EngineBench) -> None:
    run = bench.ask(SLOWLY, stream=True)
    bench.start(run)
    early = bench.desk.runs.frames(run)
    begun = [next(early) for _ in range(4)]
    late = bench.read(run)
    assert late[:4] == begun
    assert late == [*begun, *early]


def test_many_readers_of_one_stream_see_the_same(bench: EngineBench) -> None:
    run = bench.ask(SLOWLY, stream=True)
    seen: list[list[Frame]] = []
    readers = [threading.Thread(target=lambda: seen.append(bench.read(run))) for _ in range(5)]
    for reader in readers:
        reader.start()
    bench.work(run)
    for reader in readers:
        reader.join(10)
    assert len(seen) == len(readers)
    assert all(one == seen[0] for one in seen)


def test_a_message_that_was_missed_is_found_in_the_log(bench: EngineBench) -> None:
    run = bench.ask("[sim:tokens:6][sim:pace:0.3] Say.", stream=True)
    bench.start(run)
    stream = bench.desk.runs.frames(run)
    got = [next(stream)]
    (seat,) = bench.desk.audience._seats[run.id]
    seat.frames.append(Frame(3, b"from the future"))  # as if number 2 had been missed: the log does not have it yet
    seat.news.set()
    got += list(stream)
    assert [frame.seq for frame in got if frame is not None] == list(range(1, 10))
    assert b"from the future" not in b"".join(frame.wire for frame in got if frame is not None)


def test_a_log_that_is_gone_costs_no_event(bench: EngineBench) -> None:
    run = bench.ask(SLOWLY, stream=True)
    bench.start(run)
    stream = bench.desk.runs.frames(run)
    got = [next(stream)]
    bench.desk.redis_events.flushdb()
    got += list(stream)
    assert got == bench.read(run)


def test_without_redis_a_stream_comes_whole_at_the_end(make_bench: Callable[..., EngineBench]) -> None:
    bench = make_bench(REDIS_EVENTS_URL=f"redis://{NOWHERE}/0")
    run = bench.ask(SLOWLY, stream=True)
    bench.start(run)
    frames = bench.read(run)
    assert receipts_check.payload(frames[-1].wire) == "[DONE]"
    assert [frame.seq for frame in frames] == list(range(1, 16))


def test_nothing_of_a_stream_stays_in_redis(bench: EngineBench) -> None:
    run = bench.ask(SLOWLY, stream=True)
    bench.start(run)
    bench.read(run)
    redis = bench.worker.redis_events
    for _ in range(200):
        if not redis.exists(key_of(run.id)):
            break
        threading.Event().wait(0.02)
    assert not redis.exists(key_of(run.id))


def test_a_chat_stream_is_openais_and_names_its_receipt_last(bench: EngineBench) -> None:
    run = bench.ask(SLOWLY, surface=Surface.CHAT, stream=True, include_usage=True)
    bench.start(run)
    *chunks, done = [receipts_check.payload(frame.wire) for frame in bench.read(run)]
    assert done == "[DONE]"
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    *_, last, usage = chunks
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["lucid"]["receipt_id"] == run.run_id
    assert [chunk for chunk in chunks if "lucid" in chunk] == [last]
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 12
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks[:-1])
    end = bench.look(run).end
    assert end is not None
    assert end.reply is not None
    assert end.reply.text == text


def test_tool_calls_stream_as_they_are_put_together(bench: EngineBench) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tools = [{"type": "function", "function": {"name": "weather", "parameters": parameters}}]
    run = bench.ask(surface=Surface.CHAT, stream=True, options={"tools": tools, "tool_choice": "required"})
    bench.start(run)
    chunks = [receipts_check.payload(frame.wire) for frame in bench.read(run)[:-1]]
    pieces = [call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", [])]
    end = bench.look(run).end
    assert end is not None
    assert end.reply is not None
    arguments = "".join(piece["function"].get("arguments", "") for piece in pieces)
    assert end.reply.tool_calls[0]["function"]["arguments"] == arguments
    assert isinstance(json.loads(arguments), dict)
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("surface", list(Surface))
def test_a_stream_that_fails_ends_in_one_error_that_names_the_receipt(bench: EngineBench, surface: Surface) -> None:
    run = bench.ask("[sim:disconnect:4] Say.", surface=surface, stream=True)
    bench.start(run)
    frames = bench.read(run)
    assert [frame.is_fault for frame in frames] == [*[False] * (len(frames) - 1), True]
    assert receipts_check.names_receipt(frames[-1].wire)
    assert b"[DONE]" not in b"".join(frame.wire for frame in frames)


def test_who_froze_and_wakes_up_gets_no_event_out(bench: EngineBench) -> None:
    """A stream's log that was taken over lets nothing through any more, so that no reader sees two ends."""
    run = bench.ask("[sim:hang:3] Say.", stream=True)
    bench.start(run)
    stream = bench.desk.runs.frames(run)
    begun = [next(stream) for _ in range(3)]
    sender = bench.another_worker().inference._frame_sender
    assert sender.take(run.id) == begun
    heard = bench.worker.redis_events.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call] # redis-py
    heard.subscribe(CHANNEL)
    heard.get_message(timeout=1)
    frozen = bench.worker.inference._frame_sender
    frozen._tell([(run.id, Frame(4, b"too late")), (run.id + 1_000_000, Frame(1, b"another's"))])
    message = heard.get_message(timeout=2)
    heard.close()
    assert message is not None
    assert message["data"] == pack(run.id + 1_000_000, Frame(1, b"another's"))
    assert sender.take(run.id) == []
    assert [frame for frame in stream if frame is not None][-1].is_fault
    assert bench.look(run).run.state is RunState.FAILED
