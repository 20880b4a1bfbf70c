"""A process may die at any point: what was accepted is done once, charged once, and no finished stage is done again."""

from __future__ import annotations

import threading

import pytest

from shared.kernel.failpoints import EFFECTS
from shared.verification.model import Pipeline, Stage, Verification, VerificationState
from tests.integration.verification.mortals import Mortals
from tests.integration.verification.verification_bench import EVERY_STAGE, WRONG_ADD, VerificationBench

DIED = 137
METHODS = {
    (Pipeline.FORWARD, Stage.VERIFY): "verify_claims",
    (Pipeline.REVERSE, Stage.VERIFY): "verify_generated",
}
WHEN = ("before", "after")


def have_die(bench: VerificationBench, mortals: Mortals, of: Verification, stage: Stage, failpoint: str) -> None:
    """Have a worker's process die at a point of one stage, and its lease lapse."""
    act = METHODS.get((of.pipeline, stage), stage.value)
    code = mortals.have_done(act, settings=bench.environment, failpoints=f"{failpoint}=crash", id=of.id)
    assert code == DIED
    threading.Event().wait(float(bench.environment["LEASE_S"]) + 0.1)


def require_done_once(bench: VerificationBench, of: Verification) -> None:
    """The verification is complete, each stage done once, one unit used, one receipt there."""
    view = bench.look(of)
    assert view.verification.state is VerificationState.COMPLETE
    done = [row.stage for row in view.stage_rows if row.state == "done"]
    assert done == list(of.stages)
    assert "running" not in {row.state for row in view.stage_rows}
    assert len(bench.receipts(of)) == 1
    [quota] = bench.rows("SELECT forward + reverse AS used, tokens_in FROM quotas WHERE tenant = %s", of.tenant)
    assert quota == {"used": 1, "tokens_in": view.usage.tokens_in}


def finish(bench: VerificationBench, of: Verification, *, from_stage: Stage) -> None:
    """Have another worker do what is left."""
    for stage in of.stages[of.stages.index(from_stage) :]:
        bench.work(of, stage)


@pytest.mark.parametrize(("pipeline", "stage"), EVERY_STAGE, ids=[f"{p}-{s}" for p, s in EVERY_STAGE])
def test_a_worker_that_dies_in_a_stage_costs_that_stage_and_nothing_else(
    patient_bench: VerificationBench, mortals: Mortals, pipeline: Pipeline, stage: Stage
) -> None:
    bench = patient_bench
    run = bench.ask(pipeline, bench.tenant(), stage=stage)
    bench.work_up_to(run, stage)
    have_die(bench, mortals, run, stage, "after:llm.complete")
    finish(bench, run, from_stage=stage)
    require_done_once(bench, run)
    others = [(other.value, 1, "done") for other in run.stages if other is not stage]
    of_stage = [(stage.value, 1, "interrupted"), (stage.value, 2, "done")]
    assert sorted(bench.attempts(run)) == sorted([*others, *of_stage])


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("effect", ["verification.start", "step.finish", "db.commit", "step.claim", "quota.tokens"])
def test_a_death_around_an_effect_of_the_last_stage_loses_and_doubles_nothing(
    patient_bench: VerificationBench, mortals: Mortals, effect: str, when: str
) -> None:
    bench = patient_bench
    run = bench.ask(Pipeline.FORWARD, bench.tenant())
    bench.work_up_to(run, Stage.REMEDIATE)
    have_die(bench, mortals, run, Stage.REMEDIATE, f"{when}:{effect}")
    finish(bench, run, from_stage=Stage.REMEDIATE)
    require_done_once(bench, run)


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("effect", ["verification.note", "quota.give_back"])
def test_a_death_while_a_failure_is_noted_gives_the_unit_back_once(
    bench: VerificationBench, mortals: Mortals, effect: str, when: str
) -> None:
    caller = bench.tenant()
    run = bench.ask(Pipeline.FORWARD, caller)
    bench.sim.fault("refusal", times=None)
    have_die(bench, mortals, run, Stage.EXTRACT, f"{when}:{effect}")
    bench.work(run, Stage.EXTRACT)
    assert bench.look(run).verification.state is VerificationState.FAILED
    assert (bench.used(caller), bench.receipts(run)) == (0, [])
    assert "running" not in {state for _, _, state in bench.attempts(run)}


def test_a_stage_at_which_every_worker_dies_is_given_up_and_the_unit_given_back(
    bench: VerificationBench, mortals: Mortals
) -> None:
    caller = bench.tenant()
    run = bench.ask(Pipeline.FORWARD, caller)
    have_die(bench, mortals, run, Stage.EXTRACT, "before:llm.complete")
    mark = bench.calls()
    bench.work(run, Stage.EXTRACT)
    view = bench.look(run)
    assert (view.verification.state, view.verification.fault_code) == (VerificationState.FAILED, "internal_error")
    assert (bench.used(caller), bench.calls()) == (0, mark)
    bench.desk.verifications.resume(run.request_id, principal=caller)
    finish(bench, run, from_stage=Stage.EXTRACT)
    require_done_once(bench, run)


def test_one_that_was_to_be_cancelled_is_cancelled_where_its_stage_is_given_up(
    bench: VerificationBench, mortals: Mortals
) -> None:
    caller = bench.tenant()
    run = bench.ask(Pipeline.FORWARD, caller)
    have_die(bench, mortals, run, Stage.EXTRACT, "before:llm.complete")
    bench.desk.verifications.cancel(run.request_id, principal=caller, wait_s=0)
    bench.work(run, Stage.EXTRACT)
    assert bench.look(run).verification.state is VerificationState.CANCELLED
    assert (bench.used(caller), len(bench.receipts(run))) == (1, 1)


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("effect", ["verification.create", "quota.take", "db.commit"])
def test_a_death_while_one_is_accepted_makes_all_of_it_or_nothing(
    bench: VerificationBench, mortals: Mortals, effect: str, when: str
) -> None:
    caller = bench.tenant()
    told = {"tenant": caller.tenant, "code": WRONG_ADD}
    assert mortals.have_done("create", settings=bench.environment, failpoints=f"{when}:{effect}=crash", **told) == DIED
    made = bench.rows("SELECT id FROM verifications WHERE tenant = %s", caller.tenant)
    queued = bench.rows(
        "SELECT 1 FROM steps WHERE owner_kind = 'forward' AND owner_id = ANY(%s)", [row["id"] for row in made]
    )
    is_committed = (when, effect) == ("after", "db.commit")
    assert len(made) == len(queued) == bench.used(caller) == int(is_committed)


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("act", ["cancel", "resume"])
def test_a_death_while_one_is_cancelled_or_resumed_can_be_repeated(
    bench: VerificationBench, mortals: Mortals, act: str, when: str
) -> None:
    caller = bench.tenant()
    run = bench.ask(Pipeline.FORWARD, caller)
    if act == "resume":
        bench.sim.fault("refusal", times=None)
        bench.work(run, Stage.EXTRACT)
        bench.sim.control.delete("/faults").raise_for_status()
    told = {"tenant": run.tenant, "request_id": run.request_id}
    point = f"{when}:verification.{act}=crash"
    assert mortals.have_done(act, settings=bench.environment, failpoints=point, **told) == DIED
    assert mortals.have_done(act, settings=bench.environment, **told) == 0
    if act == "resume":
        finish(bench, run, from_stage=Stage.EXTRACT)
        require_done_once(bench, run)
    else:
        assert bench.look(run).verification.state is VerificationState.CANCELLED
        assert (bench.used(caller), len(bench.receipts(run))) == (1, 1)


def test_every_effect_of_verification_is_among_the_points_at_which_processes_died_here() -> None:
    own = {effect for effect in EFFECTS if effect.startswith("verification.")}
    assert own == {f"verification.{name}" for name in ("create", "start", "note", "cancel", "resume")}
