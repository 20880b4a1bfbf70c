"""The machine's floors: what a bare request, a bare task, a bare commit and a signature cost here, and how near the product's own are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from benchmarks.customer import Customer
from benchmarks.effort import Effort
from benchmarks.figures import Comparison, Figure, Section, latency, percentile, rate
from benchmarks.ground import Ground
from benchmarks.http_load import get_all
from benchmarks.peer import running_peer
from benchmarks.program import await_true, running
from devstack.ports import Ports
from shared.kernel.canonical_json import canonical_bytes
from shared.kernel.signing import SigningKey

CONNECTIONS = 8
_TABLE = (
    "CREATE TABLE IF NOT EXISTS bench_commits (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body bytea NOT NULL)"
)
_INSERT = "INSERT INTO bench_commits (body) VALUES (%(body)s)"
_BODY = {"body": b"\x00" * 200}
_RECEIPT = {
    "schema_version": "1",
    "receipt_id": "run_" + "0" * 32,
    "run_id": "run_" + "0" * 32,
    "kind": "job",
    "tenant": "0" * 64,
    "tenant_seq": 1,
    "issued_at": 1_800_000_000,
    "assurance": "signed",
    "finish_reason": "stop",
    "policy_hash": "0" * 64,
    "used_fallback": False,
    "signer_kid": "0" * 16,
    "input_commitment": "0" * 64,
    "output_commitment": "0" * 64,
    "model_passport_id": "passport_" + "0" * 32,
    "compute_passport_id": "passport_" + "0" * 32,
    "runtime": "openai-compatible",
    "model_requested": "sim-small",
    "model_answered": "sim-small",
    "tokens_in": 100,
    "tokens_out": 100,
    "ttft_ms": 10,
    "total_latency_ms": 20,
    "currency": "BTC",
    "received_msat": 10_000,
    "charged_msat": 10_000,
    "owed_back_msat": 0,
    "payment_hash": "0" * 64,
}


def measure(ground: Ground, effort: Effort) -> Section:
    """Measure the floors and what the product adds to them."""
    hello_figures, hello_p50 = bare_flask(ground, effort.http_requests)
    job_figures, job_p50 = _own_page(ground, effort.http_requests)
    with running_peer(ground) as peer:
        hop = peer.hops(ground.clock, effort.celery_hops)
    raw, pooled = commits(ground, effort.commits)
    return Section(
        "Floors of this machine",
        [
            *hello_figures,
            *job_figures,
            latency("bare Celery hop: sent → task runs", hop),
            latency("bare commit: one row, psycopg", raw),
            latency("the same row through shared.db", pooled),
            _signed(ground, effort.commits),
        ],
        [
            Comparison("GET of a complete job / bare Flask, p50", job_p50 / hello_p50),
            Comparison("commit through shared.db / bare commit, p50", percentile(pooled, 0.5) / percentile(raw, 0.5)),
        ],
        remarks=[
            f"HTTP from one Python process beside the servers: over {CONNECTIONS} connections the client is as busy as they are.",
            "The commit reaches the disk (fsync on), as PostgreSQL's default has it.",
        ],
    )


def bare_flask(ground: Ground, count: int) -> tuple[list[Figure], float]:
    """Ask Flask that answers one constant; return the figures, and the p50 over one connection in seconds."""
    with _hello_server(ground) as url:
        return _requests("bare Flask under the same gunicorn", ground, url, count)


def _own_page(ground: Ground, count: int) -> tuple[list[Figure], float]:
    with Customer(ground) as customer:
        job = customer.buy()
    return _requests("GET of a complete job", ground, f"{ground.web}/api/jobs/{job.public_id}", count)


def _requests(what: str, ground: Ground, url: str, count: int) -> tuple[list[Figure], float]:
    get_all(url, count=count // 10 + 20, connections=2)  # both workers warm
    alone = get_all(url, count=count)
    began = ground.clock.monotonic()
    crowd = get_all(url, count=count, connections=CONNECTIONS)
    figures = [
        latency(f"{what}, one connection", alone),
        rate(f"{what}, {CONNECTIONS} connections", len(crowd), ground.clock.monotonic() - began),
    ]
    return figures, percentile(alone, 0.5)


@contextmanager
def _hello_server(ground: Ground) -> Iterator[str]:
    port = Ports(ground.folder / "hello-ports.json").of("hello")
    metrics = ground.folder / "hello-metrics"  # the settings file would empty the product's own
    environment = {**ground.environment, "PORT": str(port), "PROMETHEUS_MULTIPROC_DIR": str(metrics)}
    command = ("gunicorn", "-c", "web/gunicorn.py", "benchmarks.hello:app")
    url = f"http://127.0.0.1:{port}/"
    with running(command, environment, log=ground.folder / "hello.log"):
        await_true(lambda: _answers(url), what="the bare Flask application")
        yield url


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def commits(ground: Ground, count: int) -> tuple[list[float], list[float]]:
    """Commit by turns with a bare connection and through the product's pool, so that both meet the same disk."""
    raw: list[float] = []
    pooled: list[float] = []
    with ground.connect() as rows:
        rows.execute(_TABLE)

        def bare() -> None:
            rows.execute(_INSERT, _BODY)

        def ours() -> None:
            with ground.container.database.transaction() as tx:
                tx.run(_INSERT, _BODY)

        ours()
        for _ in range(count):
            raw.append(_timed(ground, bare))
            pooled.append(_timed(ground, ours))
        rows.execute("DROP TABLE bench_commits")
    return raw, pooled


def _signed(ground: Ground, count: int) -> Figure:
    """Canonical form, hash and Ed25519 signature of a receipt, in memory."""
    key = SigningKey.from_seed(b"\x01" * 32)
    began = ground.clock.monotonic()
    for number in range(count):
        key.sign(hashlib.sha256(canonical_bytes({**_RECEIPT, "tenant_seq": number})).digest())
    return rate("receipts made canonical, hashed and signed, one thread", count, ground.clock.monotonic() - began)


def _timed(ground: Ground, act: Callable[[], None]) -> float:
    began = ground.clock.monotonic()
    act()
    return ground.clock.monotonic() - began
