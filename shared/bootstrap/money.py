"""Money in and out: the node, invoices, prices, payouts, and macaroons, which are proofs of payment."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from shared.access.macaroons import Macaroons
from shared.bootstrap.proof import Proof
from shared.bootstrap.roles import TALKS_TO_NODE
from shared.lightning.payouts import Payouts
from shared.lightning.service import Invoices

if TYPE_CHECKING:
    from shared.lightning.clients.lnd import LndClient
    from shared.lightning.clients.price import PriceFeeds
    from shared.lightning.paying import Paying


class Money(Proof):
    """Money in and out: the node, invoices, prices, payouts, and macaroons, which are proofs of payment."""

    @cached_property
    def macaroons(self) -> Macaroons:
        """The keeper of root keys."""
        settings = self.settings
        return Macaroons(
            secret_key=settings.secret_key,
            ids=self.ids,
            clock=self.clock,
            rotation_days=settings.macaroon_rotation_days,
        )

    @cached_property
    def node(self) -> LndClient:
        """The merchant's Lightning node, with the macaroon for invoices."""
        from shared.lightning.clients.lnd import LndClient

        settings = self.settings
        return LndClient(settings.lnd_grpc, settings.lnd_tls_cert, settings.lnd_macaroon_invoices)

    @cached_property
    def invoices(self) -> Invoices:
        """The invoice desk."""
        return Invoices(
            self.database,
            events=self.events,
            work=self.work,
            ids=self.ids,
            secret_key=self.settings.secret_key,
            network=self.settings.lnd_network,
            node=self.node if self.role in TALKS_TO_NODE else None,
        )

    @cached_property
    def prices(self) -> PriceFeeds:
        """What a bitcoin costs: one instance a process, so that all of its threads share the samples."""
        from shared.lightning.clients.price import PriceFeeds

        settings = self.settings
        return PriceFeeds(settings.btc_price_feeds, clock=self.clock, max_age_s=settings.btc_price_max_age_s)

    @cached_property
    def payouts(self) -> Payouts:
        """The rows of money out."""
        return Payouts(events=self.events, work=self.work)

    @cached_property
    def paying(self) -> Paying:
        """How they meet the node: the only part with the macaroon that pays. It connects when a payout is sent."""
        from shared.lightning.clients.lnd_payments import LndPayments
        from shared.lightning.paying import Paying, PayingRules

        settings = self.settings
        return Paying(
            self.database,
            payouts=self.payouts,
            work=self.work,
            payer=LndPayments(settings.lnd_grpc, settings.lnd_tls_cert, settings.lnd_macaroon_payments),
            clock=self.clock,
            rules=PayingRules(hold_s=settings.payout_wait_s, lease_s=settings.lease_s),
        )
