"""What the doctor says when rows were changed behind the product's back, and that it says nothing without reason."""

from __future__ import annotations

import pytest

from cli import records
from cli.findings import Finding, Level
from config.queues import QUEUES
from config.schedule import TICKS
from shared.bootstrap import Container
from shared.kernel.owner import Owner
from shared.ledger import service as ledger
from shared.ledger.model import DebtReason
from shared.receipts.audit import PAGE, audit_log
from shared.receipts.log import EpochRules
from shared.work.model import StepRef
from shared.work.service import Work
from tests.integration.watch.conftest import AN_OPEN_PAYOUT, Vandal
from tests.integration.work.notary import Notary

JOB = Owner("job", 1)
CLOSES_AT_TEN = EpochRules(max_receipts=10, max_age_s=3600, targets=())


def faults(findings: list[Finding]) -> list[str]:
    assert all(found.remedy for found in findings if found.level is not Level.OK)
    return [found.detail for found in findings if found.level is Level.FAULT]


def log_faults(container: Container) -> list[str]:
    return faults(records.log(container, on_progress=lambda _done, _size: None))


def motion_faults(container: Container) -> list[str]:
    return faults(records.motion(container, patience_s=0))


# -- the log


@pytest.fixture
def grown(notary: Notary) -> Notary:
    """A log of 23 receipts in four batches, with two closed epochs."""
    for count in (1, 8, 11, 3):
        notary.issue(count)
        notary.log().integrate()
    notary.close_epochs(CLOSES_AT_TEN)
    return notary


def test_an_empty_log_and_a_grown_one_are_sound(container: Container, notary: Notary) -> None:
    assert log_faults(container) == []
    notary.log().integrate()
    assert log_faults(container) == []
    notary.issue(23)
    notary.log().integrate()
    notary.close_epochs(CLOSES_AT_TEN)
    (found,) = records.log(container, on_progress=lambda _done, _size: None)
    assert (found.level, found.detail[:11]) == (Level.OK, "23 receipts")


def test_a_log_of_more_than_one_page_is_compared_to_its_end(
    container: Container, notary: Notary, vandal: Vandal
) -> None:
    notary.issue(PAGE + 5)
    notary.log().integrate()
    told: list[tuple[int, int]] = []
    assert faults(records.log(container, on_progress=lambda done, size: told.append((done, size)))) == []
    assert told == [(PAGE, PAGE + 5), (PAGE + 5, PAGE + 5)]
    vandal.run("UPDATE log_nodes SET hash = sha256(hash) WHERE pos = (SELECT max(pos) FROM log_nodes)")
    assert len(log_faults(container)) == 1


DAMAGE = {
    "a flipped node": (
        "UPDATE log_nodes SET hash = set_byte(hash, 0, get_byte(hash, 0) # 1) WHERE pos = 7",
        "from position 7",
    ),
    "a lost node": ("DELETE FROM log_nodes WHERE pos = 4", "from position 4"),
    "a node too many": ("INSERT INTO log_nodes VALUES (900, sha256('x'))", "beyond the log's size"),
    "another peak": ("UPDATE log_state SET peaks[1] = sha256('x')", "the peaks"),
    "a receipt rewritten": (
        "UPDATE receipts SET body = replace(convert_from(body, 'UTF8'), '10000', '10001')::bytea WHERE leaf_index = 5",
        "leaf 5 is not what its hash says",
    ),
    "a signature replaced": (
        "UPDATE receipts SET signature = sha512('x') WHERE leaf_index = 3",
        "leaf 3 is not signed by its key",
    ),
    "a receipt removed": ("DELETE FROM receipts WHERE leaf_index = 9", "receipts are missing"),
    "a checkpoint's root": ("UPDATE checkpoints SET root = sha256('x') WHERE size = 20", "size 20 has another root"),
    "a checkpoint's note": (
        "UPDATE checkpoints SET note = (SELECT note FROM checkpoints WHERE size = 9) WHERE size = 20",
        "another size or root",
    ),
    "a checkpoint's signature": (
        r"UPDATE checkpoints SET note = regexp_replace(note, '(— [^ ]+ [^ ]{12})[^ ]{4}', '\1AAAA') WHERE size = 9",
        "size 9 does not verify",
    ),
    "a checkpoint unsigned": (
        "UPDATE checkpoints SET note = replace(note, '— log.example', '— log.elsewhere') WHERE size = 9",
        "not signed by this log's key",
    ),
    "an epoch's root": ("UPDATE epochs SET root = sha256('x') WHERE number = 2", "epoch 2 closed on another root"),
}


@pytest.mark.usefixtures("grown")
@pytest.mark.parametrize(("statement", "said"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_to_the_log_is_found_and_named(container: Container, vandal: Vandal, statement: str, said: str) -> None:
    assert log_faults(container) == []
    vandal.run(statement)
    found = log_faults(container)
    assert any(said in text for text in found), found


@pytest.mark.usefixtures("grown")
def test_another_leaf_shows_in_everything_above_it(container: Container, vandal: Vandal) -> None:
    vandal.run("UPDATE receipts SET receipt_hash = sha256('x') WHERE leaf_index = 0")
    text = "\n".join(audit_log(container.database, container.log_signer).faults)
    for said in ("stored nodes", "the peaks", "checkpoint of size 23", "epoch 1", "leaf 0 is not signed"):
        assert said in text


def test_a_log_under_another_name_is_not_this_one(container: Container, vandal: Vandal, grown: Notary) -> None:
    vandal.run("UPDATE checkpoints SET note = replace(note, 'log.example', 'log.elsewhere') WHERE size = 1")
    assert any("LOG_ORIGIN" in text for text in log_faults(container))


# -- the books


@pytest.fixture
def booked(container: Container) -> None:
    """A job that paid 10,000 msat, of which 4,000 are owed back."""
    with container.database.transaction() as tx:
        ledger.receive(tx, JOB, ref="a hash", amount_msat=10_000)
        ledger.owe_back(tx, JOB, DebtReason.UNUSED, ref="work", amount_msat=4_000)


@pytest.mark.usefixtures("booked")
def test_true_books_are_in_order(container: Container) -> None:
    assert faults(records.books(container)) == []


@pytest.mark.usefixtures("booked")
def test_a_removed_posting_is_found(container: Container, vandal: Vandal) -> None:
    vandal.run("DELETE FROM postings WHERE account = 'node'")
    text = "\n".join(faults(records.books(container)))
    assert "sum to -10000 msat" in text
    assert "1 entries do not sum to 0" in text


@pytest.mark.usefixtures("booked")
def test_an_entry_that_lost_all_its_postings_is_found_though_the_sum_is_zero(
    container: Container, vandal: Vandal
) -> None:
    vandal.run("DELETE FROM postings WHERE entry_id = (SELECT min(id) FROM entries)")
    text = "\n".join(faults(records.books(container)))
    assert "instead of 0" not in text
    assert "1 entries do not sum to 0 or lack postings" in text


@pytest.mark.usefixtures("booked")
@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM debts",
        "UPDATE debts SET amount_msat = 3999",
        "UPDATE debts SET state = 'paid', payout_id = 1",
        "UPDATE debts SET owner_id = 2",
    ],
)
def test_debts_that_are_not_what_the_account_says_are_found(
    container: Container, vandal: Vandal, statement: str
) -> None:
    vandal.run(statement)
    assert any("owners differ" in text for text in faults(records.books(container)))


@pytest.mark.usefixtures("booked")
def test_more_moved_than_was_paid_is_found(container: Container, vandal: Vandal) -> None:
    vandal.run("UPDATE postings SET amount_msat = 10001 WHERE account = 'customer' AND amount_msat > 0")
    assert any("more was moved than they had paid" in text for text in faults(records.books(container)))


@pytest.mark.usefixtures("booked")
def test_money_that_an_ended_job_still_holds_is_found(container: Container, vandal: Vandal) -> None:
    insert = "INSERT INTO jobs (public_id, request, address_hash, eval_amount_msat) VALUES ('job_x', 'x', 'x', 1) RETURNING id"
    with container.database.transaction() as tx:
        row = tx.one(insert)
    assert row == {"id": JOB.id}
    assert faults(records.books(container)) == []
    vandal.run("UPDATE jobs SET state = 'failed', error_message = 'x', ended_at = now()")
    assert any("1 ended jobs hold money" in text and "job_x" not in text for text in faults(records.books(container)))


# -- the work


@pytest.fixture
def in_motion(container: Container, work: Work) -> None:
    """Every tick ran just now and every queue is consumed."""
    for queue in QUEUES:
        work.sing(queue.name)
    for tick in TICKS:
        assert work.tick(tick, lambda _tx: None)


def start_step(work: Work, container: Container) -> None:
    with container.database.transaction() as tx:
        assert work.start(tx, StepRef("job", 1, "evaluate"))


def test_a_service_that_nobody_serves_is_not_well(container: Container) -> None:
    text = "\n".join(motion_faults(container))
    for queue in QUEUES:
        assert queue.name in text
    assert "work.rescue has never run" in text
    assert "work.prune" not in text


@pytest.mark.usefixtures("in_motion")
def test_work_in_motion_needs_no_hand(container: Container, work: Work) -> None:
    start_step(work, container)
    assert motion_faults(container) == []


STUCK = {
    "a queued step": (
        "UPDATE steps SET not_before = now() - interval '10 minutes'",
        "1 × job.evaluate queued, the oldest due for 600 s",
    ),
    "a dead owner": (
        "UPDATE steps SET state = 'running', started_at = now(), lease_until = now() - interval '10 minutes'",
        "1 steps run past their lease",
    ),
    "a step whose owner could not be given up": (
        "UPDATE steps SET state = 'quarantined', fault = 'x; giving up raised KeyError', ended_at = now() - interval '10 minutes'",
        "1 × job.evaluate quarantined, the latest 10 min ago; 1 could not be given up",
    ),
    "an outbox row": ("UPDATE outbox SET available_at = now() - interval '10 minutes'", "2 outbox rows are due"),
    "a tick": (
        "UPDATE schedule SET last_run = now() - interval '10 minutes' WHERE name = 'log.integrate'",
        "log.integrate last ran",
    ),
    "a silent queue": (
        "UPDATE canaries SET seen_at = now() - interval '2 minutes' WHERE queue = 'llm'",
        "nobody has consumed llm",
    ),
    "a receipt that waits": (
        "UPDATE receipts SET issued_at = now() - interval '10 minutes'",
        "1 receipts wait for the log",
    ),
}


@pytest.mark.usefixtures("in_motion")
@pytest.mark.parametrize(("statement", "said"), STUCK.values(), ids=STUCK.keys())
def test_what_is_stuck_is_found_and_named(
    container: Container, work: Work, notary: Notary, vandal: Vandal, statement: str, said: str
) -> None:
    start_step(work, container)
    notary.issue(1)
    vandal.run(statement)
    (text,) = motion_faults(container)
    assert said in text


@pytest.mark.usefixtures("in_motion")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE steps SET state = 'quarantined', ended_at = now()",
        "UPDATE steps SET state = 'running', started_at = now() - interval '2 hours', lease_until = now() + interval '1 minute'",
        "UPDATE schedule SET last_run = now() - interval '1 day' WHERE name = 'work.prune'",
    ],
)
def test_what_may_be_right_is_a_warning(container: Container, work: Work, vandal: Vandal, statement: str) -> None:
    start_step(work, container)
    vandal.run(statement)
    findings = records.motion(container, patience_s=0)
    assert faults(findings) == []
    assert [found.level for found in findings].count(Level.WARNING) == 1


@pytest.mark.usefixtures("in_motion")
def test_a_step_that_waits_for_its_time_is_not_stuck(container: Container, work: Work, vandal: Vandal) -> None:
    start_step(work, container)
    vandal.run("UPDATE steps SET created_at = now() - interval '1 day', not_before = now() + interval '1 minute'")
    assert motion_faults(container) == []


@pytest.mark.usefixtures("in_motion")
def test_a_database_that_nobody_accepted_after_its_restore_is_named(container: Container, vandal: Vandal) -> None:
    assert motion_faults(container) == []
    vandal.run("UPDATE database_identity SET timeline = timeline + 1")
    (found,) = motion_faults(container)
    assert "no payout is sent" in found


@pytest.mark.usefixtures("in_motion")
def test_a_payout_that_takes_too_long_or_needs_somebody_is_named(container: Container, vandal: Vandal) -> None:
    vandal.run(AN_OPEN_PAYOUT)
    assert motion_faults(container) == []
    vandal.run("UPDATE payouts SET needs_review = true")
    assert [text for text in motion_faults(container) if "look at the node" in text]
    vandal.run("UPDATE payouts SET needs_review = false, created_at = now() - interval '61 minutes'")
    assert motion_faults(container) == ["a payout that was claimed 61 min ago has not ended"]
    vandal.run("UPDATE payouts SET state = 'failed', fault = 'NO_ROUTE', ended_at = now()")
    assert motion_faults(container) == []


@pytest.mark.usefixtures("in_motion")
def test_an_epoch_that_should_have_closed_is_found(container: Container, notary: Notary, vandal: Vandal) -> None:
    notary.issue(1)
    notary.log().integrate()
    notary.close_epochs(CLOSES_AT_TEN)
    assert motion_faults(container) == []
    vandal.run("UPDATE epochs SET opened_at = now() - interval '2 hours'")
    assert any("the open epoch holds receipts" in text for text in motion_faults(container))


@pytest.mark.usefixtures("in_motion")
def test_a_failed_anchor_needs_a_hand_until_a_later_one_covers_it(
    container: Container, notary: Notary, vandal: Vandal
) -> None:
    notary.issue(20)
    notary.log().integrate()
    notary.close_epochs(EpochRules(max_receipts=10, max_age_s=3600, targets=("witness",)))
    vandal.run("UPDATE anchors SET state = 'failed', ended_at = now() WHERE size = 10")
    assert any("1 anchors failed" in text for text in motion_faults(container))
    vandal.run("UPDATE anchors SET state = 'final', evidence = 'x', target_key = 'x', ended_at = now() WHERE size = 20")
    assert motion_faults(container) == []
