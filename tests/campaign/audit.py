"""What must hold when the noise is over, asked of the tables themselves: every query below finds nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import httpx

from config.schedule import TICKS
from tests.campaign.plan_audit import PLANS_NEVER
from tests.campaign.run_audit import RUNS_AT_REST, RUNS_NEVER, require_true_streams
from tests.campaign.verification_audit import VERIFICATIONS_AT_REST, VERIFICATIONS_NEVER
from tests.e2e.ledger_reader import LedgerReader
from tests.e2e.node_books import NodeBooks
from tests.e2e.patience import eventually

SETTLE_S = 45.0
COMPLETE = ["awaiting_eval_payment", "evaluating", "awaiting_work_payment", "executing", "complete"]

_QUICK_TICKS = ", ".join(
    f"'{tick.name}'" for tick in TICKS if tick.period_s < 60
)  # the others are rung too rarely to be waited for

# What takes a moment after the last fault: the relay publishes, the rescuer rings, the sequencer integrates.
AT_REST = {
    "outbox rows that are due": "SELECT id, topic FROM outbox WHERE available_at < now() - interval '1 s'",
    "steps that run past their lease": "SELECT id, name FROM steps WHERE state = 'running' AND lease_until < now()",
    "outbox rows that are put off for longer than anything waits": """
        SELECT id, topic FROM outbox WHERE available_at > now() + interval '10 min'""",
    "steps that are put off or held for longer than anything waits": """
        SELECT owner_kind, name, state FROM steps WHERE (state = 'queued' AND not_before > now() + interval '10 min')
            OR (state = 'running' AND lease_until > now() + interval '10 min')""",
    "open invoices that nobody will look at for longer than any wait": """
        SELECT id FROM invoices WHERE state = 'open' AND next_check > now() + interval '10 min'""",
    "ticks that are put off for longer than their periods": f"""
        SELECT name FROM schedule WHERE next_run > now() + interval '1 min' AND name IN ({_QUICK_TICKS})""",  # noqa: S608 - our own names
    **RUNS_AT_REST,
    **VERIFICATIONS_AT_REST,
    "requests that have not ended": "SELECT id, state FROM session_requests WHERE ended_at IS NULL",
    "runs that have not ended": "SELECT id, state FROM runs WHERE ended_at IS NULL",
    "open reservations": "SELECT id, ref FROM reservations WHERE state = 'open'",
    "payouts that have not ended": "SELECT id, state FROM payouts WHERE ended_at IS NULL",
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
            WHERE postings.entry_id = debts.entry_id AND account = 'debts_payable'
              AND (-postings.amount_msat = debts.amount_msat OR reason = 'rest'))""",
    "owners who are owed another sum than the account holds for them": """
        SELECT owner_kind, owner_id FROM postings WHERE account = 'debts_payable' GROUP BY owner_kind, owner_id
        HAVING -sum(amount_msat) <> (SELECT coalesce(sum(amount_msat), 0) FROM debts
                                      WHERE debts.owner_kind = postings.owner_kind AND debts.owner_id = postings.owner_id
                                        AND debts.state = 'open')""",
    "free calls whose row and last event differ": """
        SELECT id FROM demos WHERE state IS DISTINCT FROM
          (SELECT to_state FROM events
            WHERE owner_kind = 'demo' AND owner_id = demos.id AND to_state IS NOT NULL ORDER BY seq DESC LIMIT 1)""",
    "sessions that hold another sum than came in, less what was debited, paid out and is owed": """
        SELECT id FROM sessions WHERE
          (SELECT coalesce(sum(paid_msat), 0) FROM invoices WHERE owner_kind = 'session' AND owner_id = sessions.id AND state = 'settled')
          - (SELECT coalesce(sum(eval_msat + work_msat), 0) FROM session_requests WHERE session_id = sessions.id)
          - (SELECT coalesce(sum(amount_msat), 0) FROM payouts WHERE owner_kind = 'session' AND owner_id = sessions.id AND state = 'paid')
          - (SELECT coalesce(sum(amount_msat), 0) FROM debts WHERE owner_kind = 'session' AND owner_id = sessions.id AND state = 'open')
          <> (SELECT -coalesce(sum(amount_msat), 0) FROM postings
               WHERE account = 'customer' AND owner_kind = 'session' AND owner_id = sessions.id)""",
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
        SELECT owner_kind, owner_id FROM events WHERE owner_kind IN ('job', 'session', 'request', 'payout', 'run', 'plan')
         GROUP BY owner_kind, owner_id HAVING min(seq) <> 1 OR max(seq) <> count(*)""",
    "event streams that leap": """
        SELECT * FROM (SELECT owner_kind, owner_id, from_state,
                              lag(to_state) OVER (PARTITION BY owner_kind, owner_id ORDER BY seq) AS before
                         FROM events WHERE to_state IS NOT NULL) AS moves
         WHERE before IS NOT NULL AND before IS DISTINCT FROM from_state""",
    "owners of whom more is reserved than they hold": """
        SELECT owner_kind, owner_id FROM reservations AS spoken WHERE state = 'open' GROUP BY owner_kind, owner_id
        HAVING sum(amount_msat) > (SELECT -coalesce(sum(amount_msat), 0) FROM postings
                                    WHERE account = 'customer' AND owner_kind = spoken.owner_kind AND owner_id = spoken.owner_id)""",
    "owners of whom more was taken than they paid": """
        SELECT owner_kind, owner_id FROM postings WHERE account = 'customer' GROUP BY owner_kind, owner_id HAVING sum(amount_msat) > 0""",
    "ended sessions that hold money": """
        SELECT sessions.id FROM sessions JOIN postings ON owner_kind = 'session' AND owner_id = sessions.id AND account = 'customer'
         WHERE sessions.state = 'expired' GROUP BY sessions.id HAVING sum(amount_msat) <> 0""",
    "requests that run in a session that is not active, or without a reservation": """
        SELECT session_requests.id FROM session_requests JOIN sessions ON sessions.id = session_id
         WHERE session_requests.ended_at IS NULL
           AND (sessions.state <> 'active' OR NOT EXISTS
                (SELECT 1 FROM reservations WHERE ref = 'request:' || session_requests.id AND reservations.state = 'open'
                                              AND reservations.amount_msat = reserved_msat))""",
    "ended requests that were not debited just what their rows say": """
        SELECT session_requests.id FROM session_requests
         WHERE ended_at IS NOT NULL AND eval_msat + work_msat <>
           (SELECT coalesce(sum(amount_msat), 0) FROM entries JOIN postings ON entry_id = entries.id
             WHERE kind = 'earn' AND account = 'customer'
               AND entries.ref LIKE 'session:' || session_id || ':request:' || session_requests.id || ':%%')""",
    "ended requests without just one receipt": """
        SELECT id FROM session_requests WHERE ended_at IS NOT NULL
           AND (SELECT count(*) FROM receipts WHERE owner_kind = 'request' AND owner_id = session_requests.id) <> 1""",
    "ended runs without just one receipt": """
        SELECT id FROM runs WHERE ended_at IS NOT NULL
           AND (SELECT count(*) FROM receipts WHERE owner_kind = 'run' AND owner_id = runs.id) <> 1""",
    "ended runs without just one usage row of the same tokens": """
        SELECT id FROM runs WHERE ended_at IS NOT NULL
           AND (SELECT count(*) FROM usage WHERE owner_kind = 'run' AND owner_id = runs.id
                   AND usage.tokens_in = runs.tokens_in AND usage.tokens_out = runs.tokens_out) <> 1""",
    "ended runs that were streamed and kept no events, or the other way round": """
        SELECT id FROM runs
         WHERE (ended_at IS NOT NULL AND streamed) <> EXISTS (SELECT 1 FROM run_frames WHERE run_frames.run_id = runs.id)""",
    "runs whose row and last event differ": """
        SELECT id FROM runs WHERE state IS DISTINCT FROM
          (SELECT to_state FROM events
            WHERE owner_kind = 'run' AND owner_id = runs.id AND to_state IS NOT NULL ORDER BY seq DESC LIMIT 1)""",
    "sessions whose row and last event differ": """
        SELECT sessions.id FROM sessions WHERE state IS DISTINCT FROM
          (SELECT to_state FROM events
            WHERE owner_kind = 'session' AND owner_id = sessions.id AND to_state IS NOT NULL ORDER BY seq DESC LIMIT 1)""",
    "requests whose row and last event differ": """
        SELECT id FROM session_requests WHERE state IS DISTINCT FROM
          (SELECT to_state FROM events
            WHERE owner_kind = 'request' AND owner_id = session_requests.id AND to_state IS NOT NULL ORDER BY seq DESC LIMIT 1)""",
    "payouts whose row and last event differ": """
        SELECT payouts.id FROM payouts WHERE state IS DISTINCT FROM
          (SELECT to_state FROM events
            WHERE owner_kind = 'payout' AND owner_id = payouts.id AND to_state IS NOT NULL ORDER BY seq DESC LIMIT 1)""",
    "payouts that are not bound to just the debts that they pay": """
        SELECT payouts.id FROM payouts WHERE state <> 'failed' AND amount_msat <>
          (SELECT coalesce(sum(debts.amount_msat), 0) / 1000 * 1000 FROM debts WHERE payout_id = payouts.id)""",
    "failed payouts that keep debts bound": """
        SELECT payouts.id FROM payouts JOIN debts ON payout_id = payouts.id WHERE payouts.state = 'failed'""",
    "paid payouts that were not booked just once, with their fees": """
        SELECT payouts.id FROM payouts LEFT JOIN entries ON kind = 'pay_out' AND ref = payouts.id::text
          LEFT JOIN postings ON entry_id = entries.id AND account = 'node'
         WHERE payouts.state = 'paid' GROUP BY payouts.id
        HAVING -sum(postings.amount_msat) IS DISTINCT FROM payouts.amount_msat + fee_msat""",
    "booked payouts that are not paid": """
        SELECT entries.id FROM entries WHERE kind = 'pay_out'
           AND NOT EXISTS (SELECT 1 FROM payouts WHERE state = 'paid' AND id::text = entries.ref)""",
    "quarantined steps": "SELECT owner_kind, name, fault FROM steps WHERE state = 'quarantined'",
    "leaves out of order": """
        SELECT leaf_index FROM (SELECT leaf_index, row_number() OVER (ORDER BY leaf_index) - 1 AS place FROM receipts
                                 WHERE leaf_index IS NOT NULL) AS leaves WHERE leaf_index <> place""",
    "a log of another size than its leaves": """
        SELECT size FROM log_state WHERE size <> (SELECT count(*) FROM receipts WHERE leaf_index IS NOT NULL)""",
    "epochs that do not join": """
        SELECT number FROM (SELECT number, start_size, lag(end_size, 1, 0::bigint) OVER (ORDER BY number) AS before FROM epochs) AS joined
         WHERE start_size <> before""",
    **RUNS_NEVER,
    **VERIFICATIONS_NEVER,
    **PLANS_NEVER,
    "anchors that were given up": "SELECT id, fault FROM anchors WHERE state = 'failed'",
}


@dataclass(frozen=True)
class Auditor:
    """Reads the books of one stack, and those of both nodes."""

    ledger: LedgerReader
    nodes: NodeBooks

    def require_rest(self, *, within_s: float = SETTLE_S) -> None:
        """Wait until nothing is left to do."""
        for what, sql in AT_REST.items():
            eventually(partial(self._finds_nothing, sql), what=f"an end of {what}", within_s=within_s)

    def _finds_nothing(self, sql: str) -> bool:
        return not self.ledger.rows(sql)

    def require_truth(self, *, except_for: Collection[str] = ()) -> None:
        """Fail with everything that is wrong in the tables, or between them and the nodes."""
        wrong = {
            what: rows for what, sql in NEVER.items() if what not in except_for and (rows := self.ledger.rows(sql))
        }
        assert wrong == {}
        require_true_streams(self.ledger)
        with suppress(AssertionError):  # so that what follows says in what they differ
            eventually(self._is_as_the_nodes_say, what="books that are those of the nodes", within_s=SETTLE_S)
        self.nodes.require_equal(self.ledger)

    def _is_as_the_nodes_say(self) -> bool:
        try:
            self.nodes.require_equal(self.ledger)
        except (AssertionError, KeyError, httpx.HTTPError):
            return False
        return True

    def require_paid_back(self, told: Mapping[str, int]) -> None:
        """What customers were told to be paid (sats by payment hash) is what their wallet got, and nothing else is."""
        received = self.nodes.of("wallet").received
        assert {payment_hash: msat // 1000 for payment_hash, msat in received.items()} == told

    def require_done_once(self, job_id: str) -> None:
        """The job is complete: one way there, one result, one receipt, and every millisatoshi is earned or owed."""
        assert self.ledger.moves(job_id) == COMPLETE
        book = self.ledger.book(job_id)
        assert book.held == 0
        paid_back = self.ledger.one(
            "SELECT coalesce(sum(amount_msat), 0)::bigint FROM payouts"
            " WHERE owner_kind = 'job' AND owner_id = %(id)s AND state = 'paid'",
            id=self.ledger.row_id(job_id),
        )
        assert book.received == book.earned_eval + book.earned_work + sum(book.owed.values()) + paid_back
        assert set(book.owed) <= {"unused"}
        (receipt,) = self.ledger.receipts(job_id)
        assert receipt["charged_msat"] == book.earned_eval + book.earned_work
        assert receipt["received_msat"] == book.received

    def require_ended_unpaid(self, job_id: str) -> None:
        """The job ended because an invoice was not paid, or not made, in time: no work was charged; all that came is earned or owed."""
        book = self.ledger.book(job_id)
        assert (book.held, book.earned_work) == (0, 0)
        assert book.received == book.earned_eval + sum(book.owed.values())
        receipts = [(receipt["charged_msat"], receipt["owed_back_msat"]) for receipt in self.ledger.receipts(job_id)]
        assert receipts == ([(book.earned_eval, sum(book.owed.values()))] if book.received else [])
