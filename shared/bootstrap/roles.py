"""What a process is for, and which parts it needs from its start."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a process is for."""

    WEB = "web"
    RELAY = "relay"
    WORKER = "worker"
    LISTENER = "invoices"
    BEAT = "beat"
    CLI = "cli"


PARTS = {
    Role.WEB: (
        "jobs",
        "sessions",
        "claims",
        "refunds",
        "l402_jobs",
        "l402_requests",
        "demos",
        "estimates",
        "reading",
        "idempotency",
        "api_keys",
        "quotas",
        "plans",
        "claimed_receipts",
        "project_epochs",
        "epoch_commits",
        "splits",
        "catalog",
        "passports",
        "nodes",
        "runs",
        "verifications",
    ),
    Role.WORKER: (
        "jobs",
        "session_requests",
        "session_closing",
        "openings",
        "plan_invoices",
        "quotas",
        "evaluation",
        "execution",
        "disbursement",
        "demos",
        "demonstration",
        "polling",
        "log",
        "anchoring",
        "idempotency",
        "macaroons",
        "probing",
        "nodes",
        "runs",
        "inference",
        "verifications",
        "verification_engine",
    ),
    Role.RELAY: ("work",),
    Role.LISTENER: ("settlements", "node"),
    Role.BEAT: (),
    Role.CLI: (),
}
TALKS_TO_NODE = frozenset({Role.WORKER, Role.LISTENER, Role.CLI})
