"""`/metrics` for Prometheus: what the rooms' own rows say at the moment of the scrape, and what the web processes counted.

Behind a token of its own (`METRICS_TOKEN`). Labels are kinds, states and names from our own tables and settings, never an id.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator

import structlog
from flask import Flask, Response, request
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from config.queues import ANCHOR, INFERENCE, LLM, MONEY, PAYOUT, QUEUES, TICK, VERIFICATION, Queue
from shared.access import gauges as access
from shared.access.gauges import KeyGauges
from shared.agent import gauges as agent
from shared.agent.gauges import LATENCY_BOUNDS_MS, UNBOUNDED_MS, ModelGauge
from shared.agent.reconciliation import LastReconciled, last_reconciled
from shared.agent.sessions import gauges as sessions
from shared.agent.sessions.gauges import SessionGauges
from shared.catalog import gauges as catalog
from shared.catalog.gauges import CatalogGauges
from shared.inference import gauges as inference
from shared.inference.gauges import RunGauges
from shared.kernel.errors import Unauthorized, Unavailable
from shared.ledger import gauges as ledger
from shared.ledger.gauges import LedgerGauges
from shared.lightning import gauges as lightning
from shared.lightning.gauges import InvoiceGauges, PayoutGauges
from shared.receipts import gauges as receipts
from shared.receipts.gauges import ProofGauges
from shared.receipts.model import AnchorState
from shared.verification import gauges as verification
from shared.verification.gauges import VerificationGauges
from shared.work import gauges as work
from shared.work.gauges import WorkGauges
from shared.work.model import StepState
from web.context import container
from web.intake import meter

log = structlog.get_logger(__name__)

Samples = Iterable[tuple[tuple[str, ...], float]]

QUEUE_OF: dict[str, Queue] = {
    "job.open_eval_invoice": MONEY,
    "job.evaluate": LLM,
    "job.open_work_invoice": MONEY,
    "job.execute": LLM,
    "plan.open_invoice": MONEY,
    "invoice.open": MONEY,
    "invoice.withdraw": MONEY,
    "request.evaluate": LLM,
    "request.execute": LLM,
    "demo.evaluate": LLM,
    "demo.execute": LLM,
    "run.infer": INFERENCE,
    "forward.extract": VERIFICATION,
    "forward.verify": VERIFICATION,
    "forward.remediate": VERIFICATION,
    "reverse.specify": VERIFICATION,
    "reverse.constrain": VERIFICATION,
    "reverse.generate": VERIFICATION,
    "reverse.verify": VERIFICATION,
    "reverse.repair": VERIFICATION,
    "payout.send": PAYOUT,
    "sweep.find_due": MONEY,
    "sweep.settle": MONEY,
    "sweep.advance": MONEY,
    "log.integrate": TICK,
    "anchor.submit": ANCHOR,
}
"""The queue of each step, as `workers/chains.py` has it, which web does not import; a test compares the two."""
_UNKNOWN_QUEUE = "unknown"
_OLDEST = (StepState.QUEUED, StepState.RUNNING)


def register(app: Flask) -> None:
    """Serve `/metrics`."""
    app.add_url_rule("/metrics", endpoint="metrics", view_func=get_metrics)


def get_metrics() -> Response:
    """Return every figure in Prometheus's text format. Raises `Unauthorized`."""
    _require_token(container().settings.metrics_token)
    registry = CollectorRegistry()
    registry.register(_Fixed(_figures()))
    text = generate_latest(registry) + generate_latest(meter().registry())
    return Response(text, content_type=CONTENT_TYPE_PLAIN_0_0_4)


def _require_token(token: str) -> None:
    """Where no token is set nobody gets in: figures of a business are nothing to show by default."""
    given = request.headers.get("Authorization", "").encode()
    if not token or not hmac.compare_digest(given, f"Bearer {token}".encode()):
        raise Unauthorized("the metrics need the token of METRICS_TOKEN")


class _Fixed(Collector):
    """Figures that were read before."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """Yield them."""
        yield from self._metrics


def _figures() -> list[Metric]:
    """Read every room in one transaction. A database that is away is itself a figure: the scrape must not fail for it."""
    try:
        with container().database.transaction() as tx:
            figures = [
                *_work(work.gauges(tx)),
                *_invoices(lightning.gauges(tx)),
                *_payouts(lightning.payout_gauges(tx)),
                *_books(ledger.gauges(tx)),
                *_proofs(receipts.gauges(tx)),
                *_sessions(sessions.gauges(tx)),
                *_runs(inference.gauges(tx)),
                *_verifications(verification.gauges(tx)),
                *_catalog(catalog.gauges(tx)),
                *_keys(access.gauges(tx)),
                *_models(agent.gauges(tx)),
                *_reconciled(last_reconciled(tx)),
            ]
    except Unavailable:
        log.warning("gauges_not_read")
        figures = []
    up = _gauge("lucid_database_up", "1 where the figures from the database are in this scrape.", [((), bool(figures))])
    return [up, *figures]


def _work(read: WorkGauges) -> Iterator[Metric]:
    yield _gauge(
        "lucid_outbox_rows",
        "Outbox rows: due ones wait for the relay, delayed ones for their time.",
        [(("due",), read.outbox_due), (("delayed",), read.outbox_delayed)],
        labels=("when",),
    )
    yield _gauge("lucid_outbox_age_seconds", "Age of the oldest due outbox row.", [((), read.outbox_age_s)])
    yield _gauge(
        "lucid_steps",
        "Steps that are queued, running or quarantined.",
        [((_queue(f"{s.kind}.{s.name}"), f"{s.kind}.{s.name}", s.state), s.steps) for s in read.steps],
        labels=("queue", "step", "state"),
    )
    yield _gauge(
        "lucid_steps_quarantined",
        "Steps that were given up because their owners kept dying.",
        [((), sum(step.steps for step in read.of(StepState.QUARANTINED)))],
    )
    yield _gauge(
        "lucid_oldest_step_seconds",
        "Age of a queue's oldest step: queued ones since they were due, running ones since their first claim.",
        _oldest(read),
        labels=("queue", "state"),
    )
    yield _gauge("lucid_leases_lapsed", "Running steps whose owner stopped renewing.", [((), read.lapsed)])
    yield _gauge(
        "lucid_tick_age_seconds",
        "Time since a scheduled tick last did something.",
        [((name,), age_s) for name, age_s in read.tick_ages.items()],
        labels=("tick",),
    )
    yield _gauge(
        "lucid_queue_consumed_age_seconds",
        "Time since a worker last consumed a canary of the queue.",
        [((queue,), age_s) for queue, age_s in read.canary_ages.items()],
        labels=("queue",),
    )


def _oldest(read: WorkGauges) -> Samples:
    ages = {(queue.name, state): 0.0 for queue in QUEUES for state in _OLDEST}
    for state in _OLDEST:
        for step in read.of(state):
            key = (_queue(f"{step.kind}.{step.name}"), state)
            ages[key] = max(ages.get(key, 0.0), step.age_s)
    return ages.items()


def _queue(step: str) -> str:
    """Return the queue of a step; one of another release may lie in the database."""
    return QUEUE_OF[step].name if step in QUEUE_OF else _UNKNOWN_QUEUE


def _invoices(read: InvoiceGauges) -> Iterator[Metric]:
    yield _gauge(
        "lucid_invoices_open",
        "Invoices that can be paid or are being made.",
        [((purpose,), count) for purpose, count in read.open.items()],
        labels=("purpose",),
    )
    yield _gauge(
        "lucid_invoice_overdue_seconds",
        "Time since the oldest open invoice expired; polling should have ended it.",
        [((), read.overdue_s)],
    )


def _payouts(read: PayoutGauges) -> Iterator[Metric]:
    yield _gauge(
        "lucid_payouts",
        "Payments of what was owed, by state; intended, sending and unknown have not ended.",
        [((state,), count) for state, count in read.payouts.items()],
        labels=("state",),
    )
    yield _gauge(
        "lucid_payout_open_seconds", "Age of the oldest payout that has not ended, 0 without one.", [((), read.open_s)]
    )
    yield _gauge(
        "lucid_payouts_needing_review", "Open payouts about which the node's word is wanting.", [((), read.review)]
    )
    yield _gauge(
        "lucid_payouts_held_after_restore",
        "1 while this database is not the one that was accepted: no payout is sent for the first time.",
        [((), int(read.are_held))],
    )


def _books(read: LedgerGauges) -> Iterator[Metric]:
    yield _gauge(
        "lucid_ledger_imbalance_msat", "Sum of all postings: 0, or the books are broken.", [((), read.imbalance_msat)]
    )
    yield _gauge(
        "lucid_ledger_account_msat",
        "Sum of an account's postings; liabilities and revenue are negative.",
        [((account,), amount) for account, amount in read.accounts.items()],
        labels=("account",),
    )
    yield _gauge(
        "lucid_debts_open",
        "Debts that are not paid.",
        [((reason,), debts.debts) for reason, debts in read.debts.items()],
        labels=("reason",),
    )
    yield _gauge(
        "lucid_debts_open_msat",
        "What is owed back.",
        [((reason,), debts.amount_msat) for reason, debts in read.debts.items()],
        labels=("reason",),
    )
    yield _gauge("lucid_reservations_open", "Reservations that have not ended.", [((), read.reservations)])
    yield _gauge("lucid_reservations_open_msat", "What they speak for.", [((), read.reserved_msat)])
    yield _gauge(
        "lucid_reservation_overdue_seconds",
        "Time since the oldest open reservation should have ended.",
        [((), read.reservation_overdue_s)],
    )


def _runs(read: RunGauges) -> Iterator[Metric]:
    yield _gauge(
        "lucid_runs",
        "Inference runs under way.",
        [((state,), count) for state, count in read.runs.items()],
        labels=("state",),
    )
    yield _gauge(
        "lucid_run_age_seconds",
        "Age of the oldest of them.",
        [((state,), age_s) for state, age_s in read.oldest_s.items()],
        labels=("state",),
    )


def _verifications(read: VerificationGauges) -> Iterator[Metric]:
    yield _gauge(
        "lucid_verifications",
        "Verifications under way.",
        [((state,), count) for state, count in read.verifications.items()],
        labels=("state",),
    )
    yield _gauge(
        "lucid_verification_age_seconds",
        "For how long the oldest of them has been since it was accepted.",
        [((state,), age_s) for state, age_s in read.oldest_s.items()],
        labels=("state",),
    )


def _keys(read: KeyGauges) -> Iterator[Metric]:
    yield _gauge(
        "lucid_api_keys",
        "API keys that are valid.",
        [((mode, tier), count) for (mode, tier), count in read.keys.items()],
        labels=("mode", "tier"),
    )


def _catalog(read: CatalogGauges) -> Iterator[Metric]:
    yield _gauge(
        "lucid_nodes",
        "Active nodes by what they last said; unknown where that is older than 30 seconds.",
        [((status, str(simulated).lower()), count) for (status, simulated), count in read.nodes.items()],
        labels=("status", "simulated"),
    )
    yield _gauge(
        "lucid_passports",
        "Passports of all tenants.",
        [((type_, status), count) for (type_, status), count in read.passports.items()],
        labels=("type", "status"),
    )


def _sessions(read: SessionGauges) -> Iterator[Metric]:
    yield _gauge(
        "lucid_sessions",
        "Prefunded sessions.",
        [((state,), count) for state, count in read.sessions.items()],
        labels=("state",),
    )
    yield _gauge(
        "lucid_session_requests_running",
        "Requests that run on a session's balance.",
        [((state,), count) for state, count in read.requests.items()],
        labels=("state",),
    )
    yield _gauge("lucid_session_request_age_seconds", "Age of the oldest of them.", [((), read.request_age_s)])
    yield _gauge(
        "lucid_session_overdue_seconds",
        "Time since the oldest idle session should have ended; a tick ends each soon after that.",
        [((), read.overdue_s)],
    )


def _proofs(read: ProofGauges) -> Iterator[Metric]:
    yield _gauge("lucid_log_size", "Receipts in the log.", [((), read.log_size)])
    yield _gauge("lucid_receipts_unintegrated", "Receipts that wait for the log.", [((), read.unintegrated)])
    yield _gauge("lucid_receipt_waiting_seconds", "How long the oldest of them has waited.", [((), read.waiting_s)])
    yield _gauge(
        "lucid_epoch_age_seconds",
        "Age of the open epoch.",
        [] if read.epoch_age_s is None else [((), read.epoch_age_s)],
    )
    yield _gauge("lucid_epoch_receipts", "Receipts in the open epoch.", [((), read.epoch_receipts)])
    yield _gauge(
        "lucid_anchors_not_final",
        "Anchors that are under way or failed.",
        [((a.target, a.state), a.anchors) for a in read.anchors if a.state is not AnchorState.FINAL],
        labels=("target", "state"),
    )
    yield _gauge(
        "lucid_anchor_final_age_seconds",
        "Time since a target last vouched for the log.",
        [((a.target,), a.ended_s) for a in read.anchors if a.state is AnchorState.FINAL and a.ended_s is not None],
        labels=("target",),
    )


def _models(read: list[ModelGauge]) -> Iterator[Metric]:
    latency = HistogramMetricFamily(
        "lucid_model_call_seconds", "Time a model's call took, by outcome.", labels=("model", "outcome")
    )
    tokens = CounterMetricFamily(
        "lucid_model_tokens", "Tokens of model calls.", labels=("model", "outcome", "direction")
    )
    for gauge in read:
        labels = (gauge.model, gauge.outcome)
        latency.add_metric(labels, buckets=_cumulative(gauge.by_bound), sum_value=gauge.latency_ms / 1000)
        tokens.add_metric((*labels, "in"), gauge.tokens_in)
        tokens.add_metric((*labels, "out"), gauge.tokens_out)
    yield latency
    yield tokens


def _reconciled(last: LastReconciled | None) -> Iterator[Metric]:
    yield _gauge(
        "lucid_reconcile_differences",
        "What the newest comparison of the books with the Lightning node's found; absent before the first.",
        [((), last.differences)] if last else [],
    )
    yield _gauge("lucid_reconcile_age_seconds", "Time since then.", [((), last.age_s)] if last else [])


def _cumulative(by_bound: dict[int, int]) -> list[tuple[str, float]]:
    """Turn counts by bucket into Prometheus's counts of everything up to a bound, in seconds."""
    buckets = []
    for bound_ms in (*LATENCY_BOUNDS_MS, UNBOUNDED_MS):
        within = sum(calls for up_to_ms, calls in by_bound.items() if up_to_ms <= bound_ms)
        buckets.append(("+Inf" if bound_ms == UNBOUNDED_MS else str(bound_ms / 1000), float(within)))
    return buckets


def _gauge(name: str, text: str, samples: Samples, *, labels: tuple[str, ...] = ()) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family
