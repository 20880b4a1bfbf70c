"""Plans: monthly quotas, and what is bought over Lightning."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from shared.access.quotas import Quotas
from shared.bootstrap.sessions import SessionParts
from shared.plans.funding import PlanFunding
from shared.plans.life import PurchaseLife
from shared.plans.service import Plans, PlanTerms

if TYPE_CHECKING:
    from shared.plans.opening import PlanInvoices


class PlanParts(SessionParts):
    """Plans: monthly quotas, and what is bought over Lightning."""

    @cached_property
    def quotas(self) -> Quotas:
        """The keeper of quotas."""
        return Quotas(self.database, clock=self.clock)

    @cached_property
    def purchase_life(self) -> PurchaseLife:
        """Moves purchases."""
        return PurchaseLife(events=self.events)

    @cached_property
    def plan_funding(self) -> PlanFunding:
        """What a payment means to a purchase."""
        return PlanFunding(events=self.events, purchase_life=self.purchase_life)

    @cached_property
    def plans(self) -> Plans:
        """The front desk of plans."""
        settings = self.settings
        terms = PlanTerms(
            max_unpaid_invoices=settings.max_unpaid_invoices,
            invoice_expiry_s=settings.invoice_expiry_s,
            invoice_wait_s=settings.invoice_wait_s,
            payout_wait_s=settings.payout_wait_s,
        )
        return Plans(
            self.database,
            terms=terms,
            purchase_life=self.purchase_life,
            invoices=self.invoices,
            prices=self.prices,
            refunds=self.refunds,
            events=self.events,
            work=self.work,
            ids=self.ids,
        )

    @cached_property
    def plan_invoices(self) -> PlanInvoices:
        """Opens the invoices of purchases."""
        from shared.plans.opening import PlanInvoices

        return PlanInvoices(
            self.database,
            invoices=self.invoices,
            purchase_life=self.purchase_life,
            events=self.events,
            work=self.work,
            expiry_s=self.settings.invoice_expiry_s,
        )
