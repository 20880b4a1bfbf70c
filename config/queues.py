"""The Celery queues: split by duration and blast radius, never by priority.

Each queue is consumed by one Procfile line of its own; an architecture test holds Procfile, compose and this table together.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Queue:
    """One queue and the worker process that drains it."""

    name: str
    concurrency: int
    purpose: str


MONEY = Queue("money", 8, "invoices, settlement, ledger, receipts: short steps that talk to the Lightning node")
LLM = Queue("llm", 8, "model calls: long, streaming")
INFERENCE = Queue(
    "inference", 150, "runs of the gateway: one thread a stream; as many processes as the machine has cores"
)
VERIFICATION = Queue(
    "verification", 8, "stages of verifications: model calls and code that runs in sandboxes, minutes long"
)
ANCHOR = Queue("anchor", 2, "witnesses and chains: slow, outside our control")
PAYOUT = Queue("payout", 4, "money out: the only worker that needs the macaroon that pays")
TICK = Queue("tick", 4, "scheduled doorbells and the log's sequencer")

QUEUES = (MONEY, LLM, INFERENCE, VERIFICATION, PAYOUT, ANCHOR, TICK)
