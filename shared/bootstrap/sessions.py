"""Prefunded sessions."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from shared.agent.sessions.closing import SessionClosing
from shared.agent.sessions.life import SessionLife
from shared.agent.sessions.orders import OrderTerms, SessionOrders
from shared.agent.sessions.service import Sessions, SessionTerms
from shared.bootstrap.jobs import JobParts
from shared.kernel.money import msat

if TYPE_CHECKING:
    from shared.agent.sessions.openings import Openings
    from shared.agent.sessions.requests import SessionRequests


class SessionParts(JobParts):
    """Prefunded sessions."""

    @cached_property
    def session_life(self) -> SessionLife:
        """Moves sessions."""
        settings = self.settings
        return SessionLife(
            events=self.events,
            invoices=self.invoices,
            minimum_msat=msat(settings.session_minimum_sats),
            idle_s=settings.session_idle_s,
        )

    @cached_property
    def session_orders(self) -> SessionOrders:
        """Takes requests on a session's balance."""
        settings = self.settings
        return SessionOrders(
            self.database,
            terms=OrderTerms(settings.max_request_chars, settings.sync_wait_s),
            session_life=self.session_life,
            prices=self.prices,
            rates=self.rates,
            receipts=self.receipts,
            events=self.events,
            work=self.work,
            ids=self.ids,
        )

    @cached_property
    def session_closing(self) -> SessionClosing:
        """Ends sessions."""
        return SessionClosing(
            self.database,
            session_life=self.session_life,
            refunds=self.refunds,
            payout_wait_s=self.settings.payout_wait_s,
        )

    @cached_property
    def sessions(self) -> Sessions:
        """The front desk of sessions."""
        settings = self.settings
        terms = SessionTerms(settings.max_unpaid_invoices, settings.invoice_expiry_s, settings.invoice_wait_s)
        return Sessions(
            self.database,
            terms=terms,
            session_life=self.session_life,
            session_orders=self.session_orders,
            session_closing=self.session_closing,
            refunds=self.refunds,
            invoices=self.invoices,
            macaroons=self.macaroons,
            claims=self.claims,
            events=self.events,
            work=self.work,
            ids=self.ids,
            secret_key=settings.secret_key,
        )

    @cached_property
    def openings(self) -> Openings:
        """Opens the invoices of sessions."""
        from shared.agent.sessions.openings import Openings

        return Openings(
            self.database,
            invoices=self.invoices,
            session_life=self.session_life,
            events=self.events,
            work=self.work,
            expiry_s=self.settings.invoice_expiry_s,
        )

    @cached_property
    def session_requests(self) -> SessionRequests:
        """Judges and does what is asked on a session's balance."""
        from shared.agent.sessions.requests import SessionRequests

        return SessionRequests(
            self.database,
            session_life=self.session_life,
            models=self.models,
            rates=self.rates,
            invoices=self.invoices,
            receipts=self.receipts,
            events=self.events,
            work=self.work,
        )
