"""A dump is restored into a new database, after the service had gone on: what is whole, what is lost, and what the log says then.

The commands are those of docs/operations.md.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from devstack.parts import ROOT
from devstack.postgres import Postgres, _binary, _environment
from devstack.procfile import RELEASE, read_procfile
from devstack.supervisor import Stack
from tests.e2e.market import QUICK, Market, Order, open_market
from tests.e2e.patience import eventually

RESTORED = "lucid_restored"
APART = (RELEASE, "flower")
START_S = 60.0
# The second where the new log was just as long as the witness's when it was asked.
NOES = ("the witness refused the checkpoint with 422", "the witness holds another root for this size")


@dataclass
class Past:
    """What there was before the restore. Jobs are as the API showed them; `bundles` by receipt."""

    whole: list[dict[str, Any]] = field(default_factory=list)
    bundles: dict[str, bytes] = field(default_factory=dict)
    trust: bytes = b""
    paid_in_the_gap: str = ""
    unpaid: str = ""
    lost: dict[str, Any] = field(default_factory=dict)
    lost_key: str = ""
    lost_msat: int = 0
    unknown_request: str = ""
    hashes: set[str] = field(default_factory=set)
    size_in_backup: int = 0
    size_cosigned: int = 0


@dataclass(frozen=True)
class Present:
    """The service on the restored database, and what it was before."""

    market: Market
    past: Past


@contextlib.contextmanager
def database_server(folder: Path) -> Iterator[Postgres]:
    """Serve a PostgreSQL that no stack owns, as an operator's."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    server = Postgres(folder / "postgres", port, "a-password", folder / "postgres.log")
    command = server.prepare()
    with command.log.open("ab") as log:
        process = subprocess.Popen(command.arguments, env=command.environment, stdout=log, stderr=log)
    try:
        eventually(server.is_healthy, what="a database server", within_s=START_S)
        yield server
    finally:
        process.send_signal(command.stop_signal)
        process.wait(START_S)


@pytest.fixture(scope="module")
def present(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Present]:
    folder = tmp_path_factory.mktemp("restore")
    dump = folder / "lucid.dump"
    with database_server(folder) as server:
        old_url, new_url = server.url, f"{server.url.rpartition('/')[0]}/{RESTORED}"
        past = Past()
        with service(folder / "home", old_url) as stack, open_market(stack) as market:
            live_until_the_backup(market, past)
            postgres("pg_dump", "--format=custom", f"--file={dump}", f"--dbname={old_url}")
            live_on(market, past)
        postgres("createdb", f"--maintenance-db={old_url}", RESTORED)
        postgres("pg_restore", "--exit-on-error", "--no-owner", f"--dbname={new_url}", str(dump))
        with service(folder / "home", new_url) as stack, open_market(stack) as market:
            yield Present(market, past)


def service(home: Path, database_url: str) -> Stack:
    """Return the whole service on this database, with all else in `home`: node, witness, broker and keys outlive the database."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    lines = read_procfile(ROOT / "Procfile")
    environment = {**kept, **QUICK, "DATABASE_URL": database_url, "PORT": "0"}
    return Stack(home, environment, real_model=False, processes=[name for name in lines if name not in APART])


def live_until_the_backup(market: Market, past: Past) -> None:
    """Sell two jobs and have them vouched for; leave two orders open."""
    for _ in range(2):
        job = finished(market.accepted())
        past.whole.append(job)
    eventually(lambda: cosigned(market) == 2, what="a witness that cosigned both receipts")
    for job in past.whole:
        past.bundles[job["receiptId"]] = fetched(market, f"/v1/receipts/{job['receiptId']}/bundle")
    past.trust = fetched(market, "/v1/trust")
    past.paid_in_the_gap, past.unpaid = market.order().id, market.accepted().id
    past.size_in_backup = log_size(market)


def live_on(market: Market, past: Past) -> None:
    """Sell a job that no backup has, pay for one that it has unpaid, order one whose invoice only the node will remember."""
    before = market.lightning.received_msat()
    past.lost = finished(market.accepted())
    past.lost_msat = market.lightning.received_msat() - before
    eventually(lambda: cosigned(market) == past.size_in_backup + 1, what="a witness that cosigned what will be lost")
    past.size_cosigned = cosigned(market)
    past.bundles[past.lost["receiptId"]] = fetched(market, f"/v1/receipts/{past.lost['receiptId']}/bundle")
    past.lost_key = ordered(market, "the key's first use")
    paid = market.api.get(f"/api/jobs/{past.paid_in_the_gap}").json()
    market.wallet.pay(paid["evalInvoice"]["paymentRequest"])
    past.unknown_request = market.order().eval_request
    past.hashes = {invoice["r_hash"] for invoice in market.lightning.invoices()}


def test_nothing_is_left_to_migrate_in_a_restored_database(present: Present) -> None:
    done = lucid(present.market.stack, "migrate")
    assert (done.returncode, done.stderr) == (0, "nothing to do\n")


def test_what_the_backup_has_reads_as_before_and_its_receipts_verify(present: Present, tmp_path: Path) -> None:
    for job in present.past.whole:
        assert present.market.api.get(f"/api/jobs/{job['jobId']}").json() == job
        assert_verifies(present, fetched(present.market, f"/v1/receipts/{job['receiptId']}/bundle"), tmp_path)
        assert_verifies(present, present.past.bundles[job["receiptId"]], tmp_path)


def test_what_came_after_the_backup_is_gone_but_for_what_its_customer_kept(present: Present, tmp_path: Path) -> None:
    lost = present.past.lost
    assert present.market.api.get(f"/api/jobs/{lost['jobId']}").status_code == httpx.codes.NOT_FOUND
    assert present.market.api.get(f"/v1/receipts/{lost['receiptId']}").status_code == httpx.codes.NOT_FOUND
    assert_verifies(present, present.past.bundles[lost["receiptId"]], tmp_path)
    assert ordered(present.market, "the key's second use", key=present.past.lost_key) == present.past.lost_key


def test_an_invoice_of_the_backup_that_was_paid_in_the_gap_is_credited(present: Present) -> None:
    order = order_of(present.market, present.past.paid_in_the_gap)
    order.reach_unasked("awaiting_work_payment")
    assert finished(order)["state"] == "complete"


def test_an_invoice_that_was_open_in_the_backup_can_still_be_paid(present: Present) -> None:
    assert finished(order_of(present.market, present.past.unpaid))["state"] == "complete"


def test_what_is_paid_for_what_the_backup_does_not_know_is_logged_and_credited_to_nobody(present: Present) -> None:
    market, past = present.market, present.past
    heard = 2  # the lost job's two payments: the subscription begins where the backup stood
    eventually(lambda: foreign(market) == heard, what="the lost job's payments in the log")
    market.wallet.pay(past.unknown_request)
    eventually(lambda: foreign(market) == heard + 1, what="the unknown invoice's payment in the log")
    unknown_msat = 10_000
    eventually(
        lambda: market.ledger.total("node") + past.lost_msat + unknown_msat == market.lightning.received_msat(),
        what="a node account without what belongs to nobody",
    )
    assert market.ledger.unbalanced_entries() == []
    assert market.ledger.total() == 0


def test_new_jobs_are_done_and_no_payment_hash_comes_again(present: Present) -> None:
    market, past = present.market, present.past
    assert finished(market.accepted())["state"] == "complete"
    new = [invoice["r_hash"] for invoice in market.lightning.invoices() if invoice["r_hash"] not in past.hashes]
    assert len(new) == len(set(new))
    assert len(new) >= 2, "the new invoices are at the node under hashes that it had before"


def test_the_log_goes_on_from_the_backup_and_the_witness_refuses_it(present: Present) -> None:
    market, past = present.market, present.past
    assert (past.size_in_backup, past.size_cosigned) == (2, 3)
    outgrow(market, past)
    eventually(lambda: refused(market) != [], what="a refusal by the witness", within_s=60)
    assert all(fault.endswith(NOES) for fault in refused(market)), refused(market)
    assert cosigned(market) == past.size_in_backup, (
        "the witness cosigned a log that contradicts what it cosigned before"
    )


def test_the_doctor_finds_books_and_log_sound_and_the_anchors_not(present: Present) -> None:
    outgrow(present.market, present.past)
    eventually(lambda: refused(present.market) != [], what="a refusal by the witness", within_s=60)
    examined = lucid(present.market.stack, "doctor", "--json")
    findings = json.loads(examined.stdout)["findings"]
    levels = {(found["check"], found["level"]) for found in findings}
    assert {("ledger", "ok"), ("log", "ok"), ("schema", "ok"), ("work", "ok")} <= levels, findings
    faults = {check for check, level in levels if level == "fault"}
    # the node's books and ours do differ, and no payout goes out before somebody has looked into that
    assert {"anchors", "payouts"} <= faults <= {"anchors", "payouts", "reconcile"}, findings
    assert examined.returncode == 1


def finished(order: Order) -> dict[str, Any]:
    """Pay what an order asks for, and return it done."""
    order.reach("awaiting_work_payment")
    order.pay_work()
    return order.reach("complete")


def outgrow(market: Market, past: Past) -> None:
    """Sell until the log is longer than the one that was lost."""
    for _ in range(past.size_cosigned + 1 - log_size(market)):
        finished(market.accepted())
    eventually(lambda: log_size(market) > past.size_cosigned, what="a log longer than the one that was lost")


def ordered(market: Market, text: str, *, key: str = "") -> str:
    """Order under an Idempotency-Key that is new to the service; return the key. Another text under a known key is refused."""
    key = key or uuid.uuid4().hex
    answer = market.api.post("/api/jobs", json={"request": text}, headers={"Idempotency-Key": key})
    assert answer.status_code == httpx.codes.CREATED, answer.text
    return key


def assert_verifies(present: Present, bundle: bytes, folder: Path) -> None:
    """Have `lucid verify` check a bundle against the trust file that was fetched before the backup."""
    (folder / "bundle.json").write_bytes(bundle)
    (folder / "trust.json").write_bytes(present.past.trust)
    words = ("verify", str(folder / "bundle.json"), "--trust", str(folder / "trust.json"))
    verified = lucid(present.market.stack, *words)
    assert verified.returncode == 0, verified.stdout


def order_of(market: Market, job_id: str) -> Order:
    """Return an order that was made before this market was opened."""
    return Order(market, job_id, "", "")


def postgres(program: str, *words: str) -> None:
    """Run one of PostgreSQL's programs."""
    done = subprocess.run(
        [str(_binary(program)), *words], env=_environment(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def lucid(stack: Stack, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a `lucid` command beside the stack."""
    environment = {"PATH": os.environ["PATH"], "LUCID_HOME": str(stack.home.folder)}
    command = [sys.executable, "-m", "cli.main", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=90)


def fetched(market: Market, path: str) -> bytes:
    answer = market.api.get(path)
    assert answer.status_code == httpx.codes.OK, answer.text
    return answer.content


def log_size(market: Market) -> int:
    return int(market.ledger.one("SELECT size FROM log_state"))


def cosigned(market: Market) -> int:
    """Return the largest size that the witness vouched for, as the database has it."""
    return int(market.ledger.one("SELECT coalesce(max(size), 0) FROM anchors WHERE state = 'final'"))


def refused(market: Market) -> list[str]:
    """Return why anchors failed."""
    return [row["fault"] for row in market.ledger.rows("SELECT fault FROM anchors WHERE state = 'failed'")]


def foreign(market: Market) -> int:
    """Return how many settlements the listener heard of that belong to nobody."""
    return market.stack.log("invoices").count('"foreign_invoice_settled"')
