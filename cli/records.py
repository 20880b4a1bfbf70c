"""What the product's own rows say of its health: the work, the books and the log. Each figure is judged here, with a remedy."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from cli.findings import Finding, fault, needs_a_hand, ok, warning
from config.queues import QUEUES
from config.schedule import RECONCILE, TICKS, Tick
from config.settings import Settings
from shared.agent import gauges as agent
from shared.agent.reconciliation import LastReconciled, last_reconciled
from shared.agent.sessions import gauges as sessions
from shared.agent.sessions.gauges import SessionGauges
from shared.agent.sessions.model import SessionState
from shared.bootstrap import Container
from shared.db.service import Tx
from shared.inference import gauges as inference
from shared.inference.gauges import RunFaults, RunGauges
from shared.ledger import gauges as ledger
from shared.ledger.gauges import BookFaults, LedgerGauges
from shared.ledger.model import Account
from shared.lightning import gauges as lightning
from shared.lightning.gauges import InvoiceGauges, PayoutGauges
from shared.receipts import gauges as receipts
from shared.receipts.audit import LogAudit, audit_log
from shared.receipts.gauges import ProofGauges
from shared.receipts.model import AnchorState
from shared.verification import gauges as verification
from shared.verification.gauges import VerificationFaults, VerificationGauges
from shared.work import gauges as work
from shared.work.gauges import StepGauge, WorkGauges
from shared.work.model import StepState
from shared.work.service import CANARY_MAX_AGE_S

QUEUED_S = 120.0
"""A step that has been due for so long waits for workers that are too few, or for one that is not there."""
OUTBOX_S = 30.0
RUNNING_S = 3600.0
UNINTEGRATED_S = 60.0
OVERDUE_S = 600.0
PAYOUT_S = 3600.0
RUN_OVERDUE_S = 60.0
ANCHOR_S = 3600.0
RECONCILED_S = 3 * RECONCILE.period_s
SLACK_S = 60.0
"""What a healthy system may be late by: a worker that restarts, a tick that was missed."""
LOOK_AGAIN_S = 0.5
_SHOWN = 10


@dataclass(frozen=True)
class Reading:
    """The figures of the moving parts at one moment."""

    work: WorkGauges
    invoices: InvoiceGauges
    proofs: ProofGauges
    sessions: SessionGauges
    payouts: PayoutGauges

    @classmethod
    def of(cls, tx: Tx) -> Reading:
        """Read them."""
        return cls(
            work.gauges(tx), lightning.gauges(tx), receipts.gauges(tx), sessions.gauges(tx), lightning.payout_gauges(tx)
        )


def motion(container: Container, *, patience_s: float) -> list[Finding]:
    """Judge whether work moves. Just after a start much is late that will be done in a moment: faults get `patience_s` to go."""
    settings = container.settings
    return _patiently(container, lambda tx: motion_findings(Reading.of(tx), settings), patience_s=patience_s)


def motion_findings(reading: Reading, settings: Settings) -> list[Finding]:
    """Judge one reading."""
    return [
        *_steps(reading.work, settings),
        *_doorbells(reading.work),
        *_invoices(reading.invoices),
        *_proofs(reading.proofs, settings),
        *_sessions(reading.sessions),
        *_payouts(reading.payouts),
    ]


def books(container: Container) -> list[Finding]:
    """Audit the ledger against itself and against the jobs."""
    with container.database.transaction() as tx:
        holders = {"jobs": agent.ended_holders(tx), "sessions": sessions.ended_holders(tx)}
        return book_findings(ledger.gauges(tx), ledger.book_faults(tx), holders)


def runs(container: Container, *, patience_s: float) -> list[Finding]:
    """Judge the books of runs. One that is just ending gets `patience_s`."""
    return _patiently(
        container, lambda tx: run_findings(inference.gauges(tx), inference.faults(tx)), patience_s=patience_s
    )


def verifications(container: Container, *, patience_s: float) -> list[Finding]:
    """Judge the books of verifications. One that is just ending gets `patience_s`."""
    return _patiently(
        container,
        lambda tx: verification_findings(verification.gauges(tx), verification.faults(tx)),
        patience_s=patience_s,
    )


def _patiently(container: Container, judge: Callable[[Tx], list[Finding]], *, patience_s: float) -> list[Finding]:
    """Judge again and again until nothing needs a hand, or `patience_s` have passed."""
    pause, clock = threading.Event(), container.clock
    ends_at = clock.monotonic() + patience_s
    while True:
        with container.database.transaction() as tx:
            findings = judge(tx)
        if not needs_a_hand(findings) or clock.monotonic() >= ends_at:
            return findings
        pause.wait(LOOK_AGAIN_S)


def run_findings(gauges: RunGauges, faults: RunFaults) -> list[Finding]:
    """Judge what stands in the rows of runs."""
    found: list[Finding] = []
    if faults.stranded:
        detail = f"{faults.stranded} runs have not ended, and no step is left that would end them"
        remedy = (
            "see what became of their steps (SELECT * FROM steps WHERE owner_kind = 'run' AND state = 'quarantined')"
        )
        found.append(fault("runs", detail, remedy))
    if faults.overdue_s > RUN_OVERDUE_S:
        detail = f"the time of a run was up {_ago(faults.overdue_s)}, and it has not ended"
        found.append(fault("runs", detail, "start beat, worker-tick and worker-inference: they end it"))
    for count, what in ((faults.without_usage, "usage row"), (faults.without_receipt, "receipt")):
        if count:
            detail = f"{count} ended runs have no {what}, though both are written in the transaction that ends a run"
            found.append(
                fault("runs", detail, "keep the database as it is and compare with a backup: rows were deleted")
            )
    if faults.still_sealed:
        detail = f"{faults.still_sealed} ended runs still hold their sealed input"
        found.append(fault("runs", detail, "set their sealed_input to NULL by hand, and find out who kept it"))
    under_way = ", ".join(f"{count} {state}" for state, count in gauges.runs.items())
    return found or [ok("runs", f"{under_way}; every ended one has its usage and its receipt")]


def verification_findings(gauges: VerificationGauges, faults: VerificationFaults) -> list[Finding]:
    """Judge what stands in the rows of verifications."""
    found: list[Finding] = []
    if faults.stranded:
        detail = f"{faults.stranded} verifications have not ended, and no step is left that would end them"
        remedy = "see what became of their steps (SELECT * FROM steps WHERE owner_kind IN ('forward', 'reverse') AND state = 'quarantined')"
        found.append(fault("verifications", detail, remedy))
    if faults.overdue_s > RUN_OVERDUE_S:
        detail = f"the time of a verification was up {_ago(faults.overdue_s)}, and it has not ended"
        remedy = (
            "start beat and worker-tick: they end it; where they run, `verification_not_ended` in their log says why"
        )
        found.append(fault("verifications", detail, remedy))
    if faults.without_receipt:
        detail = f"{faults.without_receipt} ended verifications have no receipt, though it is written in the transaction that ends one"
        remedy = "keep the database as it is and compare with a backup: rows were deleted"
        found.append(fault("verifications", detail, remedy))
    under_way = ", ".join(f"{count} {state}" for state, count in gauges.verifications.items())
    return found or [ok("verifications", f"{under_way}; every one that is complete or cancelled has its receipt")]


def book_findings(gauges: LedgerGauges, faults: BookFaults, ended_holders: dict[str, list[int]]) -> list[Finding]:
    """Judge the books. `ended_holders`: by table, the row ids of what has ended and still holds a balance."""
    remedy = "stop the workers, keep the database as it is, and compare with a backup and the node's own lists"
    payable_msat = -gauges.accounts[Account.DEBTS_PAYABLE]
    owed_msat = sum(debts.amount_msat for debts in gauges.debts.values())
    found: list[Finding] = []
    if gauges.imbalance_msat:
        found.append(fault("ledger", f"all postings sum to {gauges.imbalance_msat} msat instead of 0", remedy))
    if faults.unbalanced_entries:
        found.append(fault("ledger", f"{faults.unbalanced_entries} entries do not sum to 0 or lack postings", remedy))
    if payable_msat != owed_msat or faults.disputed_debtors:
        detail = (
            f"open debts are {owed_msat} msat, debts payable {payable_msat}; {faults.disputed_debtors} owners differ"
        )
        found.append(fault("debts", detail, remedy))
    if faults.overdrawn:
        found.append(fault("ledger", f"of {faults.overdrawn} owners more was moved than they had paid", remedy))
    if faults.overbooked:
        found.append(fault("ledger", f"of {faults.overbooked} owners more is reserved than they have", remedy))
    for table, row_ids in ended_holders.items():
        if not row_ids:
            continue
        named = ", ".join(str(row_id) for row_id in row_ids[:_SHOWN])
        detail = f"{len(row_ids)} ended {table} hold money that is neither earned nor owed back ({table}.id {named})"
        found.append(fault("balances", detail, "read their rows in postings and events; the money is the customer's"))
    if gauges.reservation_overdue_s > OVERDUE_S:
        detail = f"a reservation should have ended {_ago(gauges.reservation_overdue_s)}"
        found.append(warning("balances", detail, "look for the steps of kind request that do not end"))
    if gauges.accounts[Account.SUSPENSE]:
        detail = f"{gauges.accounts[Account.SUSPENSE]} msat belong to nobody we know"
        found.append(warning("suspense", detail, "find out who paid, by the payment hash in entries.ref"))
    owed = sum(debts.debts for debts in gauges.debts.values())
    return found or [ok("ledger", f"balances; {owed} open debts of {owed_msat} msat are what the account says")]


def reconciled(container: Container) -> list[Finding]:
    """Say what the newest comparison with the node's books found."""
    with container.database.transaction() as tx:
        return reconciled_findings(last_reconciled(tx))


def reconciled_findings(last: LastReconciled | None) -> list[Finding]:
    """Judge the newest comparison on record."""
    if last is None:
        detail = "the books have not been compared with the node's yet"
        return [warning("reconcile", detail, "run `lucid reconcile`, or give worker-payout LND_MACAROON_PAYMENTS")]
    if last.differences:
        detail = f"{last.differences} differences from the node's books {_ago(last.age_s)}: {', '.join(last.codes)}"
        return [warning("reconcile", detail, "run `lucid reconcile`, which names each and says what to do")]
    if last.age_s > RECONCILED_S:
        detail = f"the books were last compared with the node's {_ago(last.age_s)}"
        return [
            warning(
                "reconcile", detail, "see that beat and worker-payout run, and look for books_not_compared in its log"
            )
        ]
    return [ok("reconcile", f"the books were those of the node {_ago(last.age_s)}")]


def log(container: Container, *, on_progress: Callable[[int, int], None]) -> list[Finding]:
    """Rebuild the log from the receipts and compare."""
    return log_findings(audit_log(container.database, container.log_signer, on_progress=on_progress))


def log_findings(audit: LogAudit) -> list[Finding]:
    """Judge an audit of the log."""
    if not audit.faults:
        detail = f"{audit.size} receipts rebuild it; {audit.checkpoints} checkpoints and every epoch agree and verify"
        return [ok("log", detail)]
    remedy = (
        "stop worker-tick and worker-anchor before anything more is signed; restore the rows from a backup, never rewrite them;"
        " check that LOG_ORIGIN and LOG_SIGNING_KEY are the service's"
    )
    found = [fault("log", text, remedy) for text in audit.faults[:_SHOWN]]
    if len(audit.faults) > _SHOWN:
        found.append(fault("log", f"and {len(audit.faults) - _SHOWN} more differences", remedy))
    return found


def _steps(read: WorkGauges, settings: Settings) -> list[Finding]:
    found: list[Finding] = []
    lapse_s = 2 * settings.rescue_after_s + SLACK_S
    if read.lapsed and read.lapsed_s > lapse_s:
        detail = (
            f"{read.lapsed} steps run past their lease, the longest for {read.lapsed_s:.0f} s: nobody took them over"
        )
        found.append(
            fault("leases", detail, "start beat and worker-tick, which ring them again, and the step's worker")
        )
    for step in read.of(StepState.QUEUED):
        if step.age_s > QUEUED_S:
            detail = f"{step.steps} × {step.kind}.{step.name} queued, the oldest due for {step.age_s:.0f} s"
            found.append(
                fault("steps", detail, "start or add workers of its queue; see that relay, beat and worker-tick run")
            )
    for step in read.of(StepState.RUNNING):
        if step.age_s > RUNNING_S and not read.lapsed:
            detail = f"{step.kind}.{step.name} has been running for {step.age_s:.0f} s"
            found.append(warning("steps", detail, "restart its worker if this goes on: another takes the step over"))
    quarantined = [_quarantined(step) for step in read.of(StepState.QUARANTINED)]
    if read.outbox_age_s > OUTBOX_S:
        detail = f"{read.outbox_due} outbox rows are due, the oldest for {read.outbox_age_s:.0f} s"
        found.append(fault("outbox", detail, "start relay; if it runs, look at its log and at Redis"))
    waiting = sum(step.steps for step in read.of(StepState.QUEUED))
    running = sum(step.steps for step in read.of(StepState.RUNNING))
    in_motion = f"{waiting} steps queued, {running} running, {read.outbox_due} outbox rows due, none late"
    return (found or [ok("work", in_motion)]) + quarantined


def _quarantined(step: StepGauge) -> Finding:
    """A poisoned step has been given up in good order, unless that failed too."""
    detail = f"{step.steps} × {step.kind}.{step.name} quarantined, the latest {_ago(step.age_s)}"
    if step.stranded:
        remedy = (
            "their owners are neither done nor failed: see the fault (SELECT * FROM steps WHERE state = 'quarantined')"
        )
        return fault("quarantine", f"{detail}; {step.stranded} could not be given up", remedy)
    remedy = "find out what kills the worker (SELECT * FROM steps WHERE state = 'quarantined'); money paid for it is owed back"
    return warning("quarantine", f"{detail}: each attempt ended with the death of its worker", remedy)


def _doorbells(read: WorkGauges) -> list[Finding]:
    found = [finding for tick in TICKS for finding in _tick(tick, read.tick_ages.get(tick.name))]
    silent = [
        queue.name for queue in QUEUES if read.canary_ages.get(queue.name, CANARY_MAX_AGE_S + 1) > CANARY_MAX_AGE_S
    ]
    if silent:
        detail = f"nobody has consumed {', '.join(silent)} for {CANARY_MAX_AGE_S} s"
        names = ", ".join(f"worker-{name}" for name in silent)
        found.append(fault("queues", detail, f"start {names}; canaries come from beat through Redis"))
    return found or [ok("ticks", f"all {len(TICKS)} ticks run, all {len(QUEUES)} queues are consumed")]


def _tick(tick: Tick, age_s: float | None) -> list[Finding]:
    """A rare tick starts its period anew whenever beat does, so its absence proves nothing."""
    is_rare = tick.period_s > SLACK_S
    if age_s is None:
        detail = f"{tick.name} has never run"
    elif age_s > 3 * tick.period_s + SLACK_S:
        detail = f"{tick.name} last ran {_ago(age_s)}, and should every {tick.period_s:g} s"
    else:
        return []
    remedy = f"start beat and worker-{tick.queue.name}"
    if is_rare:
        return [] if age_s is None else [warning("ticks", detail, remedy)]
    return [fault("ticks", detail, remedy)]


def _invoices(read: InvoiceGauges) -> list[Finding]:
    if read.overdue_s > OVERDUE_S:
        detail = f"an open invoice expired {_ago(read.overdue_s)} and was not ended"
        return [fault("invoices", detail, "see that the Lightning node answers and that worker-money and beat run")]
    return [ok("invoices", f"{sum(read.open.values())} open, none overdue")]


def _payouts(read: PayoutGauges) -> list[Finding]:
    found: list[Finding] = []
    if read.are_held:
        detail = "this database was restored, copied or promoted: no payout is sent, for what it calls owed may have been paid"
        remedy = "run `lucid reconcile`, see to what it names, then `lucid reconcile --accept-database`"
        found.append(fault("payouts", detail, remedy))
    if read.review:
        detail = f"{read.review} payouts need somebody to look at the node"
        remedy = (
            "ask the node about their payment hashes (SELECT * FROM payouts WHERE needs_review; `lncli trackpayment`): is a record gone,"
            " or the credential not good? They stay open until the node answers; pay none of them by hand"
        )
        found.append(fault("payouts", detail, remedy))
    if read.open_s > PAYOUT_S:
        detail = f"a payout that was claimed {_ago(read.open_s)} has not ended"
        remedy = "see that worker-payout runs and the node answers; a payment may also be in flight for long (`lncli listpayments`)"
        found.append(fault("payouts", detail, remedy))
    return found or [ok("payouts", f"{read.open} open, none late")]


def _sessions(read: SessionGauges) -> list[Finding]:
    if read.overdue_s > OVERDUE_S:
        detail = f"a session has been idle too long and should have ended {_ago(read.overdue_s)}"
        return [fault("sessions", detail, "start beat and worker-money: they end idle sessions")]
    running = sum(read.requests.values())
    return [ok("sessions", f"{read.sessions[SessionState.ACTIVE]} active, {running} requests running, none overdue")]


def _proofs(read: ProofGauges, settings: Settings) -> list[Finding]:
    found: list[Finding] = []
    if read.unintegrated and read.waiting_s > UNINTEGRATED_S:
        detail = f"{read.unintegrated} receipts wait for the log, the oldest for {read.waiting_s:.0f} s"
        found.append(fault("receipts", detail, "start beat and worker-tick; look for log_integrated in its log"))
    if read.epoch_age_s is not None and read.epoch_receipts and read.epoch_age_s > settings.epoch_max_age_s + SLACK_S:
        detail = f"the open epoch holds receipts and is {read.epoch_age_s:.0f} s old"
        found.append(fault("epochs", detail, f"start beat and worker-tick: it closes at {settings.epoch_max_age_s} s"))
    if read.uncovered_failures:
        detail = f"{read.uncovered_failures} anchors failed, and no later one covers them"
        found.append(fault("anchors", detail, "bring the witness back: the next epoch's anchor covers all before it"))
    for anchor in read.anchors:
        if anchor.state not in (AnchorState.FINAL, AnchorState.FAILED) and anchor.oldest_s > ANCHOR_S:
            detail = f"{anchor.anchors} anchors at {anchor.target} are {anchor.state}, the oldest since {_ago(anchor.oldest_s)}"
            found.append(warning("anchors", detail, "look at the witness; it is asked ever more rarely for a day"))
    if not settings.witness_url:
        found.append(
            warning("anchors", "no witness is set: epochs close and nobody vouches for them", "set WITNESS_URL")
        )
    return found or [ok("epochs", f"{read.log_size} receipts in the log, {read.unintegrated} waiting; none late")]


def _ago(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s ago"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min ago"
    return f"{seconds / 3600:.0f} h ago"
