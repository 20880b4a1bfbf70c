"""A caller of the gateway on the sweep's bench: each call has one run done, and holds it to its one end in the tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.campaign.run_caller import RunCaller
from tests.e2e.ledger_reader import LedgerReader

# A key whose first call died is held for a minute: that minute is skipped.
LOST_AT_ONCE = """UPDATE idempotency_keys SET created_at = created_at - interval '2 minutes'
                   WHERE key = %(key)s AND status IS NULL RETURNING key"""
LEFT_BY = """SELECT (SELECT count(*) FROM usage WHERE owner_kind = 'run' AND owner_id = runs.id) AS counted,
                    (SELECT count(*) FROM receipts WHERE owner_kind = 'run' AND owner_id = runs.id) AS receipts
               FROM runs WHERE run_id = %(run)s AND ended_at IS NOT NULL"""


class Asker:
    """Has models run, by way of a patient caller."""

    def __init__(self, endpoints: Mapping[str, Any]) -> None:
        self._ledger: LedgerReader | None = None
        self.caller = RunCaller(endpoints, on_conflict=self._skip_the_minute)

    def close(self) -> None:
        """Close his connection."""
        self.caller.close()

    def ask(self, ledger: LedgerReader) -> None:
        """Have a run done and wait for it."""
        self._ledger = ledger
        self._ended_once(ledger, self.caller.wait())

    def listen(self, ledger: LedgerReader) -> None:
        """Read a stream to its end, resumed where it is cut."""
        self._ended_once(ledger, self.caller.read())

    def leave(self, ledger: LedgerReader) -> None:
        """Leave a stream after its first event."""
        self._ended_once(ledger, self.caller.leave())

    def cancel(self, ledger: LedgerReader) -> None:
        """Have a run made for nobody, and cancel it."""
        self._ledger = ledger
        self._ended_once(ledger, self.caller.cancel())

    def _skip_the_minute(self, key: str) -> None:
        if self._ledger is not None:
            self._ledger.rows(LOST_AT_ONCE, key=key)

    def _ended_once(self, ledger: LedgerReader, run_id: str) -> None:
        (left,) = ledger.rows(LEFT_BY, run=run_id)
        assert list(left.values()) == [1, 1], run_id
