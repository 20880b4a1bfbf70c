"""A stream's exact bytes, an answer put together from pieces, and what is sealed: pure parts of a run."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.inference.answer import Answer
from shared.inference.channel import pack, unpack
from shared.inference.ending import output_bytes
from shared.inference.frames import DONE, StreamWriter
from shared.inference.messages import in_tool_form, with_text
from shared.inference.model import Frame, Plan, PlannedNode, Reply, Run, RunEnd, RunState, Surface
from shared.inference.sealing import Sealer
from shared.kernel.commitments import chain_of
from shared.kernel.errors import IntegrityFault
from shared.kernel.ids import Ids
from shared.llm.model import Delta

NODE = PlannedNode("passport_" + "c" * 32, "http://127.0.0.1:9/v1", "vllm", "m")
END = RunEnd("stop", Reply("ab"), NODE.passport_id, NODE.runtime, "m", tokens_in=3, tokens_out=2, ttft_ms=7)


def run_by(surface: Surface, *, include_usage: bool = False) -> Run:
    return Run(
        id=1,
        run_id="run_" + "a" * 32,
        tenant="t",
        mode="live",
        surface=surface,
        state=RunState.RUNNING,
        streamed=True,
        detached=False,
        plan=Plan((NODE,), include_usage=include_usage),
        policy_hash=b"\x01" * 32,
        model_passport_id="passport_" + "b" * 32,
        model_requested="asked",
        request_id="r",
        trace_id=None,
        project=None,
        input_salt=b"\x02" * 32,
        input_commitment=b"\x03" * 32,
        deadline_at=None,
        cancel_reason=None,
        streaming_since=None,
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
    )


def test_the_bytes_of_an_inference_stream() -> None:
    writer = StreamWriter(run_by(Surface.INFERENCE))
    run_id = "run_" + "a" * 32
    first = writer.piece(Delta("é\u2028"))
    assert first is not None
    said = f'{{"run_id":"{run_id}","text":"é\u2028","is_first":true,"is_last":false,"finish_reason":null}}'
    assert first == f"id: 1\ndata: {said}\n\n".encode()
    assert writer.piece(Delta()) is None
    last = writer.piece(Delta("b"), finish_reason="stop")
    assert last is not None
    assert b'"is_first":false,"is_last":true,"finish_reason":"stop"' in last
    done, end = writer.close(END)
    assert done.startswith(b"id: 3\ndata: ")
    assert json.loads(done.split(b"data: ")[1])["receipt_id"] == run_id
    assert end == DONE
    assert writer.frames == [first, last, done, end]
    assert writer.chain.digest == chain_of(run_id, [first, last])


def test_the_chunks_of_a_chat_stream_are_openais() -> None:
    writer = StreamWriter(run_by(Surface.CHAT, include_usage=True))
    writer.piece(Delta("a"))
    writer.piece(Delta(tool_calls=({"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}},)))
    assert writer.piece(Delta(), finish_reason="stop") is None
    writer.close(END)
    chunks = [json.loads(frame.split(b"data: ")[1]) for frame in writer.frames[:-1]]
    assert [chunk["object"] for chunk in chunks] == ["chat.completion.chunk"] * 4
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": "a"}
    assert chunks[1]["choices"][0]["delta"]["tool_calls"][0]["id"] == "c"
    assert chunks[2]["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    assert chunks[3]["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert [chunk["usage"] for chunk in chunks[:3]] == [None] * 3
    assert writer.chain.chunks == 2


def test_an_empty_chat_answer_says_at_least_who_speaks() -> None:
    writer = StreamWriter(run_by(Surface.CHAT))
    assert writer.piece(Delta(), finish_reason="stop") is not None


@pytest.mark.parametrize("surface", list(Surface))
def test_a_fault_is_one_event_behind_what_was_sent(surface: Surface) -> None:
    writer = StreamWriter(run_by(surface))
    sent = [writer.piece(Delta("one")), writer.piece(Delta("two"))]
    (fault,) = writer.fail("TIMEOUT", "too late")
    assert fault.startswith(b"id: 3\n")
    assert writer.chain.digest == chain_of("run_" + "a" * 32, [frame for frame in sent if frame is not None])


@pytest.mark.parametrize("surface", list(Surface))
def test_the_end_of_a_stream_that_another_process_began_has_no_number(surface: Surface) -> None:
    """Nobody knows how much of it was sent."""
    writer = StreamWriter.recovered(run_by(surface), [b"one", b"two"])
    (fault,) = writer.fail("INTERRUPTED", "its worker died")
    assert fault.startswith(b"data: ")
    assert writer.frames == [b"one", b"two", fault]
    assert writer.chain.digest == chain_of("run_" + "a" * 32, [b"one", b"two"])


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**63), st.builds(Frame, st.integers(1, 2**31), st.binary(), st.booleans(), st.booleans())
        )
    )
)
def test_a_message_holds_what_was_put_into_it(frames: list[tuple[int, Frame]]) -> None:
    assert list(unpack(b"".join(pack(run_row, frame) for run_row, frame in frames))) == frames


@given(st.binary(min_size=1, max_size=40))
def test_a_broken_message_is_refused_or_read_and_nothing_else(records: bytes) -> None:
    with suppress(ValueError):
        assert all(frame.wire in records for _, frame in unpack(records))


def test_tool_calls_that_come_in_pieces_are_put_together() -> None:
    answer = Answer(redacts=False)
    for piece in (
        {"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": ""}},
        {"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x":'}},
        {"index": 0, "function": {"arguments": "1}"}},
    ):
        answer.take(Delta(tool_calls=(piece,)))
    first, second = answer.reply().tool_calls
    assert first == {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
    assert second["function"] == {"name": "g", "arguments": ""}


@given(st.lists(st.text(alphabet="ab@.c 01+4-5", max_size=8), max_size=12))
def test_what_leaves_and_what_is_kept_of_a_redacted_answer_are_the_same(pieces: list[str]) -> None:
    answer = Answer(redacts=True)
    left = [delta.text for piece in pieces if (delta := answer.take(Delta(piece))) is not None]
    assert "".join([*left, answer.finish().text]) == answer.reply().text


def test_arguments_of_calls_are_redacted_each_for_itself() -> None:
    answer = Answer(redacts=True)
    for arguments in ('{"to": "jo@exa', 'mple.com", "n": 1}'):
        answer.take(Delta("so ", ({"index": 0, "id": "a", "function": {"name": "mail", "arguments": arguments}},)))
    answer.finish()
    (call,) = answer.reply().tool_calls
    assert json.loads(call["function"]["arguments"]) == {"to": "[email]", "n": 1}


def test_log_probabilities_do_not_leave_a_redacted_answer() -> None:
    assert Answer(redacts=True).take(Delta(logprobs={"content": [{"token": "a@b.example"}]})) is None


@pytest.mark.parametrize(
    ("reply", "exact"),
    [
        (Reply("é"), "é".encode()),
        (Reply(""), b""),
        (Reply("", refusal="no"), b'{"content":"","refusal":"no"}'),
        (Reply("x", tool_calls=({"id": "a"},)), b'{"content":"x","tool_calls":[{"id":"a"}]}'),
    ],
)
def test_what_a_receipt_of_a_whole_answer_commits_to(reply: Reply, exact: bytes) -> None:
    assert output_bytes(reply) == exact


def test_results_find_their_calls_by_name_and_in_order() -> None:
    def call(name: str) -> dict[str, Any]:
        return {"role": "assistant", "content": None, "function_call": {"name": name, "arguments": "{}"}}

    def result(name: str) -> dict[str, Any]:
        return {"role": "function", "name": name, "content": f"of {name}"}

    made = in_tool_form([call("f"), call("g"), result("g"), result("f"), result("nobody asked")])
    ids = {
        message["tool_calls"][0]["function"]["name"]: message["tool_calls"][0]["id"]
        for message in made
        if "tool_calls" in message
    }
    answered = [(message["tool_call_id"], message["content"]) for message in made if message["role"] == "tool"]
    assert answered == [(ids["g"], "of g"), (ids["f"], "of f"), (ids["nobody asked"], "of nobody asked")]
    assert len(set(ids.values())) == 3


def test_messages_without_functions_stay_as_they_are() -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": "hi"}], "name": "jo"}]
    assert in_tool_form(messages) == messages


def test_every_text_of_a_message_is_changed_and_nothing_else() -> None:
    message = {"role": "user", "name": "x", "content": [{"type": "text", "text": "x"}], "tool_call_id": "x"}
    changed = {"role": "user", "name": "y", "content": [{"type": "text", "text": "y"}], "tool_call_id": "x"}
    assert with_text([message], lambda _text: "y") == [changed]


def test_a_sealed_input_opens_for_its_run_with_its_key_and_else_never() -> None:
    sealer = Sealer(b"\x01" * 32, Ids())
    sealed = sealer.seal("run_1", b"secret")
    assert b"secret" not in sealed
    assert sealer.open("run_1", sealed) == b"secret"
    for opener, run_id, bytes_ in (
        (sealer, "run_2", sealed),
        (Sealer(b"\x02" * 32, Ids()), "run_1", sealed),
        (sealer, "run_1", sealed[:-1]),
        (sealer, "run_1", b""),
    ):
        with pytest.raises(IntegrityFault):
            opener.open(run_id, bytes_)
