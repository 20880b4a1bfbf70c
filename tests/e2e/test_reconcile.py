"""`lucid reconcile` beside a running stack: silent over true books, and loud over every lie told behind the product's back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from cli import records
from cli.findings import Level
from config.settings import Settings
from devstack.supervisor import Stack
from shared.agent.reconciliation import Reconciled, Reconciliation
from shared.bootstrap import Container, Role, build
from tests.architecture.source_tree import ROOT
from tests.e2e.market import QUICK, Market, Order, open_market
from tests.e2e.patience import eventually

PROCESSES = ("web", "relay", "worker-money", "worker-llm", "worker-payout", "worker-tick", "invoices", "beat")


@pytest.fixture(scope="module")
def own_market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    """A stack whose books may be falsified, with business in them: jobs done, refused and unpaid, a refund, a deposit."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    stack = Stack(
        tmp_path_factory.mktemp("books"), {**kept, **QUICK, "PORT": "0"}, real_model=False, processes=PROCESSES
    )
    with stack, open_market(stack) as market:
        do_business(market)
        yield market


def do_business(market: Market) -> None:
    done = market.accepted()
    done.pay_work()
    refused = market.order("[sim:refuse]")
    refused.pay_evaluation()
    refused.reach("rejected")
    market.order()
    deposit = market.api.post("/api/sessions", json={"amount_sats": 500}).json()["invoice"]
    market.wallet.pay(deposit["paymentRequest"])
    refund(done)
    eventually(lambda: market.ledger.total("node") == net_msat(market), what="a ledger that has heard of it all")


def refund(order: Order) -> None:
    market = order.market
    sats = order.reach("complete")["costLedger"]["refundAmountSats"]
    invoice = market.wallet.invoice(sats)["payment_request"]
    answer = market.api.post(f"/api/jobs/{order.id}/refund", json={"invoice": invoice})
    assert answer.json()["ok"] is True, answer.text


def net_msat(market: Market) -> int:
    paid = market.ledger.one(
        "SELECT coalesce(sum(amount_msat + fee_msat), 0)::bigint FROM payouts WHERE state = 'paid'"
    )
    return market.lightning.received_msat() - int(paid)


def reconcile(stack: Stack, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "cli.main", "reconcile", *arguments],
        cwd=ROOT,
        env={**kept, "LUCID_HOME": str(stack.home.folder), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def found_by(market: Market) -> set[str]:
    """Return the codes of the differences; the exit code has to agree with them."""
    ran = reconcile(market.stack, "--json")
    shown: dict[str, Any] = json.loads(ran.stdout)
    assert all(difference["remedy"] and difference["subject"] for difference in shown["differences"])
    assert ran.returncode == (1 if shown["differences"] else 0), ran.stderr
    return {difference["code"] for difference in shown["differences"]}


@contextmanager
def falsified(market: Market, table: str, statement: str) -> Iterator[None]:
    """Change rows as the database's superuser, with every guard off, and put the table back as it was."""
    with psycopg.connect(market.stack.endpoints["database_url"], autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(f"CREATE TEMP TABLE kept AS TABLE {table}".encode())
        try:
            assert connection.execute(statement.encode()).rowcount, f"nothing was touched by {statement}"
            yield
        finally:
            connection.execute(f"DELETE FROM {table}".encode())  # noqa: S608 - our own names
            connection.execute(f"INSERT INTO {table} OVERRIDING SYSTEM VALUE TABLE kept".encode())


def test_true_books_are_the_nodes_to_the_last_millisatoshi(own_market: Market) -> None:
    ran = reconcile(own_market.stack)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "4 settled invoices and 1 payments" in ran.stdout
    assert "0 differences" in ran.stdout


LIES = {
    "a posting removed": (
        "postings",
        "DELETE FROM postings WHERE account = 'customer' AND entry_id = (SELECT min(id) FROM entries WHERE kind = 'receive')",
        {"entry_unbalanced"},
    ),
    "a node's posting removed": (
        "postings",
        "DELETE FROM postings WHERE account = 'node' AND entry_id = (SELECT min(id) FROM entries WHERE kind = 'receive')",
        {"entry_unbalanced", "receive_entry_differs", "node_account_differs"},
    ),
    "an entry emptied": (
        "postings",
        "DELETE FROM postings WHERE entry_id = (SELECT id FROM entries WHERE kind = 'pay_out')",
        {"entry_unbalanced", "pay_out_entry_differs", "node_account_differs", "debts_differ"},
    ),
    "an invoice marked settled that is not": (
        "invoices",
        "UPDATE invoices SET state = 'settled', settled_at = now(), paid_msat = amount_msat, settle_index = 99 WHERE state = 'open'",
        {"invoice_not_settled_at_node", "receive_entry_missing"},
    ),
    "a payout marked failed": (
        "payouts",
        "UPDATE payouts SET state = 'failed', preimage = NULL, fault = 'no route'",
        {"payout_failed_here_only", "pay_out_entry_alone", "payout_debts_differ"},
    ),
    "a debt paid that is not": (
        "debts",
        "UPDATE debts SET state = 'open' WHERE state = 'paid'",
        {"payout_debts_differ", "debts_differ"},
    ),
}


@pytest.mark.parametrize(("table", "statement", "codes"), LIES.values(), ids=LIES.keys())
def test_a_lie_behind_the_products_back_is_named(
    own_market: Market, table: str, statement: str, codes: set[str]
) -> None:
    with falsified(own_market, table, statement):
        assert found_by(own_market) == codes


# What the node has and we have not counts once it is a minute old. Nobody can make the node's records older, so the minute is.
LOSSES = {
    "a settled invoice marked open": (
        "invoices",
        (
            "UPDATE invoices SET state = 'open', settled_at = NULL, paid_msat = NULL, settle_index = NULL,"
            " next_check = now() + interval '1 day'"
            " WHERE id = (SELECT min(id) FROM invoices WHERE state = 'settled')"
        ),
        {"invoice_not_credited", "receive_entry_alone"},
    ),
    "a settled invoice missing": (
        "invoices",
        "DELETE FROM invoices WHERE id = (SELECT min(id) FROM invoices WHERE state = 'settled')",
        {"invoice_unknown_here", "receive_entry_alone"},
    ),
    "a payout missing": ("payouts", "DELETE FROM payouts", {"payment_unknown_here", "pay_out_entry_alone"}),
    "a payout marked open": (
        "payouts",
        "UPDATE payouts SET state = 'unknown', preimage = NULL, fee_msat = NULL, ended_at = NULL",
        {"payout_not_booked", "pay_out_entry_alone", "payout_debts_differ"},
    ),
}


@pytest.mark.parametrize(("table", "statement", "codes"), LOSSES.values(), ids=LOSSES.keys())
def test_what_the_node_has_and_we_have_lost_is_named_once_it_is_old_enough(
    own_market: Market, table: str, statement: str, codes: set[str]
) -> None:
    with falsified(own_market, table, statement):
        assert {found.code for found in compared(own_market, under_way=timedelta(0)).differences} == codes
        young = compared(own_market, under_way=timedelta(days=1))
        assert young.under_way == 1
        assert reconcile(own_market.stack).returncode == 1


def compared(market: Market, *, under_way: timedelta) -> Reconciled:
    """Compare in this process, with another idea of what is young."""
    with product(market) as container:
        own = container.reconciliation
        narrow = Reconciliation(
            container.database, received=own._received, paid=own._paid, clock=container.clock, under_way=under_way
        )
        try:
            return narrow.run()
        finally:
            own._received.close()
            own._paid.close()


@contextmanager
def product(market: Market) -> Iterator[Container]:
    container = build(Settings.load(market.stack.environment), Role.CLI)
    yield container
    container.database.close()


def test_the_books_are_compared_on_schedule_and_what_was_found_is_kept(market: Market) -> None:
    """On the stack of all tests, which by now has mostly run for longer than the first comparison takes to come."""
    ran_by_itself = "SELECT count(*) FROM schedule WHERE name = 'books.reconcile' AND last_run IS NOT NULL"
    eventually(lambda: market.ledger.one(ran_by_itself), what="a scheduled comparison", within_s=90)
    eventually(lambda: market.ledger.one("SELECT count(*) FROM reconciliations"), what="what it found")


def test_what_was_found_is_told_by_the_figures_and_the_doctor(own_market: Market) -> None:
    market = own_market
    lie = "UPDATE debts SET state = 'open' WHERE state = 'paid'"
    with falsified(market, "debts", lie):
        assert found_by(market)
        assert figure(market, "lucid_reconcile_differences") == 2
        assert figure(market, "lucid_reconcile_age_seconds") < 60
        assert "payout_debts_differ" in doctor(market)
    assert found_by(market) == set()
    assert figure(market, "lucid_reconcile_differences") == 0
    assert market.ledger.one("SELECT count(*) FROM reconciliations WHERE payments = 1") >= 2


def figure(market: Market, name: str) -> float:
    metrics = market.stack.endpoints["metrics"]
    text = httpx.get(metrics["url"], headers={"Authorization": f"Bearer {metrics['token']}"}, trust_env=False).text
    return next(s.value for family in text_string_to_metric_families(text) for s in family.samples if s.name == name)


def doctor(market: Market) -> str:
    with product(market) as container:
        (found,) = records.reconciled(container)
    assert found.level is Level.WARNING
    return found.detail


def test_a_database_that_was_restored_is_named_until_it_is_accepted(own_market: Market) -> None:
    with falsified(own_market, "database_identity", "UPDATE database_identity SET timeline = timeline + 1"):
        held = reconcile(own_market.stack)
        assert held.returncode == 0, held.stdout + held.stderr
        assert "payouts are held" in held.stdout
        assert json.loads(reconcile(own_market.stack, "--json").stdout)["payouts_held"] is True
        unread = reconcile(own_market.stack, "--accept-database", LND_MACAROON_PAYMENTS="00")
        assert unread.returncode == 2
        assert "payouts are held" in reconcile(own_market.stack).stdout
        accepted = reconcile(own_market.stack, "--accept-database")
        assert accepted.returncode == 0, accepted.stdout + accepted.stderr
        assert json.loads(reconcile(own_market.stack, "--json").stdout)["payouts_held"] is False


def test_what_cannot_be_compared_is_exit_code_2(own_market: Market) -> None:
    own_market.lightning.down()
    try:
        ran = reconcile(own_market.stack)
    finally:
        own_market.lightning.heal()
    assert ran.returncode == 2
    assert "not compared" in ran.stderr
    assert reconcile(own_market.stack, LND_MACAROON_PAYMENTS="00").returncode == 2
    shown = json.loads(reconcile(own_market.stack, "--json", LND_MACAROON_PAYMENTS="00").stdout)
    assert set(shown) == {"error"}
