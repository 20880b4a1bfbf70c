"""A settled invoice moves its job: how long that takes, with 10 and with 10,000 open invoices around it.

Blocks of both levels take turns, so that what else happens on the machine meets both. The open invoices are rows, unexpired
and spread over a minute as polling leaves them, so sweeps run as they would: 200 look-ups at the node in every 5 seconds, one
after the other, spread over four of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from queue import SimpleQueue

import psycopg
from psycopg.rows import DictRow

from benchmarks.customer import Created, Customer, WentWrong, hear
from benchmarks.effort import Effort
from benchmarks.figures import Comparison, Figure, Section, latency, p99_ms, p99_ratio, percentile
from benchmarks.ground import Ground
from benchmarks.program import await_true

FEW, MANY = 10, 10_000
GOAL_RATIO = 1.1
_HAVE = "SELECT count(*) AS there FROM jobs WHERE request = 'a bystander'"
_INSERT = """
WITH made AS (
  INSERT INTO jobs (public_id, request, address_hash, eval_amount_msat)
  SELECT 'job_' || md5(n || clock_timestamp()::text), 'a bystander', sha256('bystanders'), 10000
    FROM generate_series(1, %(count)s) AS n RETURNING id)
INSERT INTO invoices (owner_kind, owner_id, purpose, preimage_salt, payment_hash, amount_msat, memo, payment_request, expires_at,
                      next_check, checks)
SELECT 'job', id, 'eval', sha256(('salt ' || id)::bytea), sha256(('hash ' || id)::bytea), 10000, 'Evaluation fee', 'a bystander',
       now() + interval '1 hour', now() + random() * interval '60 s', 6
  FROM made
"""
_DELETE = """
WITH gone AS (
  DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE request = 'a bystander' LIMIT %(count)s) RETURNING id)
DELETE FROM invoices WHERE owner_kind = 'job' AND owner_id IN (SELECT id FROM gone)
"""
_MOVED_AT = """
SELECT extract(epoch FROM at)::float8 AS at FROM events
 WHERE owner_kind = 'job' AND owner_id = %(id)s AND from_state = %(before)s
"""
_SWEEPING = "SELECT 1 AS one FROM steps WHERE owner_kind = 'sweep' AND state IN ('queued', 'running')"
_SWEEPS = """
SELECT extract(epoch FROM min(started_at))::float8 AS began, extract(epoch FROM max(ended_at))::float8 AS ended
  FROM steps WHERE owner_kind = 'sweep' GROUP BY owner_id HAVING bool_and(state = 'done')
"""


@dataclass(frozen=True)
class Move:
    """One payment's moments in Unix seconds: settled at the node, known to the wallet, crediting begun, move announced."""

    settled_at: float
    returned_at: float
    credit_began_at: float
    moved_at: float

    @property
    def took_s(self) -> float:
        """From the node's settlement to the announced commit of the job's move."""
        return self.moved_at - self.settled_at


def measure(ground: Ground, effort: Effort) -> Section:
    """Pay both invoices of one job after the other, at both levels in turn."""
    blocks: dict[int, list[list[Move]]] = {FEW: [], MANY: []}
    with Customer(ground) as customer, ground.connect() as rows:
        for _ in range(effort.warm_jobs):
            customer.buy()
        for _ in range(effort.settlement_rounds):
            for level, found in blocks.items():
                _have_open(rows, level)
                found.append(_block(ground, customer, rows, lasts_s=effort.settlement_block_s))
        sweeps = [(row["began"], row["ended"]) for row in rows.execute(_SWEEPS).fetchall()]
        _have_open(rows, 0)
    return _section(blocks, sweeps)


def _have_open(rows: psycopg.Connection[DictRow], wanted: int) -> None:
    """Have just as many bystanders with an open invoice, and nothing left to do for having made them."""
    row = rows.execute(_HAVE).fetchone()
    there = int(row["there"]) if row else 0
    rows.execute(_INSERT if wanted > there else _DELETE, {"count": abs(wanted - there)})
    rows.execute("VACUUM ANALYZE jobs")
    rows.execute("VACUUM ANALYZE invoices")
    rows.execute("CHECKPOINT")
    await_true(lambda: rows.execute(_SWEEPING).fetchone() is None, what="the end of a sweep")


def _block(ground: Ground, customer: Customer, rows: psycopg.Connection[DictRow], *, lasts_s: float) -> list[Move]:
    """Buy one job after the other for so long; each brings two moves. Between payments the job comes to rest."""
    moves: list[Move] = []
    ends_at = ground.clock.monotonic() + lasts_s
    while ground.clock.monotonic() < ends_at:
        job = customer.create()
        with ground.announcements.of_job(job.row_id) as arrivals:
            moves.append(
                _pay(customer, rows, job, arrivals, request=job.payment_request, before="awaiting_eval_payment")
            )
            customer.await_state(job, "awaiting_work_payment", arrivals)
            request = customer.work_request(job)
            moves.append(_pay(customer, rows, job, arrivals, request=request, before="awaiting_work_payment"))
            customer.await_state(job, "complete", arrivals)
    return moves


def _pay(
    customer: Customer,
    rows: psycopg.Connection[DictRow],
    job: Created,
    arrivals: SimpleQueue[float],
    *,
    request: str,
    before: str,
) -> Move:
    payment = customer.payer.pay(request)
    moved_at = hear(arrivals)
    while moved_at is not None and (moved_at < payment.settled_at or customer.state(job) == before):
        moved_at = hear(arrivals)  # that one announced something earlier
    began = rows.execute(_MOVED_AT, {"id": job.row_id, "before": before}).fetchone()
    if moved_at is None or began is None:
        raise WentWrong("a payment moved nothing")
    return Move(payment.settled_at, payment.returned_at, began["at"], moved_at)


def _section(blocks: dict[int, list[list[Move]]], sweeps: list[tuple[float, float]]) -> Section:
    took = {level: [move.took_s for block in found for move in block] for level, found in blocks.items()}
    itself = [p99_ms([move.took_s for move in block]) for block in blocks[FEW]]
    return Section(
        "Settled invoice → job moved",
        [latency(f"{level:,} open invoices", found) for level, found in took.items()],
        [
            p99_ratio(f"p99 with {MANY:,} open invoices / with {FEW}", took[MANY], took[FEW], limit=GOAL_RATIO),
            Comparison("p50, the same two", percentile(took[MANY], 0.5) / percentile(took[FEW], 0.5)),
            Comparison(f"p99 with {FEW}, worst block / best (its own scatter)", max(itself) / min(itself)),
        ],
        [line for level, found in blocks.items() for line in _breakdown(f"{level:,} open", found, sweeps)],
        [
            (
                "From the instant at which the sandbox node records the settlement to the announcement that follows the commit of"
                " the job's move. The wallet's own call returns earlier or later than that: see the breakdown."
            ),
            "The open invoices are rows that the node does not know: a look-up costs a call and finds nothing.",
        ],
    )


def _breakdown(level: str, blocks: list[list[Move]], sweeps: list[tuple[float, float]]) -> list[Figure]:
    moves = [move for block in blocks for move in block]
    beside = [move for move in moves if any(b < move.moved_at and move.settled_at < e for b, e in sweeps)]
    alone = [move for move in moves if move not in beside]
    ran = [e - b for b, e in sweeps if any(block[0].settled_at < b < block[-1].moved_at for block in blocks)]
    return [
        latency(f"{level}: node settles → crediting begins", [m.credit_began_at - m.settled_at for m in moves]),
        latency(f"{level}: crediting begins → move announced", [m.moved_at - m.credit_began_at for m in moves]),
        latency(f"{level}: wallet has success → move announced", [m.moved_at - m.returned_at for m in moves]),
        latency(f"{level}: moves while no sweep ran", [m.took_s for m in alone]),
        latency(f"{level}: moves while a sweep ran", [m.took_s for m in beside]),
        latency(f"{level}: a sweep lasted", ran),
    ]
