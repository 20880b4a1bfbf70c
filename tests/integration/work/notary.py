"""Receipts for work that never happened, and the log that holds them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from shared.db.service import Database
from shared.kernel.owner import Owner
from shared.receipts.log import EpochRules, Log, LogSigner
from shared.receipts.model import Draft, Epoch, Paid, ReceiptKind
from shared.receipts.reading import Reading
from shared.receipts.service import Receipts

ORIGIN = "log.example/receipts"
SECRET_KEY = b"\x03" * 32
NO_EPOCHS = EpochRules(max_receipts=1_000_000, max_age_s=1_000_000, targets=())


@dataclass(frozen=True)
class Notary:
    """The parts of the proof side on one database."""

    database: Database
    receipts: Receipts
    reading: Reading
    signer: LogSigner
    log_with: Callable[[EpochRules], Log]
    _owners: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def issue(self, count: int) -> list[str]:
        """Issue receipts; return their ids."""
        with self.database.transaction() as tx:
            return [self.receipts.issue(tx, self._draft(next(self._owners))) for _ in range(count)]

    def log(self) -> Log:
        """The log without epochs."""
        return self.log_with(NO_EPOCHS)

    def close_epochs(self, rules: EpochRules) -> list[Epoch]:
        """Close what is due under `rules`."""
        with self.database.transaction() as tx:
            return self.log_with(rules).close_epochs(tx)

    def _draft(self, number: int) -> Draft:
        return Draft(
            kind=ReceiptKind.JOB,
            owner=Owner("job", number),
            tenant=f"tenant {number % 7}",
            finish_reason="stop",
            paid=Paid(received_msat=10_000, charged_msat=10_000, owed_back_msat=0),
            input=b"question",
            output=b"answer",
        )
