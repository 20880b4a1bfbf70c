"""Runs that are given up: by their caller, by a caller who left, by a worker that stops or dies. Nothing is generated twice."""

from __future__ import annotations

import json
import threading
import time

import pytest

from shared.inference.model import CancelReason, Run, RunState
from shared.kernel.errors import NotFound
from tests.integration.inference import receipts_check
from tests.integration.inference.engine_bench import EngineBench
from tests.integration.inference.test_how_runs_end import require_one_story

SILENT = "[sim:hang] Hm."
SPEAKING = "[sim:tokens:200][sim:pace:0.05] Say something long."


def ends_within(bench: EngineBench, worker: threading.Thread, seconds: float) -> None:
    began = time.monotonic()
    worker.join(10)
    assert time.monotonic() - began < seconds


def test_a_run_that_waits_is_cancelled_at_once(bench: EngineBench) -> None:
    run = bench.ask()
    mark = bench.sim.requests()["last"]
    view = bench.desk.runs.cancel(run.run_id, tenant=run.tenant)
    assert (view.run.state, view.run.cancel_reason) == (RunState.CANCELLED, CancelReason.CANCELLED)
    assert bench.done(run).end == view.end
    assert bench.sim.requests()["last"] == mark
    require_one_story(bench, run, bench.look(run))
    assert bench.desk.runs.cancel(run.run_id, tenant=run.tenant).end == view.end


@pytest.mark.parametrize("text", [SILENT, "[sim:hang:3] Hm."], ids=["before the first token", "after three"])
def test_a_cancelled_run_lets_go_of_a_silent_model(bench: EngineBench, text: str) -> None:
    mark = bench.sim.requests()["last"]
    run = bench.ask(text, stream=True)
    worker = bench.start(run)
    number = bench.await_call(mark)
    view = bench.desk.runs.cancel(run.run_id, tenant=run.tenant)
    assert view.run.state is RunState.CANCELLED
    ends_within(bench, worker, 1.0)
    assert bench.sim.outcome_of(number) == "client_gone"
    require_one_story(bench, run, view)
    last = bench.read(run)[-1]
    assert last.is_fault
    assert receipts_check.payload(last.wire)["error_code"] == "CANCELLED"


def test_what_was_generated_before_a_cancel_is_kept_and_counted(bench: EngineBench) -> None:
    run = bench.ask(SPEAKING, stream=True)
    bench.start(run)
    stream = bench.desk.runs.frames(run)
    for _ in range(5):
        next(stream)
    view = bench.desk.runs.cancel(run.run_id, tenant=run.tenant)
    assert view.end is not None
    assert view.end.reply is not None
    assert view.end.reply.text
    assert 0 < view.end.tokens_out < 200
    assert bench.usage(run)["outcome"] == "cancelled"
    require_one_story(bench, run, view)


def test_a_caller_who_left_and_stays_away_ends_his_run(bench: EngineBench) -> None:
    run = bench.ask(SPEAKING, stream=True)
    worker = bench.start(run)
    stream = bench.desk.runs.frames(run)
    next(stream)
    stream.close()
    bench.desk.runs.disconnect(run)
    ends_within(bench, worker, 2.5)
    view = bench.look(run)
    assert (view.run.state, view.run.cancel_reason) == (RunState.CANCELLED, CancelReason.DISCONNECTED)
    assert bench.usage(run)["outcome"] == "disconnected"
    assert json.loads(bench.receipt(run))["finish_reason"] == "disconnected"


def test_a_caller_who_comes_back_in_time_gets_the_rest(bench: EngineBench) -> None:
    run = bench.ask("[sim:tokens:30][sim:pace:0.05] Say.", stream=True)
    bench.start(run)
    stream = bench.desk.runs.frames(run)
    begun = [next(stream) for _ in range(3)]
    stream.close()
    bench.desk.runs.disconnect(run)
    rest = bench.read(run, after=3)
    assert receipts_check.payload(rest[-1].wire) == "[DONE]"
    assert [*begun, *rest] == bench.read(run)
    assert bench.look(run).run.state is RunState.COMPLETE


def test_one_of_two_readers_who_leaves_ends_nothing(bench: EngineBench) -> None:
    run = bench.ask("[sim:tokens:30][sim:pace:0.05] Say.", stream=True)
    bench.start(run)
    first, second = (bench.desk.runs.frames(run) for _ in range(2))
    next(first)
    next(second)
    first.close()
    bench.desk.runs.disconnect(run)
    assert receipts_check.payload([frame for frame in second if frame is not None][-1].wire) == "[DONE]"


def test_nobody_has_to_wait_for_a_detached_run(bench: EngineBench) -> None:
    run = bench.ask("[sim:tokens:20][sim:pace:0.05] Say.", stream=True, detached=True)
    bench.start(run)
    bench.desk.runs.disconnect(run)
    assert bench.desk.runs.wait(run, wait_s=10).run.state is RunState.COMPLETE


def test_a_stopping_worker_gives_a_run_back_that_nobody_has_seen_of(bench: EngineBench) -> None:
    stopping = bench.another_worker()
    run = bench.ask("[sim:tokens:40][sim:pace:0.05] Say.")
    mark = bench.sim.requests()["last"]
    worker = bench.start(run, container=stopping)
    bench.await_call(mark)
    stopping.work.stopping.set()
    ends_within(bench, worker, 1.5)
    assert bench.look(run).end is None
    view = bench.done(run)
    assert view.run.state is RunState.COMPLETE
    moves = [moved.event for moved in bench.desk.runs.moves(run) if moved is not None]
    assert moves == ["created", "started", "restarted", "completed"]
    require_one_story(bench, run, view)


def test_a_stopping_worker_ends_the_stream_that_a_caller_reads(bench: EngineBench) -> None:
    stopping = bench.another_worker()
    run = bench.ask(SPEAKING, stream=True)
    worker = bench.start(run, container=stopping)
    stream = bench.desk.runs.frames(run)
    begun = [next(stream) for _ in range(3)]
    stopping.work.stopping.set()
    frames = [frame for frame in [*begun, *stream] if frame is not None]
    ends_within(bench, worker, 1.5)
    assert frames[-1].is_fault
    assert receipts_check.payload(frames[-1].wire)["error_code"] == "INTERRUPTED"
    assert [frame.seq for frame in frames] == list(range(1, len(frames) + 1))
    view = bench.look(run)
    require_one_story(bench, run, view)
    wire = b"".join(frame.wire for frame in frames)
    receipt = json.loads(bench.receipt(run))
    assert receipt["output_commitment"] == receipts_check.stream(view.salts["output"], run.run_id, wire)


def lose_the_worker(bench: EngineBench, run: Run) -> None:
    """Have a run's worker count as dead: its lease is taken away, and nothing that it does afterwards counts."""
    with bench.connected() as connection:
        connection.execute(
            "UPDATE steps SET lease_until = now() - interval '1 second' WHERE owner_kind = 'run' AND owner_id = %s",
            [run.id],
        )


@pytest.mark.parametrize("at", ["chosen node", "fallback"])
def test_a_stream_whose_worker_died_ends_with_what_its_reader_got(bench: EngineBench, at: str) -> None:
    said = f"{SPEAKING} At the {at}."
    if at == "fallback":
        bench.sim.fault("status:401", times=None, match=said)
    run = bench.ask(said, stream=True)
    worker = bench.start(run)
    stream = bench.desk.runs.frames(run)
    begun = [next(stream) for _ in range(5)]
    lose_the_worker(bench, run)
    mark = bench.sim.requests()["last"]
    bench.work(run, container=bench.another_worker())
    assert bench.sim.requests()["last"] == mark, "generated a second time"
    frames = [frame for frame in [*begun, *stream] if frame is not None]
    assert receipts_check.payload(frames[-1].wire)["error_code"] == "INTERRUPTED"
    assert frames == bench.read(run)
    view = bench.look(run)
    assert view.end is not None
    assert view.end.compute_passport_id == run.plan.nodes[at == "fallback"].passport_id
    assert view.end.used_fallback is (at == "fallback")
    receipt = json.loads(bench.receipt(run))
    wire = b"".join(frame.wire for frame in frames)
    assert receipt["output_commitment"] == receipts_check.stream(view.salts["output"], run.run_id, wire)
    assert receipt["output_form"] == "stream_recovered"
    worker.join(10)
    require_one_story(bench, run, bench.look(run))


def test_where_redis_dies_with_the_worker_the_receipt_claims_no_more_than_is_known(bench: EngineBench) -> None:
    run = bench.ask(SPEAKING, stream=True)
    worker = bench.start(run)
    stream = bench.desk.runs.frames(run)
    begun = [next(stream) for _ in range(5)]
    lose_the_worker(bench, run)
    bench.desk.redis_events.flushdb()
    bench.work(run, container=bench.another_worker())
    (*sent, end) = [frame for frame in [*begun, *stream] if frame is not None]
    assert receipts_check.payload(end.wire)["error_code"] == "INTERRUPTED"
    assert [frame.seq for frame in sent] == list(range(1, len(sent) + 1))
    (*known, stored_end) = bench.read(run)
    assert stored_end.wire == end.wire
    assert known == sent[: len(known)]
    receipt = json.loads(bench.receipt(run))
    assert receipt["output_form"] == "stream_recovered"
    assert receipt["stream_chunks"] == len(known)
    resumed = [frame for frame in bench.desk.runs.frames(run, after=len(sent)) if frame is not None]
    assert [frame.wire for frame in resumed] == [end.wire]
    worker.join(10)
    require_one_story(bench, run, bench.look(run))


def test_others_see_and_touch_nothing_of_a_run(bench: EngineBench) -> None:
    run = bench.ask()
    runs = bench.desk.runs
    for attempt in (
        lambda: runs.get(run.run_id, tenant="tenant_b"),
        lambda: runs.cancel(run.run_id, tenant="tenant_b"),
        lambda: runs.listing(tenant="tenant_b", before=run.run_id),
        lambda: runs.get("run_" + "0" * 32, tenant=run.tenant),
        lambda: runs.get("nonsense", tenant=run.tenant),
    ):
        with pytest.raises(NotFound):
            attempt()
    assert runs.listing(tenant="tenant_b") == []
    assert runs.listing(tenant=run.tenant)[0].run.run_id == run.run_id
    bench.done(run)
