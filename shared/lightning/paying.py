"""Money out, at most once: how a stored payout meets the node. Only the payout worker comes here.

lnd pays a payment hash once for as long as it keeps the record, and may try a failed one again when it is asked again. So three
things could pay twice, and each is shut out:

- Another payment request for the same debts: it waits until this payout has ended.
- An outcome that is guessed: a payout that was sent ends by the node's own word about its hash, whatever a call raised.
- A hand-over that arrives late, after a failure was taken for the end: a frozen process, a frozen node, a queue between. The
  first hand-over has arrived where the node has a record. After a second one (`orphaned`) nothing is the end but the node's own
  refusal of an invoice that has expired, for it refuses whatever still comes too; our clock, which may be ahead, only adds a grace.

And a database that is not the one that sent before (restored, copied, promoted) sends nothing for the first time until an
operator has accepted it: what it calls owed may have been paid.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta

import structlog

from shared.db.service import Database, Tx
from shared.kernel.clock import Clock
from shared.kernel.failpoints import effect as failpoint
from shared.lightning.clients.faults import InvoiceExpired, LightningError, NodeRefused, PaymentNotSent
from shared.lightning.model import NodePayment, NodePaymentState, Payer, Payout, PayoutEnd, PayoutEvent, PayoutState
from shared.lightning.payouts import OPEN, Payouts
from shared.work.model import Claim, LeaseLost, RetryLater
from shared.work.service import Work

log = structlog.get_logger(__name__)

NOT_READABLE = "the node cannot read this invoice, or not for its network"
OTHERWISE_READ = "the node reads another amount or payment hash in this invoice"
OWN_NODE = "this invoice asks our own node to pay itself"
_ASK_SOON_S = 1.0
_ASK_AT_LEAST_EVERY_S = 60.0
_REVIEWED_AGAIN_S = 300.0
_TRIED_AGAIN_S = 300.0
_TRIES_BEFORE_REVIEW = 5


@dataclass(frozen=True)
class PayingRules:
    """`hold_s`: how long a send's first word is waited for. `attempts_s`: how long the node tries routes. `lease_s`: the claim's lease.

    `grace_s` after an invoice's expiry, and once the node has said that it has expired, nothing of it can start any more.
    """

    hold_s: float
    lease_s: float
    attempts_s: int = 30
    grace_s: float = 120.0


class Paying:
    """Takes a payout from its row to the node and comes back with its end."""

    def __init__(
        self, database: Database, *, payouts: Payouts, work: Work, payer: Payer, clock: Clock, rules: PayingRules
    ) -> None:
        self._database = database
        self._payouts = payouts
        self._work = work
        self._payer = payer
        self._clock = clock
        self._rules = rules
        self._hold_is_told = False

    def carry_out(self, payout_id: int, claim: Claim) -> PayoutEnd | None:
        """Send the payout, or find out what became of it; return its end, None where it has ended before.

        Raises `RetryLater`, uncounted, for as long as its end is not known.
        """
        with self._database.transaction() as tx:
            payout = self._payouts.by_id(tx, payout_id)
            self._require_own_database(tx, payout)
        if payout.state not in OPEN:
            return None
        if payout.state is PayoutState.INTENDED:
            fault = self._refusal(payout)
            return PayoutEnd(PayoutEvent.REFUSED, fault) if fault else self._send(payout, claim)
        if claim.attempts > _TRIES_BEFORE_REVIEW:
            self._note(payout, claim, review=True)
        return self._follow(payout, claim)

    # -- before it is sent

    def _require_own_database(self, tx: Tx, payout: Payout) -> None:
        """Hold a payout that was never sent while this is not the database that was accepted. Raises `RetryLater`, uncounted."""
        if payout.state is not PayoutState.INTENDED or not self._payouts.are_held(tx):
            return
        if not self._hold_is_told:
            self._hold_is_told = True
            log.error("payouts_held_after_restore", remedy="lucid reconcile --accept-database")
        raise RetryLater("payment in flight", delay_s=_ASK_AT_LEAST_EVERY_S, counts=False)

    def _refusal(self, payout: Payout) -> str | None:
        """Let the node have its word on an invoice of which nothing has been sent; return why not, None where it may be."""
        try:
            with failpoint("lnd.decode_payreq"):
                said = self._payer.decode_payment_request(payout.payment_request)
        except LightningError as error:
            raise self._later(payout, error) from error
        if said is None:
            return NOT_READABLE
        if said.is_own:
            return OWN_NODE
        if (said.payment_hash, said.amount_msat) != (payout.payment_hash, payout.amount_msat):
            return OTHERWISE_READ
        return None

    # -- the send

    def _send(self, payout: Payout, claim: Claim) -> PayoutEnd:
        self._work.check(claim)
        payout = self._announce(payout, claim)
        try:
            with failpoint("lnd.send_payment"):
                said = self._payer.send_payment(
                    payout.payment_request,
                    fee_limit_msat=payout.fee_limit_msat,
                    timeout_s=self._rules.attempts_s,
                    deadline_s=self._rules.hold_s,
                    stop=self._work.stopping,
                )
        except PaymentNotSent as error:
            return self._refused(payout, claim, error)
        except LightningError as error:
            self._note(payout, claim)
            raise self._later(payout, error) from error
        if said is None:  # the node has had this hash before: a record of it is as good as an update
            self._note(payout, claim, seen=True)
            raise RetryLater("the node has this payment on record", delay_s=0, counts=False)
        return self._end_of(payout, claim, said)

    def _announce(self, payout: Payout, claim: Claim) -> Payout:
        """Commit that this claim is about to call the node. Raises `LeaseLost` where it may have lapsed since."""
        began = self._clock.monotonic()
        with self._database.transaction() as tx:
            self._work.hold(tx, claim)
            self._require_own_database(tx, payout)
            payout = self._payouts.sending(tx, payout.id, fence=claim.fence)
        if self._clock.monotonic() - began > self._rules.lease_s / 2:
            raise LeaseLost("this process stood still for longer than a lease allows")
        return payout

    # -- after it was sent

    def _follow(self, payout: Payout, claim: Claim) -> PayoutEnd:
        """The same request goes out again where the node knows nothing of it, and where an end needs the node's refusal.

        Its hash makes that safe: the node pays it once, whoever asks, and a later success is the customer's as well.
        """
        said = self._tracked(payout, claim)
        if said is None or (said.state is NodePaymentState.FAILED and payout.orphaned):
            return self._send(payout, claim)
        return self._end_of(payout, claim, said)

    def _refused(self, payout: Payout, claim: Claim, refusal: PaymentNotSent) -> PayoutEnd:
        """The node won't pay this any more. What it was handed before, by whomever, it may still be paying, or have paid."""
        said = self._tracked(payout, claim)
        if said is not None and said.state is not NodePaymentState.FAILED:
            return self._end_of(payout, claim, said)
        if not payout.orphaned or (isinstance(refusal, InvoiceExpired) and self._grace_is_over(payout)):
            return PayoutEnd(PayoutEvent.FAILED, refusal.message)
        self._note(payout, claim)
        raise self._later(payout, refusal)

    def _tracked(self, payout: Payout, claim: Claim) -> NodePayment | None:
        """Return what the node has on record, None where it never had it; `RetryLater` where that cannot be told."""
        try:
            with failpoint("lnd.track_payment"):
                said = self._payer.track_payment(payout.payment_hash)
        except LightningError as error:
            self._note(payout, claim, review=isinstance(error, NodeRefused))
            raise self._later(payout, error) from error
        if said is None and payout.seen_in_flight:  # its record is gone: a node restored from a backup, or pruned
            self._note(payout, claim, review=True)
            raise RetryLater("the node has lost a payment that it had", delay_s=_REVIEWED_AGAIN_S, counts=False)
        return said

    def _end_of(self, payout: Payout, claim: Claim, said: NodePayment) -> PayoutEnd:
        if said.state is NodePaymentState.SUCCEEDED:
            if said.preimage is not None and hashlib.sha256(said.preimage).digest() == payout.payment_hash:
                return PayoutEnd(PayoutEvent.SUCCEEDED, preimage=said.preimage, fee_msat=said.fee_msat)
            self._note(payout, claim, seen=True, review=True)
            raise RetryLater("the node's proof of payment is wrong", delay_s=_REVIEWED_AGAIN_S, counts=False)
        if said.state is NodePaymentState.FAILED and not payout.orphaned:
            return PayoutEnd(PayoutEvent.FAILED, said.failure)
        has_failed = said.state is NodePaymentState.FAILED
        self._note(payout, claim, seen=not has_failed)
        raise self._later(payout, None, at_least_every_s=_TRIED_AGAIN_S if has_failed else _ASK_AT_LEAST_EVERY_S)

    def _grace_is_over(self, payout: Payout) -> bool:
        return self._clock.now() >= payout.expires_at + timedelta(seconds=self._rules.grace_s)

    # -- what is kept of an attempt without an end

    def _note(self, payout: Payout, claim: Claim, *, seen: bool = False, review: bool = False) -> None:
        with self._database.transaction() as tx:
            self._work.hold(tx, claim)
            self._payouts.unknown(tx, payout.id, fence=claim.fence, seen=seen, review=review)
        if review and not payout.needs_review:
            log.error("payout_needs_review", payout=payout.id)

    def _later(
        self, payout: Payout, error: LightningError | None, *, at_least_every_s: float = _ASK_AT_LEAST_EVERY_S
    ) -> RetryLater:
        """Ask again, ever more rarely: after half of the time that it has taken so far. Waiting is no attempt."""
        age_s = (self._clock.now() - payout.created_at).total_seconds()
        delay_s = min(at_least_every_s, max(_ASK_SOON_S, age_s / 2))
        return RetryLater(error.message if error else "payment in flight", delay_s=delay_s, counts=False)
