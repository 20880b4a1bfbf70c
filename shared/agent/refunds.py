"""What is owed and what pays it: a caller's invoice against an owner's open debts. Job refunds and session withdrawals alike.

Nothing here talks to a node; `disbursement` sends what is claimed here.
"""

from __future__ import annotations

from datetime import timedelta

from shared.agent import store
from shared.agent.claims import Claims, Proof
from shared.agent.model import ENDED, JOB, Job
from shared.db.service import Database, Tx
from shared.events.service import Events
from shared.kernel.clock import Clock
from shared.kernel.errors import Conflict, InvalidInput, LucidError, NotFound, Unauthorized
from shared.kernel.failpoints import effect as failpoint
from shared.kernel.ids import is_public
from shared.kernel.money import msat, whole_sats
from shared.kernel.owner import Owner
from shared.ledger import service as ledger
from shared.ledger.model import Debt, DebtReason, DebtState
from shared.lightning.model import Payable, Payout, PayoutState
from shared.lightning.payouts import OPEN, Payouts, row_of
from shared.lightning.service import Invoices

LEAST_LIFE_S = 120
FIELD = "invoice"
WRONG_AMOUNT = "wrong_amount"
NOT_ENDED = "The job has not ended yet; only an ended job can be owed a refund."
NOTHING_OWED = "Nothing is owed."
ALREADY_PAID = "What was owed has been paid."
PAYOUT_OPEN = "A payment to another invoice is under way; it has to end before a new one can begin."
USED_BEFORE = "This invoice was used before; make a new one."
OWN_INVOICE = "This invoice is one of ours; make one with your own wallet."


class PaymentFailed(LucidError):
    """A payout ended without having paid. What it was for is owed as before."""

    code = "payment_failed"


class Refunds:
    """The desk where money is claimed back."""

    def __init__(
        self,
        database: Database,
        *,
        payouts: Payouts,
        invoices: Invoices,
        claims: Claims,
        events: Events,
        clock: Clock,
        network: str,
        payout_wait_s: float,
    ) -> None:
        self._database = database
        self._payouts = payouts
        self._invoices = invoices
        self._claims = claims
        self._events = events
        self._clock = clock
        self._network = network
        self._payout_wait_s = payout_wait_s

    def refund(self, public_id: str, text: str, *, proof: Proof) -> Payout:
        """Pay what an ended job is owed to the caller's invoice, and return the payout as it stands after a while.

        The same invoice gets the same payout, however often it comes. Raises `NotFound`, `Unauthorized` (the operator demands
        proof of payment), `Conflict` (not ended, nothing owed, paid, another payout under way), `InvalidInput` (the invoice).
        """
        if not is_public(public_id, JOB):
            raise NotFound("job not found")
        with self._database.transaction() as tx:
            job = self._proven(tx, public_id, proof)
            self._require_claimable(tx, job)
        payable = self.read(text)  # slow for a hostile text: under no lock, and only where something can be owed
        with self._database.transaction() as tx:
            job = store.lock_job(tx, job.id) or job
            self._require_claimable(tx, job)
            payout = self.claim(tx, job.owner, payable)
        return self.outcome(payout, wait_s=self._payout_wait_s)

    def read(self, text: str) -> Payable:
        """Return what a caller's payment request asks for, before any node sees it. Raises `InvalidInput` alone."""
        from shared.lightning.clients.payable import payable

        return payable(text, network=self._network, now=self._clock.now())

    def claim(self, tx: Tx, owner: Owner, payable: Payable) -> Payout:
        """Bind all that is owed to the owner and not bound yet to a payout, and start it. The caller holds the owner's row lock.

        The same payment hash returns the owner's payout, whatever became of it. Raises `InvalidInput` (used for somebody else,
        one of our own, wrong amount, expires too soon), `Conflict` with codes `payout_open`, `already_paid`, `nothing_owed`.
        """
        earlier = self._payouts.by_hash(tx, payable.payment_hash)
        if earlier is not None and earlier.owner == owner:
            return earlier
        if earlier is not None:
            raise InvalidInput(USED_BEFORE, field=FIELD, code="invoice_used")
        self._require_free(tx, owner)
        self._require_payable(tx, payable, owed_sats=claimable_sats(ledger.debts(tx, owner)))
        with failpoint("payout.claim"):
            payout = self._payouts.intend(tx, owner, payable)
            if payout is None:  # another owner's claim with this invoice has just committed
                raise InvalidInput(USED_BEFORE, field=FIELD, code="invoice_used")
            ledger.bind(tx, owner, payout_id=payout.id, amount_msat=payout.amount_msat)
            self._events.append(tx, owner, "payout claimed")
        return payout

    def claimable(self, tx: Tx, owner: Owner) -> int:
        """Return the whole sats that the owner is owed and no payout has."""
        return claimable_sats(ledger.debts(tx, owner))

    def outcome(self, payout: Payout, *, wait_s: float) -> Payout:
        """Return the payout as soon as it has ended, or as it stands after `wait_s` seconds. Outside any transaction."""
        if payout.state not in OPEN:
            return payout
        ended = self._events.wait(row_of(payout), look=lambda: self._ended(payout.id), deadline_s=wait_s)
        return ended or payout

    def open_payout(self, tx: Tx, owner: Owner) -> Payout | None:
        """Return the owner's payout that has not ended; there is one at most."""
        return next((payout for payout in self.payouts(tx, owner) if payout.state in OPEN), None)

    def payouts(self, tx: Tx, owner: Owner) -> list[Payout]:
        """Return the owner's payouts, oldest first."""
        return self._payouts.of_owner(tx, owner)

    # -- checks

    def _proven(self, tx: Tx, public_id: str, proof: Proof) -> Job:
        found = store.job_by_public_id(tx, public_id)
        if found is None:
            raise NotFound("job not found")
        if not self._claims.accepts(tx, proof, owner=found.owner, public_id=public_id):
            raise Unauthorized("a refund needs X-Claim-Token or X-Payment-Preimage here", code="claim_proof_required")
        return found

    def _require_claimable(self, tx: Tx, job: Job) -> None:
        """Refuse what no invoice could change, before the invoice is looked at."""
        if job.state not in ENDED:
            raise Conflict(NOT_ENDED, code="not_ended")
        # the debts first: a claim that commits between the two statements then shows its payout
        owed_sats = claimable_sats(ledger.debts(tx, job.owner))
        if not owed_sats and not self.payouts(tx, job.owner):
            raise Conflict(NOTHING_OWED, code="nothing_owed")

    def _require_free(self, tx: Tx, owner: Owner) -> None:
        if self.open_payout(tx, owner) is not None:
            raise Conflict(PAYOUT_OPEN, code="payout_open")
        if claimable_sats(ledger.debts(tx, owner)):
            return
        was_paid = any(payout.state is PayoutState.PAID for payout in self.payouts(tx, owner))
        raise Conflict(ALREADY_PAID, code="already_paid") if was_paid else Conflict(NOTHING_OWED, code="nothing_owed")

    def _require_payable(self, tx: Tx, payable: Payable, *, owed_sats: int) -> None:
        if self._invoices.by_hash(tx, payable.payment_hash) is not None:
            raise InvalidInput(OWN_INVOICE, field=FIELD, code="own_invoice")
        if payable.amount_msat != msat(owed_sats):
            raise InvalidInput(f"the invoice must ask for exactly {owed_sats} sats", field=FIELD, code=WRONG_AMOUNT)
        if payable.expires_at < self._clock.now() + timedelta(seconds=LEAST_LIFE_S):
            message = f"the invoice has expired, or does within {LEAST_LIFE_S} seconds"
            raise InvalidInput(message, field=FIELD, code="invoice_expired")

    def _ended(self, payout_id: int) -> Payout | None:
        with self._database.transaction() as tx:
            payout = self._payouts.by_id(tx, payout_id)
        return None if payout.state in OPEN else payout


def claimable_sats(debts: list[Debt]) -> int:
    """Return the whole sats of the debts that no payout has."""
    return whole_sats(
        sum(debt.amount_msat for debt in debts if debt.state is DebtState.OPEN and debt.payout_id is None)
    )


def refund_of(debts: list[Debt]) -> tuple[int, bool]:
    """Return the whole sats of a refund and whether it is pending: all that is still owed, or else all that was paid.

    What a payout could not carry (less than a sat) stays owed, and counts again with the next debt.
    """
    open_sats = whole_sats(sum(debt.amount_msat for debt in debts if debt.state is DebtState.OPEN))
    if open_sats:
        return open_sats, True
    return whole_sats(sum(debt.amount_msat for debt in debts if debt.reason is not DebtReason.REST)), False
