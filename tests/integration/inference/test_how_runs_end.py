"""Whatever an upstream does, a run ends in a defined state, with one receipt and one usage row that agree."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from shared.inference.model import Run, RunState, RunView, Surface
from tests.integration.inference import receipts_check
from tests.integration.inference.engine_bench import EngineBench

COMPLETE, FAILED = RunState.COMPLETE, RunState.FAILED
NO_FALLBACK = {"attestation": {"fallback_allowed": False}}
BODY = b'{"messages": [{"role": "user", "content": "as it came"}],  "odd":  "spacing"}'
FAULTS = [
    # fault, state, error code, finish reason
    ("", COMPLETE, None, "stop"),
    ("gzip", COMPLETE, None, "stop"),
    ("no_usage", COMPLETE, None, "stop"),
    ("usage_late:0.4", COMPLETE, None, "stop"),
    ("empty", COMPLETE, None, "stop"),
    ("refusal", COMPLETE, None, "stop"),
    ("garbage_content", COMPLETE, None, "stop"),
    ("status:500", FAILED, "PROVIDER_ERROR", "error"),
    ("status:503:1", FAILED, "PROVIDER_ERROR", "error"),
    ("status:429:0", FAILED, "RATE_LIMIT", "error"),
    ("status:401", FAILED, "AUTH", "error"),
    ("status:403", FAILED, "AUTH", "error"),
    ("status:400", FAILED, "PROVIDER_ERROR", "error"),
    ("drop", FAILED, "CONNECTION", "error"),
    ("disconnect:3", FAILED, "CONNECTION", "error"),
    ("truncate:3", FAILED, "CONNECTION", "error"),
    ("error_event:3", FAILED, "PROVIDER_ERROR", "error"),
    ("garbage_json", FAILED, "INVALID_RESPONSE", "error"),
]
EACH_FAULT = pytest.mark.parametrize(("fault", "state", "code", "reason"), FAULTS, ids=[f[0] or "none" for f in FAULTS])


def prompt(fault: str) -> str:
    return f"[sim:{fault}] Say something." if fault else "Say something."


@EACH_FAULT
@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
def test_each_fault_of_an_upstream_has_its_end(
    bench: EngineBench, fault: str, state: RunState, code: str | None, reason: str, is_streamed: bool
) -> None:
    run = bench.ask(prompt(fault), stream=is_streamed, body=BODY, policy=NO_FALLBACK, trace_id="trace-1")
    view = bench.done(run)
    assert view.end is not None
    assert (view.run.state, view.end.error_code, view.end.finish_reason) == (state, code, reason)
    require_one_story(bench, run, view)
    require_commitments(bench, run, view)
    if state is FAILED:
        assert (view.end.tokens_in, view.end.tokens_out, view.end.reply) == (0, 0, None)
    elif fault not in ("empty", "refusal"):
        assert view.end.tokens_in > 0
        assert view.end.tokens_out > 0
        assert view.end.tokens_reported is (fault != "no_usage")


def require_one_story(bench: EngineBench, run: Run, view: RunView) -> None:
    """Row, usage and receipt say the same, and there is one of each."""
    assert view.end is not None
    usage, receipt, row = bench.usage(run), json.loads(bench.receipt(run)), bench.stored(run)
    told = (view.end.tokens_in, view.end.tokens_out)
    assert (usage["tokens_in"], usage["tokens_out"]) == (receipt["tokens_in"], receipt["tokens_out"]) == told
    assert usage["usage_reported"] is view.end.tokens_reported
    assert receipt["receipt_id"] == receipt["run_id"] == run.run_id == view.receipt_id
    assert receipt["kind"] == "inference"
    assert receipt["finish_reason"] == view.end.finish_reason
    assert receipt["policy_hash"] == run.policy_hash.hex()
    assert receipt["model_passport_id"] == run.model_passport_id
    assert receipt["compute_passport_id"] == view.end.compute_passport_id == row["compute_passport_id"]
    assert receipt["request_id"] == run.request_id
    assert receipt.get("trace_id") == run.trace_id
    assert row["sealed_input"] is None
    assert usage["outcome"] in {view.run.state, "timed_out", "disconnected"}


def require_commitments(bench: EngineBench, run: Run, view: RunView) -> None:
    """The salts that the owner is shown open the receipt's commitments to the bytes that he sent and got."""
    receipt = json.loads(bench.receipt(run))
    assert receipt["input_commitment"] == receipts_check.whole(view.salts["input"], BODY)
    if run.streamed:
        wire = b"".join(frame.wire for frame in bench.read(run))
        assert receipt["output_commitment"] == receipts_check.stream(view.salts["output"], run.run_id, wire)
        assert receipt["output_form"] == "stream"
        ends = [receipts_check.payload(event) for event in receipts_check.events(wire)]
        is_complete = view.run.state is COMPLETE
        assert ("[DONE]" in ends) is is_complete
        assert any(isinstance(said, dict) and "error_code" in said for said in ends) is not is_complete
    elif view.end is not None and view.end.reply is not None and receipt["output_form"] == "text":
        assert receipt["output_commitment"] == receipts_check.whole(view.salts["output"], view.end.reply.text.encode())
    else:
        assert ("output_commitment" in receipt) is (view.run.state is COMPLETE)


def test_silence_ends_as_a_timeout_and_not_later(bench: EngineBench) -> None:
    began = time.monotonic()
    view = bench.done(bench.ask("[sim:hang] Hm.", policy={**NO_FALLBACK, "latency": {"hard_timeout_ms": 700}}))
    assert time.monotonic() - began < 1.6
    assert view.end is not None
    assert (view.end.error_code, view.end.finish_reason) == ("TIMEOUT", "timeout")
    assert bench.usage(view.run)["outcome"] == "timed_out"


@pytest.mark.parametrize("fault", ["hang:3", "pace:0.3,tokens:40", "total:30"])
def test_a_hard_timeout_cuts_a_stream_that_has_begun(bench: EngineBench, fault: str) -> None:
    markers = "".join(f"[sim:{one}]" for one in fault.split(","))
    run = bench.ask(f"{markers} Hm.", stream=True, policy={"latency": {"hard_timeout_ms": 900}})
    view = bench.done(run)
    assert view.end is not None
    assert view.end.error_code == "TIMEOUT"
    assert 800 <= view.end.total_latency_ms <= 1400
    last = bench.read(run)[-1]
    assert last.is_fault
    assert receipts_check.payload(last.wire)["error_code"] == "TIMEOUT"


def test_time_that_passed_in_the_queue_counts(bench: EngineBench) -> None:
    run = bench.ask(policy={"latency": {"hard_timeout_ms": 1}})
    mark = bench.sim.requests()["last"]
    view = bench.done(run)
    assert view.end is not None
    assert view.end.error_code == "TIMEOUT"
    assert bench.sim.requests()["last"] == mark, "the model was asked though no time was left"


def test_a_run_that_no_worker_takes_up_is_ended_by_the_tick(bench: EngineBench) -> None:
    run = bench.ask(stream=True, policy={"latency": {"hard_timeout_ms": 1}})
    while bench.look(run).end is None:
        bench.desk.runs.expire()
    view = bench.done(run)
    assert view.end is not None
    assert view.end.error_code == "TIMEOUT"
    require_one_story(bench, run, view)


def test_a_question_of_numbers_before_the_first_token_and_in_all(bench: EngineBench) -> None:
    bench.done(bench.ask())  # the first call of a process loads the client
    view = bench.done(bench.ask("[sim:ttft:0.4][sim:tokens:9][sim:total:0.4] Hm."))
    assert view.end is not None
    assert 380 <= view.end.ttft_ms <= 550
    assert 700 <= view.end.total_latency_ms <= 1100


def test_tool_calls_are_put_together_and_committed_to(bench: EngineBench) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tools = [{"type": "function", "function": {"name": "weather", "parameters": parameters}}]
    options: dict[str, Any] = {"tools": tools, "tool_choice": "required"}
    run = bench.ask(surface=Surface.CHAT, options=options, body=BODY)
    view = bench.done(run)
    assert view.end is not None
    assert view.end.reply is not None
    assert view.end.finish_reason == "tool_calls"
    (call,) = view.end.reply.tool_calls
    assert call["function"]["name"] == "weather"
    assert "city" in json.loads(call["function"]["arguments"])
    receipt = json.loads(bench.receipt(run))
    assert receipt["output_form"] == "message"
    message = {"content": view.end.reply.text, "tool_calls": [dict(call)]}
    exact = json.dumps(message, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert receipt["output_commitment"] == receipts_check.whole(view.salts["output"], exact)


def test_a_redelivered_run_changes_nothing(bench: EngineBench) -> None:
    run = bench.ask()
    before = bench.done(run)
    assert bench.done(run) == before
    require_one_story(bench, run, before)
