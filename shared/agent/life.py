"""How a job moves: one function. State, history, money and receipt commit together or not at all."""

from __future__ import annotations

from dataclasses import dataclass

from shared.agent import store
from shared.agent.model import ENDED, JOB_TRANSITIONS, Job, JobEvent, JobState
from shared.db.service import Tx
from shared.events.service import Events
from shared.kernel.errors import IntegrityFault
from shared.kernel.transitions import next_state
from shared.ledger import service as ledger
from shared.lightning.model import InvoiceState, Purpose
from shared.lightning.service import Invoices
from shared.receipts.model import Draft, Paid, Ran, ReceiptKind
from shared.receipts.service import Receipts


@dataclass(frozen=True)
class Ending:
    """What an ended job's receipt says beyond money: why it ended, what ran, what came out."""

    finish_reason: str
    ran: Ran | None = None
    output: str | None = None


class JobLife:
    """Moves jobs."""

    def __init__(self, *, events: Events, invoices: Invoices, receipts: Receipts) -> None:
        self._events = events
        self._invoices = invoices
        self._receipts = receipts

    def move(
        self,
        tx: Tx,
        job: Job,
        event: JobEvent,
        *,
        reason: str | None = None,
        error_message: str | None = None,
        ending: Ending | None = None,
    ) -> JobState:
        """Move a locked job and write its history; an ended job that was paid leaves its receipt in the same transaction.

        Book the money of this move first: the receipt reads the ledger. Raises `TransitionConflict`.
        """
        to_state = next_state(JOB_TRANSITIONS, job.state, event)
        store.move_job(tx, job.id, from_state=job.state, to_state=to_state, reason=reason, error_message=error_message)
        self._events.append(tx, job.owner, event, moved=(job.state, to_state))
        if to_state in ENDED:
            if ledger.held(tx, job.owner) != 0:
                raise IntegrityFault("an ended job holds money that is neither earned nor owed back")
            self._leave_receipt(tx, job, ending or Ending(event))
        return to_state

    def _leave_receipt(self, tx: Tx, job: Job, ending: Ending) -> None:
        settled = [i for i in self._invoices.of_owner(tx, job.owner).values() if i.state is InvoiceState.SETTLED]
        if not settled:
            return  # nothing was paid, so nothing was sold
        bought = next((i for i in settled if i.purpose is Purpose.WORK), settled[0])
        received_msat = sum(invoice.paid_msat or 0 for invoice in settled)
        owed_msat = ledger.owed(tx, job.owner)
        paid = Paid(
            received_msat=received_msat,
            charged_msat=received_msat - owed_msat,
            owed_back_msat=owed_msat,
            payment_hash=bought.payment_hash,
            btc_price_usd=bought.price.btc_usd if bought.price else None,
            charge_usd=job.actual.charge_usd if job.actual else None,
        )
        self._receipts.issue(
            tx,
            Draft(
                kind=ReceiptKind.JOB,
                owner=job.owner,
                tenant=job.public_id,
                finish_reason=ending.finish_reason,
                paid=paid,
                ran=ending.ran,
                input=job.request.encode(),
                output=None if ending.output is None else ending.output.encode(),
            ),
        )
