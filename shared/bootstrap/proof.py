"""What proves work: receipts, the log, anchors."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from shared.bootstrap.engine import Engine
from shared.kernel.signing import SigningKey
from shared.receipts.log import EpochRules, Log, LogSigner
from shared.receipts.model import WITNESS
from shared.receipts.reading import Reading
from shared.receipts.service import Receipts

if TYPE_CHECKING:
    from shared.receipts.anchoring import Anchoring


class Proof(Engine):
    """What proves work: receipts, the log, anchors."""

    @cached_property
    def receipts(self) -> Receipts:
        """The notary."""
        return Receipts(
            signer=SigningKey.from_seed(self.settings.receipt_signing_key),
            secret_key=self.settings.secret_key,
            ids=self.ids,
            clock=self.clock,
            work=self.work,
        )

    @cached_property
    def log_signer(self) -> LogSigner:
        """Signs checkpoints."""
        return LogSigner(self.settings.log_origin, self.settings.log_signing_key)

    @cached_property
    def log(self) -> Log:
        """The sequencer and the epochs."""
        settings = self.settings
        targets = (WITNESS,) if settings.witness_url else ()
        rules = EpochRules(settings.epoch_max_receipts, settings.epoch_max_age_s, targets)
        return Log(self.database, signer=self.log_signer, rules=rules, ids=self.ids, work=self.work)

    @cached_property
    def anchoring(self) -> Anchoring:
        """Has closed epochs vouched for."""
        from shared.receipts.anchoring import Anchoring
        from shared.receipts.anchors.witness import WitnessClient

        settings = self.settings
        witness = WitnessClient(settings.witness_url, settings.witness_key) if settings.witness_url else None
        return Anchoring(self.database, witness=witness, work=self.work, events=self.events)

    @cached_property
    def reading(self) -> Reading:
        """The public reading room of receipts and log."""
        return Reading(self.database, signer=self.log_signer, witness_key=self.settings.witness_key)
