"""However a verification ends, the row, the quota and the receipt tell one story, and each stage was done once."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from shared.access.model import Mode
from shared.idempotency.model import Claim as KeyClaim
from shared.idempotency.model import KeyRef
from shared.kernel.errors import Conflict, NotFound, Unavailable
from shared.verification.model import Pipeline, Stage, Verification, VerificationState
from tests.integration.verification import receipt_script
from tests.integration.verification.verification_bench import (
    EVERY_STAGE,
    SUBMITTED,
    TASK,
    VerificationBench,
)

COMPLETE, FAILED, CANCELLED = VerificationState.COMPLETE, VerificationState.FAILED, VerificationState.CANCELLED
BODY = b'{"code": "as it came",  "odd": "spacing"}'
BOTH = pytest.mark.parametrize("pipeline", list(Pipeline))
AT_EACH_STAGE = pytest.mark.parametrize(("pipeline", "stage"), EVERY_STAGE, ids=[f"{p}-{s}" for p, s in EVERY_STAGE])
UNUSABLE = ("garbage_content", "truncate:2", "refusal", "empty", "garbage_json", "status:500")


def stored_items(bench: VerificationBench, of: Verification) -> dict[str, dict[str, object]]:
    """Return what the database holds of each finished stage's output."""
    rows = bench.rows(
        "SELECT stage, output FROM verification_stages WHERE verification_id = %s AND state = 'done'", of.id
    )
    return {row["stage"]: row["output"] for row in rows}


@BOTH
def test_a_whole_verification_does_each_stage_once_and_leaves_one_receipt(
    bench: VerificationBench, pipeline: Pipeline
) -> None:
    caller = bench.tenant()
    view = bench.done(bench.ask(pipeline, caller, body=BODY))
    run = view.verification
    assert (run.state, run.fault_code) == (COMPLETE, None)
    assert bench.attempts(run) == [(stage.value, 1, "done") for stage in run.stages]
    assert all(len(row.input_hash) == 32 and row.duration_ms is not None for row in view.stage_rows)
    assert bench.used(caller) == 1
    [body] = bench.receipts(run)
    receipt = json.loads(body)
    assert (receipt["kind"], receipt["finish_reason"], receipt["pipeline"]) == ("verification", "stop", pipeline)
    assert receipt["receipt_id"] == view.receipt_id
    assert run.request_id not in body.decode()
    assert (receipt["tokens_in"], receipt["tokens_out"]) == (view.usage.tokens_in, view.usage.tokens_out)
    assert receipt["tokens_in"] == sum(row.tally.tokens_in for row in view.stage_rows) > 0
    assert view.usage.cost_microusd == sum(row.tally.cost_microusd for row in view.stage_rows) > 0
    standing = bench.desk.quotas.standing(caller)
    assert (standing.tokens_in, standing.tokens_out) == (view.usage.tokens_in, view.usage.tokens_out)


def test_the_receipt_of_verified_code_can_be_recomputed_by_anybody_who_is_shown_it(bench: VerificationBench) -> None:
    view = bench.done(bench.ask(Pipeline.FORWARD, bench.tenant(), body=BODY))
    receipt = json.loads(bench.receipts(view.verification)[0])
    stored = stored_items(bench, view.verification)
    expected = receipt_script.commitments_of_forward(view.salts, body=BODY, code=SUBMITTED.code, stored=stored)
    assert expected.items() <= receipt.items()
    assert view.forward is not None
    assert [claim.to_json() for claim in view.forward.claims or ()] == stored["extract"]["claims"]
    assert [verdict.to_json() for verdict in view.forward.verdicts or ()] == stored["verify"]["verdicts"]
    verdicts = [verdict.verdict for verdict in view.forward.verdicts or ()]
    counts = (receipt["passed"], receipt["failed"], receipt["partial"], receipt["not_applicable"])
    assert counts == tuple(verdicts.count(ruling) for ruling in ("PASS", "FAIL", "PARTIAL", "N/A"))  # type: ignore[arg-type]
    assert sum(counts) == receipt["total"] == len(verdicts) > 0
    assert "FAIL" in verdicts


def test_the_receipt_of_generated_code_can_be_recomputed_by_anybody_who_is_shown_it(bench: VerificationBench) -> None:
    view = bench.done(bench.ask(Pipeline.REVERSE, bench.tenant(), body=BODY))
    receipt = json.loads(bench.receipts(view.verification)[0])
    stored = stored_items(bench, view.verification)
    expected = receipt_script.commitments_of_reverse(view.salts, body=BODY, task=TASK.task, stored=stored)
    assert expected.items() <= receipt.items()
    assert view.reverse is not None
    assert view.reverse.chosen is not None
    assert receipt["satisfied"] == view.reverse.chosen.satisfied <= receipt["total"]
    assert receipt["attempts"] == len(view.reverse.attempts or ())


@AT_EACH_STAGE
def test_output_that_nobody_can_use_fails_the_stage_gives_the_unit_back_and_can_be_resumed(
    bench: VerificationBench, pipeline: Pipeline, stage: Stage
) -> None:
    caller = bench.tenant()
    run = bench.ask(pipeline, caller, stage=stage)
    bench.work_up_to(run, stage)
    before = bench.attempts(run)
    for times, fault in enumerate(UNUSABLE, start=1):
        bench.sim.fault(fault, times=None)
        bench.work(run, stage)
        bench.sim.control.delete("/faults").raise_for_status()
        view = bench.look(run)
        assert (view.verification.state, view.verification.fault_code) == (FAILED, "upstream_error"), fault
        assert "sim" not in (view.verification.fault_message or "").lower()
        assert (bench.used(caller), view.receipt_id, view.verification.unit) == (0, None, None)
        assert bench.attempts(run) == [*before, *((stage.value, number, "failed") for number in range(1, times + 1))]
        bench.desk.verifications.resume(run.request_id, principal=caller)
        assert bench.used(caller) == 1
    mark = bench.calls()
    for left in run.stages[run.stages.index(stage) :]:
        bench.work(run, left)
    view = bench.look(run)
    assert view.verification.state is COMPLETE
    assert len([row for row in view.stage_rows if row.state == "done"]) == len(run.stages)
    assert bench.calls() - mark == sum(
        row.tally.calls
        for row in view.stage_rows
        if row.state == "done" and row.stage in run.stages[run.stages.index(stage) :]
    )
    assert (bench.used(caller), len(bench.receipts(run)), view.verification.round) == (1, 1, len(UNUSABLE))


@AT_EACH_STAGE
def test_a_stage_that_is_cancelled_ends_at_once_keeps_its_unit_and_leaves_a_receipt(
    bench: VerificationBench, pipeline: Pipeline, stage: Stage
) -> None:
    caller = bench.tenant()
    run = bench.ask(pipeline, caller, stage=stage)
    bench.work_up_to(run, stage)
    bench.sim.fault("hang", times=None)
    mark = bench.calls()
    working = bench.start(run, stage)
    bench.await_call(mark)
    view = bench.desk.verifications.cancel(run.request_id, principal=caller, wait_s=5)
    assert view.verification.state is CANCELLED
    working.join(5)
    assert not working.is_alive()
    assert bench.attempts(run)[-1] == (stage.value, 1, "abandoned")
    receipt = json.loads(bench.receipts(run)[0])
    assert receipt["finish_reason"] == "cancelled"
    assert receipt["stages_done"] == [before.value for before in run.stages[: run.stages.index(stage)]]
    assert receipt["tokens_in"] == view.usage.tokens_in > 0
    assert (bench.used(caller), view.verification.unit is not None) == (1, True)
    with pytest.raises(Conflict):
        bench.desk.verifications.resume(run.request_id, principal=caller)


def test_one_that_waits_is_cancelled_without_a_worker_and_none_takes_it_up(bench: VerificationBench) -> None:
    caller = bench.tenant()
    run = bench.ask(Pipeline.FORWARD, caller)
    assert bench.desk.verifications.cancel(run.request_id, principal=caller).verification.state is CANCELLED
    mark = bench.calls()
    bench.work(run, Stage.EXTRACT)
    assert (bench.calls(), bench.attempts(run), bench.used(caller), len(bench.receipts(run))) == (mark, [], 1, 1)
    again = bench.desk.verifications.cancel(run.request_id, principal=caller)
    assert (again.verification.state, len(bench.receipts(run))) == (CANCELLED, 1)


def test_its_time_ends_a_stage_that_takes_too_long(make_bench: Callable[..., VerificationBench]) -> None:
    bench = make_bench(VERIFICATION_DEADLINE_S="1")
    caller = bench.tenant()
    run = bench.ask(Pipeline.FORWARD, caller)
    bench.sim.fault("hang", times=None)
    bench.work(run, Stage.EXTRACT)
    bench.sim.control.delete("/faults").raise_for_status()
    view = bench.look(run)
    assert (view.verification.state, view.verification.fault_code) == (FAILED, "internal_error")
    assert view.verification.duration_ms is not None
    assert view.verification.duration_ms < 2500
    assert bench.used(caller) == 0


def test_a_tick_ends_what_no_worker_came_for_and_it_can_be_resumed(bench: VerificationBench) -> None:
    caller = bench.tenant()
    run = bench.ask(Pipeline.FORWARD, caller)
    bench.run("UPDATE verifications SET deadline_at = now() - interval '6 seconds' WHERE id = %s", run.id)
    _expire(bench)
    assert bench.look(run).verification.state is FAILED
    assert bench.used(caller) == 0
    _expire(bench)
    assert bench.used(caller) == 0
    bench.desk.verifications.resume(run.request_id, principal=caller)
    assert bench.done(run).verification.state is COMPLETE
    assert (bench.used(caller), bench.attempts(run)[0]) == (1, ("extract", 1, "done"))


def test_one_that_failed_by_a_tick_and_was_rung_afterwards_can_be_resumed_too(bench: VerificationBench) -> None:
    caller = bench.tenant()
    run = bench.ask(Pipeline.FORWARD, caller)
    bench.run("UPDATE verifications SET deadline_at = now() - interval '6 seconds' WHERE id = %s", run.id)
    _expire(bench)
    bench.work(run, Stage.EXTRACT)
    bench.desk.verifications.resume(run.request_id, principal=caller)
    assert bench.done(run).verification.state is COMPLETE


def test_a_tick_ends_what_was_to_be_cancelled_by_a_worker_that_is_gone(bench: VerificationBench) -> None:
    caller = bench.tenant()
    run = bench.ask(Pipeline.FORWARD, caller)
    with bench.worker.database.transaction() as tx:
        bench.worker.verification_engine._begin(tx, run.id, Stage.EXTRACT)
    view = bench.desk.verifications.cancel(run.request_id, principal=caller, wait_s=0)
    assert view.verification.state is VerificationState.RUNNING
    bench.run("UPDATE verifications SET cancel_asked_at = now() - interval '6 seconds' WHERE id = %s", run.id)
    _expire(bench)
    assert bench.look(run).verification.state is CANCELLED
    assert (bench.used(caller), bench.attempts(run)) == (1, [("extract", 1, "abandoned")])


@BOTH
def test_what_happens_is_told_in_order_without_a_gap(bench: VerificationBench, pipeline: Pipeline) -> None:
    run = bench.ask(pipeline, bench.tenant())
    bench.done(run)
    told = [progress for progress in bench.desk.verifications.moves(run, idle_s=1) if progress is not None]
    assert [progress.seq for progress in told] == list(range(1, len(told) + 1))
    stages = [name for stage in run.stages for name in (f"stage_started {stage}", f"stage_done {stage}")]
    said = [" ".join(filter(None, (progress.name, progress.facts.get("stage")))) for progress in told]
    assert said == ["created", "started", *stages, "completed"]
    assert told[-1].state is COMPLETE


def test_a_key_that_made_one_brings_it_again_and_takes_no_second_unit(bench: VerificationBench) -> None:
    caller = bench.tenant()
    claim = bench.desk.idempotency.begin(KeyRef(caller.tenant, "key-1"), fingerprint=b"f" * 32)
    assert isinstance(claim, KeyClaim)
    first = bench.desk.verifications.forward(SUBMITTED, principal=caller, body=b"{}", claim=claim)
    bench.run("UPDATE idempotency_keys SET created_at = created_at - interval '1 hour'")
    again = bench.desk.idempotency.begin(KeyRef(caller.tenant, "key-1"), fingerprint=b"f" * 32)
    assert isinstance(again, KeyClaim)
    second = bench.desk.verifications.forward(SUBMITTED, principal=caller, body=b"{}", claim=again)
    assert (second.request_id, bench.used(caller)) == (first.request_id, 1)


def test_nobody_sees_or_ends_what_is_anothers(bench: VerificationBench) -> None:
    run, stranger = bench.ask(Pipeline.FORWARD, bench.tenant()), bench.tenant()
    with pytest.raises(NotFound):
        bench.desk.verifications.get(run.request_id, tenant=stranger.tenant)
    with pytest.raises(NotFound):
        bench.desk.verifications.cancel(run.request_id, principal=stranger)
    with pytest.raises(NotFound):
        bench.desk.verifications.resume(run.request_id, principal=stranger)
    assert bench.desk.verifications.listing(tenant=stranger.tenant) == []


def test_what_has_aged_is_deleted_and_its_figures_and_receipt_stay(bench: VerificationBench) -> None:
    caller = bench.tenant()
    young = bench.done(bench.ask(Pipeline.FORWARD, caller)).verification
    old = bench.done(bench.ask(Pipeline.FORWARD, caller))
    run = old.verification
    bench.run("UPDATE verifications SET ended_at = ended_at - interval '8 days' WHERE id = %s", run.id)
    with bench.worker.database.transaction() as tx:
        bench.worker.verifications.prune(tx)
    left = bench.look(run)
    assert (left.submitted, left.forward, left.verification.is_erased) == (None, None, True)
    assert (left.usage, left.receipt_id, len(left.stage_rows)) == (old.usage, old.receipt_id, 3)
    assert bench.look(young).forward is not None
    kept = bench.rows("SELECT output FROM verification_stages WHERE verification_id = %s", run.id)
    assert [row["output"] for row in kept] == [None] * 3
    [row] = bench.rows("SELECT subject, context, request_salt, input_salt FROM verifications WHERE id = %s", run.id)
    assert set(row.values()) == {None}
    assert (old.salts.keys(), left.salts) == ({"request", "input", "claims", "verdicts", "output"}, {})
    assert bench.rows("SELECT 1 FROM receipt_salts WHERE receipt_id = %s", old.receipt_id) == []
    assert bench.look(young).salts.keys() == old.salts.keys()


def test_a_test_key_asks_the_simulated_model_and_counts_apart(bench: VerificationBench) -> None:
    caller = bench.tenant(Mode.TEST)
    assert bench.done(bench.ask(Pipeline.FORWARD, caller)).verification.state is COMPLETE
    live = bench.desk.quotas.standing(type(caller)(caller.tenant, Mode.LIVE, caller.scopes, caller.tier))
    assert (bench.used(caller), live.used) == (1, 0)


def test_without_a_simulated_model_a_test_key_is_refused_before_a_unit_is_taken(
    make_bench: Callable[..., VerificationBench],
) -> None:
    bench = make_bench(SIM_OPENAI_BASE_URL="")
    caller = bench.tenant(Mode.TEST)
    with pytest.raises(Unavailable) as refused:
        bench.ask(Pipeline.FORWARD, caller)
    assert (refused.value.code, bench.used(caller)) == ("upstream_error", 0)


def _expire(bench: VerificationBench) -> None:
    bench.worker.verifications.expire()
