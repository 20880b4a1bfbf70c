"""The step that pays: a claimed payout goes to the node and comes back with its end, which the books learn in one transaction."""

from __future__ import annotations

from collections.abc import Mapping

from shared.agent.settlement import Funding
from shared.db.service import Database, Tx
from shared.events.service import Events
from shared.ledger import service as ledger
from shared.lightning.model import PayoutEnd, PayoutState
from shared.lightning.paying import Paying
from shared.lightning.payouts import PAYOUT, SEND, Payouts
from shared.work.model import StepRef
from shared.work.service import Work


class Disbursement:
    """Pays debts. `fundings`: who holds the lock of an owner, by its kind."""

    def __init__(
        self,
        database: Database,
        *,
        payouts: Payouts,
        paying: Paying,
        fundings: Mapping[str, Funding],
        events: Events,
        work: Work,
    ) -> None:
        self._database = database
        self._fundings = fundings
        self._payouts = payouts
        self._paying = paying
        self._events = events
        self._work = work

    def send(self, payout_id: int) -> None:
        """Send a payout, or follow one that was sent, to its end. Never given up: a payment nobody asks about is still a payment."""

        def finish(tx: Tx, end: PayoutEnd | None) -> None:
            if end is not None:
                self._book(tx, payout_id, end)

        self._work.perform(
            StepRef(PAYOUT, payout_id, SEND),
            effect=lambda claim: self._paying.carry_out(payout_id, claim),
            finish=finish,
            give_up=None,
        )

    def _book(self, tx: Tx, payout_id: int, end: PayoutEnd) -> None:
        """Lock order everywhere: the owner first, then its payout, then its accounts."""
        owner = self._payouts.by_id(tx, payout_id).owner
        self._fundings[owner.kind].lock(tx, owner.id)
        payout = self._payouts.end(tx, payout_id, end)
        if payout.state is PayoutState.PAID:
            ledger.pay_out(
                tx, owner, payout_id=payout.id, amount_msat=payout.amount_msat, fee_msat=payout.fee_msat or 0
            )
            self._events.append(tx, owner, "payout paid")
        else:
            ledger.unbind(tx, payout_id=payout.id)
            self._events.append(tx, owner, "payout failed")
