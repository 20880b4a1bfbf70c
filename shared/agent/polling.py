"""Invoice polling as a chain: find due → settle → advance. With the listener stopped, it alone moves every job."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from datetime import timedelta

import structlog

from shared.agent.settlement import Settlements
from shared.db.service import Tx
from shared.kernel.clock import Clock
from shared.kernel.errors import Unavailable
from shared.lightning.clients.faults import LightningError
from shared.lightning.model import INVOICE, CancelOutcome, Invoice, InvoiceState, InvoiceStep, NodeInvoiceState
from shared.lightning.service import ADVANCE, SETTLE, SWEEP, Invoices, settlement_of
from shared.work.model import Claim, RetryLater, StepFailed, StepInterrupted, StepRef
from shared.work.service import Work

log = structlog.get_logger(__name__)

CALLS_IN_FLIGHT = 8
# A sweep's calls are spread over most of its period: all at once they would stand in the way of settlements that are heard just then.
CALLS_A_SECOND = 50
# The node's clock and ours differ a little; the node cancels by its own.
GRACE = timedelta(seconds=2)
_WITHDRAW_AGAIN_S = 30.0
_WITHDRAW_FOR_S = 86_400.0
_ON_ITS_WAY_S = 20.0  # four times the deadline of a call to the node


class Polling:
    """Asks the node about invoices and lets their owners go on."""

    def __init__(self, *, invoices: Invoices, settlements: Settlements, work: Work, clock: Clock) -> None:
        self._invoices = invoices
        self._settlements = settlements
        self._work = work
        self._clock = clock

    def settle(self, sweep_id: int) -> None:
        """Look up each invoice of the sweep and credit what is settled."""

        def finish(tx: Tx, _nothing: None) -> None:
            self._work.follow(tx, StepRef(SWEEP, sweep_id, ADVANCE))

        self._perform(sweep_id, SETTLE, self._settle_one, finish, among=lambda _invoice: True)

    def advance(self, sweep_id: int) -> None:
        """End what lapsed: cancel at the node first, so that nobody can pay it any more, then let its owner go on."""

        def finish(tx: Tx, _nothing: None) -> None:
            self._invoices.end_sweep(tx, sweep_id)

        self._perform(sweep_id, ADVANCE, self._end, finish, among=self._has_lapsed)

    def withdraw(self, invoice_id: int) -> None:
        """Make an abandoned invoice unpayable at the node; if it was paid before, credit it: its owner knows what that means."""

        def effect(claim: Claim) -> None:
            try:
                is_known = self._withdraw(self._invoices.read(invoice_id))
            except LightningError as error:
                if claim.age_s > _WITHDRAW_FOR_S:  # by then the node has let it expire
                    raise StepFailed(error.message) from error
                raise RetryLater(error.message, delay_s=_WITHDRAW_AGAIN_S, counts=False) from error
            if not is_known and claim.age_s < _ON_ITS_WAY_S:
                raise RetryLater("a creation may be on its way", delay_s=_ON_ITS_WAY_S, counts=False)

        self._work.perform(
            StepRef(INVOICE, invoice_id, InvoiceStep.WITHDRAW),
            effect=effect,
            finish=lambda _tx, _nothing: None,
            give_up=lambda _tx, _reason: None,
        )

    def _withdraw(self, invoice: Invoice) -> bool:
        """Cancel at the node; False where the node does not know the invoice: a creation may still be on its way there."""
        outcome = self._invoices.cancel(invoice)
        if outcome is CancelOutcome.ALREADY_SETTLED:
            self._settle_one(invoice)
        return outcome is not CancelOutcome.UNKNOWN_INVOICE

    def _perform(
        self,
        sweep_id: int,
        name: str,
        each: Callable[[Invoice], None],
        finish: Callable[[Tx, None], None],
        *,
        among: Callable[[Invoice], bool],
    ) -> None:
        def effect(claim: Claim) -> None:
            asked = [invoice for invoice in self._invoices.in_sweep(sweep_id) if among(invoice)]
            with ThreadPoolExecutor(CALLS_IN_FLIGHT, thread_name_prefix="lookup") as calls:
                under_way: list[Future[None]] = []
                try:
                    for invoice in asked:
                        if under_way:
                            self._work.pause(claim, 1 / CALLS_A_SECOND)
                        under_way.append(calls.submit(copy_context().run, _guarded, each, invoice))
                    for call in under_way:
                        call.result()
                        self._work.check(claim)
                finally:
                    for call in under_way:
                        call.cancel()

        self._work.perform(
            StepRef(SWEEP, sweep_id, name),
            effect=effect,
            finish=finish,
            give_up=lambda tx, _reason: self._invoices.end_sweep(tx, sweep_id),
        )

    def _settle_one(self, invoice: Invoice) -> None:
        said = self._invoices.look_up(invoice)
        if said is None:
            return
        if said.state is NodeInvoiceState.SETTLED:
            self._settlements.settle(settlement_of(said))
        elif said.state is NodeInvoiceState.CANCELED and invoice.state is InvoiceState.OPEN:
            self._settlements.lapse(invoice)

    def _has_lapsed(self, invoice: Invoice) -> bool:
        return invoice.state is InvoiceState.OPEN and self._clock.now() >= invoice.expires_at + GRACE

    def _end(self, invoice: Invoice) -> None:
        if self._invoices.cancel(invoice) is CancelOutcome.ALREADY_SETTLED:
            self._settle_one(invoice)
        else:
            self._settlements.lapse(invoice)


def _guarded(each: Callable[[Invoice], None], invoice: Invoice) -> None:
    """Whatever one invoice meets, the others of its sweep go on; it is looked at again in a later one."""
    try:
        each(invoice)
    except StepInterrupted:
        raise
    except (LightningError, Unavailable) as error:
        log.warning("invoice_not_asked", invoice=invoice.id, error=error.code)
    except Exception as error:
        log.exception("invoice_raised", invoice=invoice.id, error=type(error).__name__)
