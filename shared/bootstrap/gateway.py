"""Door one: API keys, the catalogue, inference runs."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from shared.access.keys import ApiKeys
from shared.access.model import OPERATOR
from shared.bootstrap.agent import AgentParts
from shared.catalog.nodes import Nodes
from shared.catalog.passports import Passports
from shared.catalog.service import Catalog
from shared.catalog.upstreams import Upstreams
from shared.receipts.claims import ClaimedReceipts
from shared.receipts.commits import Commits
from shared.receipts.projects import ProjectEpochs
from shared.receipts.service import passport_of
from shared.splits.service import Splits

if TYPE_CHECKING:
    from shared.catalog.probing import Probing

COMMIT_WAIT_S = 4.0
THOUSANDS_IN_A_MILLION = 1000


class GatewayParts(AgentParts):
    """Door one: API keys, the catalogue, inference runs."""

    @cached_property
    def api_keys(self) -> ApiKeys:
        """Makes API keys and recognises them."""
        return ApiKeys(self.database, ids=self.ids)

    @cached_property
    def catalog(self) -> Catalog:
        """Which models and nodes there are."""
        return Catalog(self.database)

    @cached_property
    def passports(self) -> Passports:
        """Makes and changes passports. Only the embedded stack lets nodes be on this machine or in its network."""
        return Passports(
            self.database, events=self.events, ids=self.ids, allows_private=not self.settings.is_production
        )

    @cached_property
    def nodes(self) -> Nodes:
        """What nodes say of themselves."""
        return Nodes(self.database)

    @cached_property
    def upstreams(self) -> Upstreams:
        """The model APIs that the settings name, with their keys."""
        return Upstreams.of(self.settings)

    @cached_property
    def probing(self) -> Probing:
        """Asks them what they serve, registers it and speaks for them."""
        from shared.catalog.clients.models import ModelLists
        from shared.catalog.probing import Probing
        from shared.catalog.registration import Registrar

        settings = self.settings
        registrar = Registrar(
            self.database,
            passports=self.passports,
            passport_of=passport_of,
            region=settings.upstream_region,
            owner=settings.treasury_wallet or OPERATOR,
        )
        dearer = max(settings.input_usd_per_mtok, settings.output_usd_per_mtok)
        return Probing(
            self.database,
            upstreams=self.upstreams,
            model_lists=ModelLists(),
            registrar=registrar,
            price=dearer / THOUSANDS_IN_A_MILLION,
        )

    @cached_property
    def claimed_receipts(self) -> ClaimedReceipts:
        """Signs what callers say of work that we did not see."""
        return ClaimedReceipts(self.database, receipts=self.receipts, ids=self.ids)

    @cached_property
    def project_epochs(self) -> ProjectEpochs:
        """Epochs of projects: views of the one log."""
        return ProjectEpochs(self.database, receipts=self.receipts, ids=self.ids)

    @cached_property
    def epoch_commits(self) -> Commits:
        """Closes epochs by hand and has them anchored."""
        return Commits(
            self.database,
            log=self.log,
            receipts=self.receipts,
            events=self.events,
            clock=self.clock,
            wait_s=COMMIT_WAIT_S,
        )

    @cached_property
    def splits(self) -> Splits:
        """How runs' prices are shared out."""
        return Splits(
            self.database,
            reading=self.reading,
            receipts=self.receipts,
            clock=self.clock,
            treasury=self.settings.treasury_wallet,
        )
