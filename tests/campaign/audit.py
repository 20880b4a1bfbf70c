"""What must hold when the noise is over, asked of the tables themselves: every query below finds nothing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

from tests.e2e.ledger_reader import LedgerReader
from tests.e2e.lightning_hand import LightningHand
from tests.e2e.patience import eventually

SETTLE_S = 45.0
COMPLETE = ["awaiting_eval_payment", "evaluating", "awaiting_work_payment", "executing", "complete"]

# What takes a moment after the last fault: the relay publishes, the rescuer rings, the sequencer integrates.
AT_REST = {
    "outbox rows that are due": "SELECT id, topic FROM outbox WHERE available_at < now() - interval '1 s'",
    "steps that run past their lease": "SELECT id, name FROM steps WHERE state = 'running' AND lease_until < now()",
    "steps of ended jobs that are not over": """
        SELECT steps.name FROM steps JOIN jobs ON owner_kind = 'job' AND owner_id = jobs.id
         WHERE jobs.state IN ('complete', 'rejected') AND steps.state IN ('queued', 'running')""",
    "receipts that are not in the log": "SELECT id FROM receipts WHERE leaf_index IS NULL",
}

NEVER = {
    "entries that do not sum to zero": "SELECT entry_id FROM postings GROUP BY entry_id HAVING sum(amount_msat) <> 0",
    "ended jobs that hold money": """
        SELECT jobs.id FROM jobs JOIN postings ON owner_kind = 'job' AND owner_id = jobs.id AND account = 'customer'
         WHERE jobs.state IN ('complete', 'rejected', 'failed') GROUP BY jobs.id HAVING sum(amount_msat) <> 0""",
    "settled invoices that were not credited just once": """
        SELECT invoices.id FROM invoices LEFT JOIN entries ON kind = 'receive' AND ref = encode(payment_hash, 'hex')
         WHERE state = 'settled' GROUP BY invoices.id HAVING count(entries.id) <> 1""",
    "credits without a settled invoice": """
        SELECT entries.id FROM entries WHERE kind = 'receive'
           AND NOT EXISTS (SELECT 1 FROM invoices WHERE state = 'settled' AND encode(payment_hash, 'hex') = ref)""",
    "debts that their account does not hold": """
        SELECT entry_id FROM debts WHERE NOT EXISTS
          (SELECT 1 FROM postings
            WHERE postings.entry_id = debts.entry_id AND account = 'debts_payable' AND -postings.amount_msat = debts.amount_msat)""",
    "paid jobs that ended without just one receipt": """
        SELECT jobs.id FROM jobs
         WHERE jobs.state IN ('complete', 'rejected', 'failed')
           AND EXISTS (SELECT 1 FROM invoices WHERE owner_kind = 'job' AND owner_id = jobs.id AND state = 'settled' AND NOT late)
           AND (SELECT count(*) FROM receipts WHERE owner_kind = 'job' AND owner_id = jobs.id) <> 1""",
    "complete jobs that were not charged just once": """
        SELECT jobs.id FROM jobs WHERE jobs.state = 'complete' AND
          (SELECT count(*) FROM entries WHERE kind = 'earn' AND ref = 'job:' || jobs.id || ':work') <> 1""",
    "jobs whose row and last event differ": """
        SELECT jobs.id FROM jobs WHERE state IS DISTINCT FROM
          (SELECT to_state FROM events
            WHERE owner_kind = 'job' AND owner_id = jobs.id AND to_state IS NOT NULL ORDER BY seq DESC LIMIT 1)""",
    "event streams with gaps": """
        SELECT owner_kind, owner_id FROM events WHERE owner_kind = 'job'
         GROUP BY owner_kind, owner_id HAVING min(seq) <> 1 OR max(seq) <> count(*)""",
    "event streams that leap": """
        SELECT * FROM (SELECT owner_id, from_state, lag(to_state) OVER (PARTITION BY owner_id ORDER BY seq) AS before
                         FROM events WHERE owner_kind = 'job' AND to_state IS NOT NULL) AS moves
         WHERE before IS NOT NULL AND before IS DISTINCT FROM from_state""",
    "quarantined steps": "SELECT owner_kind, name, fault FROM steps WHERE state = 'quarantined'",
    "leaves out of order": """
        SELECT leaf_index FROM (SELECT leaf_index, row_number() OVER (ORDER BY leaf_index) - 1 AS place FROM receipts
                                 WHERE leaf_index IS NOT NULL) AS leaves WHERE leaf_index <> place""",
    "a log of another size than its leaves": """
        SELECT size FROM log_state WHERE size <> (SELECT count(*) FROM receipts WHERE leaf_index IS NOT NULL)""",
    "epochs that do not join": """
        SELECT number FROM (SELECT number, start_size, lag(end_size, 1, 0::bigint) OVER (ORDER BY number) AS before FROM epochs) AS joined
         WHERE start_size <> before""",
    "anchors that were given up": "SELECT id, fault FROM anchors WHERE state = 'failed'",
}


@dataclass(frozen=True)
class Auditor:
    """Reads the books of one stack and its merchant's node."""

    ledger: LedgerReader
    lightning: LightningHand

    def require_rest(self, *, within_s: float = SETTLE_S) -> None:
        """Wait until nothing is left to do."""
        for what, sql in AT_REST.items():
            eventually(partial(self._finds_nothing, sql), what=f"an end of {what}", within_s=within_s)

    def _finds_nothing(self, sql: str) -> bool:
        return not self.ledger.rows(sql)

    def require_truth(self, *, except_for: Collection[str] = ()) -> None:
        """Fail with everything that is wrong in the tables, or between them and the node."""
        wrong = {
            what: rows for what, sql in NEVER.items() if what not in except_for and (rows := self.ledger.rows(sql))
        }
        assert wrong == {}
        assert self.ledger.total() == 0
        eventually(
            lambda: self.ledger.total("node") == self.lightning.received_msat(),
            what="a node account that is what the node received",
            within_s=SETTLE_S,
        )

    def require_done_once(self, job_id: str) -> None:
        """The job is complete: one way there, one result, one receipt, and every millisatoshi is earned or owed."""
        assert self.ledger.moves(job_id) == COMPLETE
        book = self.ledger.book(job_id)
        assert book.held == 0
        assert book.received == book.earned_eval + book.earned_work + sum(book.owed.values())
        assert set(book.owed) <= {"unused"}
        (receipt,) = self.ledger.receipts(job_id)
        assert receipt["charged_msat"] == book.earned_eval + book.earned_work
        assert receipt["received_msat"] == book.received
