"""What cannot be ended, done or reached as it should: it keeps nobody else waiting, and costs nobody twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NoReturn

import pytest

from shared.access.model import Mode, Principal
from shared.bootstrap import Container, Role, build
from shared.idempotency.model import Claim as KeyClaim
from shared.idempotency.model import KeyRef
from shared.kernel.errors import Conflict, Forbidden, Unavailable
from shared.sandbox.model import Language, Probe, SandboxUnavailable
from shared.verification.engine import VerificationEngine
from shared.verification.model import Pipeline, Stage, Verification, VerificationState
from shared.work.model import Claim, StepRef
from tests.integration.verification.verification_bench import SUBMITTED, VerificationBench

COMPLETE, FAILED, CANCELLED = VerificationState.COMPLETE, VerificationState.FAILED, VerificationState.CANCELLED
QUEUED = VerificationState.QUEUED


class AwaySandbox:
    """A sandbox that does not start."""

    def run(self, language: Language, code: str, probes: Sequence[Probe], **_: Any) -> NoReturn:  # noqa: ARG002 - the port has them
        """Refuse."""
        raise SandboxUnavailable("the sandbox does not start")


class DeadDatabase:
    """A database that does not answer, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    @contextmanager
    def transaction(self) -> Iterator[NoReturn]:
        """Refuse."""
        self.asked += 1
        raise Unavailable("the database does not answer")
        yield


@pytest.fixture
def worker_without_sandbox(
    request: pytest.FixtureRequest,
) -> Callable[[VerificationBench], Container]:
    """Makes a worker whose sandbox does not start."""

    def make(of: VerificationBench) -> Container:
        container = build(of.settings, Role.WORKER)
        vars(container)["sandboxes"] = AwaySandbox()
        request.addfinalizer(container.database.close)
        for model_api in container.verification_engine._model_apis.values():
            request.addfinalizer(model_api.close)  # type: ignore[attr-defined] # the client of a real API
        return container

    return make


def have_overdue(bench: VerificationBench, of: Verification, *, since_s: int = 6) -> None:
    bench.run("UPDATE verifications SET deadline_at = now() - make_interval(secs => %s) WHERE id = %s", since_s, of.id)


def state_of(bench: VerificationBench, of: Verification) -> VerificationState:
    return bench.look(of).verification.state


def claimed(bench: VerificationBench, caller: Principal, key: str) -> KeyClaim:
    claim = bench.desk.idempotency.begin(KeyRef(caller.tenant, key), fingerprint=b"f" * 32)
    assert isinstance(claim, KeyClaim)
    return claim


def have_fail(bench: VerificationBench, of: Verification, stage: Stage = Stage.EXTRACT) -> None:
    bench.sim.fault("refusal", times=None)
    bench.work(of, stage)
    bench.sim.control.delete("/faults").raise_for_status()
    assert state_of(bench, of) is FAILED


def test_one_that_cannot_be_ended_keeps_no_other_from_its_end(bench: VerificationBench) -> None:
    broken, other = (bench.ask(Pipeline.FORWARD, bench.tenant()) for _ in range(2))
    have_overdue(bench, broken, since_s=60)
    have_overdue(bench, other)
    bench.run("UPDATE quota_units SET given_back_at = now() WHERE id = %s", broken.unit)
    bench.worker.verifications.expire()
    assert (state_of(bench, broken), state_of(bench, other)) == (QUEUED, FAILED)
    bench.run("UPDATE quota_units SET given_back_at = NULL WHERE id = %s", broken.unit)
    bench.worker.verifications.expire()
    assert state_of(bench, broken) is FAILED


def test_one_that_somebody_holds_is_passed_over_and_ended_by_the_next_tick(bench: VerificationBench) -> None:
    held, other = (bench.ask(Pipeline.FORWARD, bench.tenant()) for _ in range(2))
    have_overdue(bench, held, since_s=60)
    have_overdue(bench, other)
    with bench.connected() as connection, connection.transaction():
        connection.execute("SELECT 1 FROM verifications WHERE id = %s FOR UPDATE", (held.id,))
        bench.worker.verifications.expire()
        assert (state_of(bench, held), state_of(bench, other)) == (QUEUED, FAILED)
    bench.worker.verifications.expire()
    assert state_of(bench, held) is FAILED


def test_one_whose_cancelling_cannot_be_proven_fails_and_its_unit_goes_back(bench: VerificationBench) -> None:
    caller = bench.tenant()
    run = bench.ask(Pipeline.FORWARD, caller)
    bench.work(run, Stage.EXTRACT)
    bench.run("UPDATE verification_stages SET output = '{}' WHERE verification_id = %s", run.id)
    bench.run("UPDATE verifications SET cancel_asked_at = now() - interval '6 seconds' WHERE id = %s", run.id)
    bench.worker.verifications.expire()
    [row] = bench.rows("SELECT state, error_code FROM verifications WHERE id = %s", run.id)
    assert row == {"state": "failed", "error_code": "internal_error"}
    assert (bench.used(caller), bench.receipts(run)) == (0, [])


def test_a_test_key_neither_cancels_nor_resumes_what_is_live(bench: VerificationBench) -> None:
    caller = bench.tenant()
    test_key = replace(caller, mode=Mode.TEST)
    run = bench.ask(Pipeline.FORWARD, caller)
    with pytest.raises(Forbidden):
        bench.desk.verifications.cancel(run.request_id, principal=test_key)
    have_fail(bench, run)
    with pytest.raises(Forbidden):
        bench.desk.verifications.resume(run.request_id, principal=test_key)
    assert (state_of(bench, run), bench.used(caller), bench.used(test_key)) == (FAILED, 0, 0)


def test_a_live_key_resumes_a_test_run_of_its_tenant_for_a_unit_of_the_test_figures(bench: VerificationBench) -> None:
    test_key = bench.tenant(Mode.TEST)
    live = replace(test_key, mode=Mode.LIVE)
    run = bench.ask(Pipeline.FORWARD, test_key)
    have_fail(bench, run)
    bench.desk.verifications.resume(run.request_id, principal=live)
    assert (bench.used(test_key), bench.used(live)) == (1, 0)
    assert bench.desk.verifications.cancel(run.request_id, principal=live).verification.state is CANCELLED


def test_a_key_under_which_one_was_resumed_resumes_nothing_again(bench: VerificationBench) -> None:
    caller = bench.tenant()
    run = bench.ask(Pipeline.FORWARD, caller)
    have_fail(bench, run)
    bench.desk.verifications.resume(run.request_id, principal=caller, claim=claimed(bench, caller, "resume"))
    have_fail(bench, run)
    again = bench.desk.verifications.resume(run.request_id, principal=caller, claim=claimed(bench, caller, "resume"))
    assert (again.request_id, again.state, again.round, bench.used(caller)) == (run.request_id, FAILED, 1, 0)
    bench.desk.verifications.resume(run.request_id, principal=caller, claim=claimed(bench, caller, "another"))
    assert (state_of(bench, run), bench.used(caller)) == (QUEUED, 1)


def test_a_request_repeated_under_its_key_has_a_failed_run_go_on(bench: VerificationBench) -> None:
    caller = bench.tenant()

    def asked() -> Verification:
        claim = claimed(bench, caller, "once")
        return bench.desk.verifications.forward(SUBMITTED, principal=caller, body=b"{}", claim=claim)

    run = asked()
    have_fail(bench, run)
    assert bench.used(caller) == 0
    again = asked()
    assert (again.request_id, again.state, again.round, bench.used(caller)) == (run.request_id, QUEUED, 1, 1)
    assert (asked().round, bench.used(caller)) == (1, 1), "one that goes on is not taken up twice"
    bench.work(run, Stage.EXTRACT)
    assert asked().stage is Stage.VERIFY


def test_a_failed_run_whose_code_is_gone_is_told_as_it_is(bench: VerificationBench) -> None:
    caller = bench.tenant()
    claim = claimed(bench, caller, "gone")
    run = bench.desk.verifications.forward(SUBMITTED, principal=caller, body=b"{}", claim=claim)
    have_fail(bench, run)
    bench.run(
        "UPDATE verifications SET erased_at = now(), subject = NULL, context = NULL, request_salt = NULL,"
        " input_salt = NULL WHERE id = %s",
        run.id,
    )
    claim = claimed(bench, caller, "gone")
    again = bench.desk.verifications.forward(SUBMITTED, principal=caller, body=b"{}", claim=claim)
    assert (again.state, bench.used(caller)) == (FAILED, 0)


def test_a_run_that_is_resumed_asks_the_model_of_that_moment(bench: VerificationBench) -> None:
    caller = bench.tenant()
    run = bench.ask(Pipeline.FORWARD, caller)
    have_fail(bench, run)
    bench.run("UPDATE verifications SET model = 'withdrawn' WHERE id = %s", run.id)
    assert bench.desk.verifications.resume(run.request_id, principal=caller).model == run.model
    assert bench.done(run).verification.state is COMPLETE


def test_a_stage_that_was_put_off_is_done_at_once_when_its_run_is_resumed(patient_bench: VerificationBench) -> None:
    bench = patient_bench
    caller = bench.tenant()
    run = bench.ask(Pipeline.FORWARD, caller)
    bench.sim.fault("status:500", times=None)
    bench.work(run, Stage.EXTRACT)
    bench.sim.control.delete("/faults").raise_for_status()
    waiting = "SELECT state, attempts, not_before > now() AS is_put_off FROM steps WHERE owner_kind = 'forward' AND owner_id = %s"
    assert bench.rows(waiting, run.id) == [{"state": "queued", "attempts": 1, "is_put_off": True}]
    have_overdue(bench, run)
    bench.worker.verifications.expire()
    bench.desk.verifications.resume(run.request_id, principal=caller)
    assert bench.rows(waiting, run.id) == [{"state": "queued", "attempts": 0, "is_put_off": False}]
    with pytest.raises(Conflict):
        bench.desk.verifications.resume(run.request_id, principal=caller)
    assert bench.done(run).verification.state is COMPLETE
    assert bench.used(caller) == 1


def test_a_sandbox_that_does_not_start_is_waited_for_and_each_try_counts(
    patient_bench: VerificationBench, worker_without_sandbox: Callable[[VerificationBench], Container]
) -> None:
    bench = patient_bench
    run = bench.ask(Pipeline.FORWARD, bench.tenant())
    bench.work_up_to(run, Stage.VERIFY)
    bench.work(run, Stage.VERIFY, container=worker_without_sandbox(bench))
    [step] = bench.rows(
        """SELECT state, attempts, not_before > now() + interval '25 seconds' AS is_put_off
             FROM steps WHERE owner_kind = 'forward' AND owner_id = %s AND name = 'verify'""",
        run.id,
    )
    assert step == {"state": "queued", "attempts": 1, "is_put_off": True}


def test_a_sandbox_that_never_starts_is_our_fault_and_the_unit_goes_back(
    bench: VerificationBench, worker_without_sandbox: Callable[[VerificationBench], Container]
) -> None:
    caller = bench.tenant()
    run = bench.ask(Pipeline.FORWARD, caller)
    bench.work_up_to(run, Stage.VERIFY)
    bench.work(run, Stage.VERIFY, container=worker_without_sandbox(bench))
    found = bench.look(run).verification
    assert (found.state, found.fault_code, bench.used(caller)) == (FAILED, "internal_error", 0)


def test_a_database_that_does_not_answer_is_not_asked_at_every_token(bench: VerificationBench) -> None:
    run = bench.ask(Pipeline.FORWARD, bench.tenant())
    worker, dead = bench.worker, DeadDatabase()
    engine = VerificationEngine(
        dead,  # type: ignore[arg-type] # as much of one as a dead one has
        verification_endings=worker.verification_endings,
        model_apis={},
        prices=worker.verification_engine._prices,
        sandboxes=worker.sandboxes,
        events=worker.events,
        work=worker.work,
        clock=worker.clock,
    )
    with worker.database.transaction() as tx:
        begun = worker.verification_engine._begin(tx, run.id, Stage.EXTRACT)
    assert begun is not None
    check = engine._wanted(begun, Claim(1, StepRef("forward", run.id, "extract"), fence=1, attempts=1, cid="", age_s=0))
    for _ in range(20):
        check()
    assert dead.asked == 1
