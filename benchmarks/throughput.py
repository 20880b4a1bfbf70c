"""Jobs a second, end to end, against bare Celery chains of as many hops on the same broker with the same worker settings.

Sixteen customers buy at once: create over HTTP, pay twice from the sandbox wallet, wait for the result. Customers, wallet, node and
model run on the same cores as the product, so the processor time of each process says where the time went.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from benchmarks.costs import Run, costs, processes, watched, written
from benchmarks.crowd import at_once
from benchmarks.customer import Customer, Payer
from benchmarks.effort import CUSTOMERS, Effort
from benchmarks.figures import Comparison, Figure, Section, rate
from benchmarks.ground import Ground
from benchmarks.peer import ROUTE, Peer, running_peer

GOAL_RATIO = 0.5
SENDERS = 4
_STEPS = """
SELECT name, count(*) AS steps, sum(fence) AS claims,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM started_at - created_at)) AS waited,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM ended_at - started_at)) AS took
  FROM steps WHERE owner_kind = 'job' AND owner_id > %(after)s AND state = 'done' GROUP BY name ORDER BY min(id)
"""
_RECEIPTS = "SELECT count(*) AS receipts FROM receipts WHERE owner_kind = 'job' AND owner_id > %(after)s"


def measure(ground: Ground, effort: Effort) -> Section:
    """Run the jobs, then the peers."""
    ours, hops, steps = _jobs(ground, effort)
    with running_peer(ground) as peer:
        pids = processes(ground) | peer.pids
        _chains_at_once(peer, CUSTOMERS)
        flood = watched(ground, pids, effort.chains, lambda: _chains_at_once(peer, effort.chains))
        turns = watched(ground, pids, effort.chains, lambda: _in_turns(peer, effort.chains))
        with _effects(ground, peer) as run:
            run(CUSTOMERS)
            effects = watched(ground, pids, effort.jobs, lambda: run(effort.jobs))
    bare = max(flood, turns, key=lambda run: run.per_s)
    return _section(ours, hops, steps, bare=bare, flood=flood, turns=turns, effects=effects)


def _jobs(ground: Ground, effort: Effort) -> tuple[Run, list[Figure], list[Figure]]:
    """Return the run, its hops as the rows have them, and how long its steps waited and ran."""
    with ExitStack() as opened, ground.connect() as rows:
        customers = [opened.enter_context(Customer(ground)) for _ in range(CUSTOMERS)]

        def buy(number: int, share: int) -> None:
            for _ in range(share):
                customers[number].buy()

        at_once(buy, max(CUSTOMERS, effort.warm_jobs), threads=CUSTOMERS)
        last = rows.execute("SELECT coalesce(max(id), 0) AS id FROM jobs").fetchone()
        before = written(rows)
        run = watched(ground, processes(ground), effort.jobs, lambda: at_once(buy, effort.jobs, threads=CUSTOMERS))
        wrote_count = written(rows) - before
        after = {"after": last["id"] if last else 0}
        steps = rows.execute(_STEPS, after).fetchall()
        receipts = rows.execute(_RECEIPTS, after).fetchone()
    hops = {f"job.{row['name']}": int(row["claims"]) for row in steps} | {
        "log.integrate": int(receipts["receipts"]) if receipts else 0
    }
    counted = Figure(
        "hops a job: claims of its steps, and its receipt's doorbell",
        {"in_all": sum(hops.values()) / run.count} | {name: count / run.count for name, count in hops.items()},
        run.count,
    )
    wrote = Figure(
        "database transactions that wrote, a job, ticks included", {"in_all": wrote_count / run.count}, run.count
    )
    return run, [counted, wrote], [_step(row) for row in steps]


def _step(row: dict[str, Any]) -> Figure:
    columns = {"p50_waits_ms": row["waited"] * 1000, "p50_runs_ms": row["took"] * 1000}
    return Figure(f"a job's step {row['name']}", columns, row["steps"])


def _section(
    ours: Run, hops: list[Figure], steps: list[Figure], *, bare: Run, flood: Run, turns: Run, effects: Run
) -> Section:
    return Section(
        "Jobs a second, end to end, on the simulated model",
        [
            rate(f"jobs, {CUSTOMERS} customers at once", ours.count, ours.elapsed_s),
            rate(f"bare chains of {len(ROUTE)} hops, all sent at once", flood.count, flood.elapsed_s),
            rate(f"bare chains of {len(ROUTE)} hops, {CUSTOMERS} in flight", turns.count, turns.elapsed_s),
            rate("chains with a job's outside effects, nothing kept", effects.count, effects.elapsed_s),
            *hops,
        ],
        [
            Comparison("jobs / bare chains (the faster way)", ours.per_s / bare.per_s, limit=GOAL_RATIO, at_most=False),
            Comparison("jobs / chains with the same outside effects", ours.per_s / effects.per_s),
        ],
        [*costs("a job", ours), *steps, *costs("a bare chain", bare), *costs("a chain with effects", effects)],
        [
            f"A job's hops: job.open_eval_invoice, job.evaluate, job.open_work_invoice, job.execute, log.integrate: {len(ROUTE)}.",
            (
                "Outside effects: two invoices at the node, two payments from the wallet, two calls of the model; no HTTP API, no"
                " database, no ledger, no receipt."
            ),
            "Processor time includes what the process does anyway (ticks, polls) in that time.",
        ],
    )


def _chains_at_once(peer: Peer, count: int) -> None:
    def send(_sender: int, share: int) -> None:
        for number in range(share):
            peer.send_chain(number, "bench:all")

    at_once(send, count, threads=SENDERS)
    for _ in range(count):
        peer.await_reply("bench:all")


def _in_turns(peer: Peer, count: int) -> None:
    def sender(_sender: int, share: int) -> None:
        for number in range(share):
            peer.run_chain(number)

    at_once(sender, count, threads=CUSTOMERS)


@contextmanager
def _effects(ground: Ground, peer: Peer) -> Iterator[Callable[[int], None]]:
    """Yield what runs so many chains with effects, with wallets that are connected already."""
    payers = [Payer(ground) for _ in range(CUSTOMERS)]

    def customer(number: int, share: int) -> None:
        for chain in range(share):
            peer.run_effects(chain, payers[number])

    yield lambda count: at_once(customer, count, threads=CUSTOMERS)
    for payer in payers:
        payer.close()
