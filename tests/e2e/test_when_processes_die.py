"""Any process may die, any message may be lost, anybody may bring the news: a job is done once and charged once."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg
import pytest
import redis

from config.settings import Settings
from devstack.parts import ROOT
from devstack.ports import Ports
from devstack.procfile import read_procfile
from shared.bootstrap import Container, Role, build
from shared.lightning.model import Settlement, SweepReason
from shared.lightning.service import settlement_of
from tests.e2e.ledger_reader import Book
from tests.e2e.market import EVAL_MSAT, Market, Order
from tests.e2e.patience import at_once, eventually

SLOW = "pace:0.1,tokens:30"


@pytest.fixture(scope="module")
def container(_open_market: Market) -> Iterator[Container]:
    """The product's own parts on the stack's stores and node, in this process."""
    built = build(Settings.load(_open_market.stack.environment), Role.CLI)
    yield built
    built.node.close()
    built.database.close()


def require_done_once(order: Order) -> None:
    """The job is complete, with one result, one charge, one receipt."""
    cost = order.look()["costLedger"]
    work_msat = cost["workAmountSats"] * 1000
    charged_msat = cost["actualAmountSats"] * 1000
    assert order.book == Book(
        received=EVAL_MSAT + work_msat,
        earned_eval=EVAL_MSAT,
        earned_work=charged_msat,
        owed={"unused": work_msat - charged_msat},
    )
    assert len(order.receipts) == 1
    assert order.market.ledger.moves(order.id).count("complete") == 1


def working(market: Market, fault: str = SLOW) -> tuple[Order, int]:
    """Return a job whose work is under way at the model, slowly, and the model's request number before it."""
    order = market.accepted()
    mark = market.model.mark()
    market.model.fault(fault, match=order.mark)
    order.pay_work()
    eventually(lambda: "running" in market.model.outcomes(since=mark), what="a model at work")
    return order, mark


def test_a_worker_that_is_killed_at_work_costs_nobody_anything(market: Market) -> None:
    order, mark = working(market)
    market.stack.process("worker-llm").kill()
    order.reach("complete", within_s=40)
    require_done_once(order)
    assert len(market.model.outcomes(since=mark)) == 2
    step = market.ledger.step(order.id, "execute")
    assert (step["state"], step["attempts"], step["fence"]) == ("done", 2, 2)


def test_a_worker_that_is_told_to_stop_gives_its_work_back(market: Market) -> None:
    order, mark = working(market, "pace:0.2,tokens:28")
    market.stack.process("worker-llm").restart()
    order.reach("complete", within_s=40)
    require_done_once(order)
    assert market.model.outcomes(since=mark) == ["client_gone", "served"]
    step = market.ledger.step(order.id, "execute")
    assert (step["state"], step["attempts"]) == ("done", 1), "a stop is no failed attempt"


def await_attempt(market: Market, number: int, *, since: int) -> None:
    def runs() -> bool:
        outcomes = market.model.outcomes(since=since)
        return len(outcomes) == number and outcomes[-1] == "running"

    eventually(runs, what=f"attempt {number}", within_s=40)


def test_a_worker_that_dies_three_times_ends_the_job_and_the_work_is_owed_back(market: Market) -> None:
    order = market.accepted()
    mark = market.model.mark()
    market.model.fault("pace:0.2,tokens:28", match=order.mark, times=None)
    work_msat = order.pay_work()
    worker = market.stack.process("worker-llm")
    for attempt in range(1, 4):
        await_attempt(market, attempt, since=mark)
        worker.kill()
    order.reach("failed", within_s=40)
    assert order.book == Book(received=EVAL_MSAT + work_msat, earned_eval=EVAL_MSAT, owed={"work_failed": work_msat})
    assert len(order.receipts) == 1
    assert market.ledger.step(order.id, "execute")["state"] == "quarantined"


def test_a_relay_that_is_killed_again_and_again_delays_nothing_for_long(market: Market) -> None:
    relay = market.stack.process("relay")
    order = market.order()
    relay.kill()
    order.pay_evaluation()
    order.reach("awaiting_work_payment")
    relay.kill()
    order.pay_work()
    order.reach("complete")
    require_done_once(order)


def test_a_job_is_created_although_the_relay_has_just_died(market: Market) -> None:
    market.stack.process("relay").kill()
    order = market.accepted()
    order.pay_work()
    order.reach("complete")
    require_done_once(order)


def flush_everything(market: Market) -> None:
    with redis.Redis.from_url(market.stack.endpoints["redis_url"]) as client:
        client.flushall()


def test_a_broker_that_forgets_everything_while_the_model_works_loses_nothing(market: Market) -> None:
    order, _ = working(market)
    flush_everything(market)
    order.reach("complete", within_s=40)
    require_done_once(order)


def test_a_broker_that_forgets_a_message_that_waits_loses_only_time(market: Market) -> None:
    order = market.order()
    worker = market.stack.process("worker-llm")
    worker.stop(keep_down=True)
    order.pay_evaluation()
    with redis.Redis.from_url(market.stack.endpoints["redis_url"]) as client:
        eventually(lambda: client.llen("llm") > 0, what="a message that waits")
    flush_everything(market)
    worker.start()
    order.reach("awaiting_work_payment", within_s=40)
    order.pay_work()
    order.reach("complete", within_s=40)
    require_done_once(order)


def test_a_job_goes_on_at_once_after_the_broker_forgot_everything(market: Market) -> None:
    flush_everything(market)
    for _ in range(2):
        order = market.accepted()
        order.pay_work()
        order.reach("complete")
        require_done_once(order)


def test_a_stores_restart_is_survived(market: Market) -> None:
    order = market.accepted()
    market.stack.process("valkey").kill()
    order.pay_work()
    order.reach("complete", within_s=60)
    require_done_once(order)


def test_a_database_that_is_killed_at_work_is_survived(market: Market) -> None:
    order, _ = working(market)
    market.stack.process("postgres").kill()
    eventually(market.ledger.reconnect, what="a database", within_s=30)
    order.reach_unasked("complete", within_s=60)
    require_done_once(order)


def test_polling_alone_moves_a_job(market: Market) -> None:
    market.stack.process("invoices").stop(keep_down=True)
    order = market.order()
    order.pay_evaluation()
    order.reach_unasked("awaiting_work_payment")
    market.wallet.pay(order.work_request())
    order.reach_unasked("complete")
    require_done_once(order)


def test_the_listener_alone_moves_a_job(market: Market) -> None:
    market.stack.process("beat").stop(keep_down=True)
    order = market.order()
    order.pay_evaluation()
    order.reach_unasked("awaiting_work_payment")
    market.wallet.pay(order.work_request())
    order.reach_unasked("complete")
    require_done_once(order)


def test_looking_alone_moves_a_job(market: Market) -> None:
    for name in ("invoices", "beat"):
        market.stack.process(name).stop(keep_down=True)
    order = market.order()
    order.pay_evaluation()
    order.reach("awaiting_work_payment")
    order.pay_work()
    order.reach("complete")
    require_done_once(order)


def test_what_was_paid_while_the_listener_was_down_is_heard_when_it_is_back(market: Market) -> None:
    for name in ("invoices", "beat"):
        market.stack.process(name).stop(keep_down=True)
    orders = [market.order() for _ in range(3)]
    for order in orders:
        order.pay_evaluation()
    assert {order.state for order in orders} == {"awaiting_eval_payment"}
    market.stack.process("invoices").start()
    for order in orders:
        order.reach_unasked("awaiting_work_payment")


def test_a_subscription_that_repeats_breaks_and_mixes_events_credits_each_payment_once(market: Market) -> None:
    market.stack.process("beat").stop(keep_down=True)
    for fault in ("duplicate_events", "reorder_events", "drop_after_settle"):
        market.lightning.fault("SubscribeInvoices", fault, times=2)
    orders = [market.order() for _ in range(4)]
    for order in orders:
        order.pay_evaluation()
    for order in orders:
        order.reach_unasked("awaiting_work_payment")
        assert order.book == Book(received=EVAL_MSAT, earned_eval=EVAL_MSAT)


def sweep(container: Container, order: Order) -> bool:
    """Poll for this one job, as the sweeper does: find due, settle, advance."""
    with container.database.transaction() as tx:
        row = tx.one("INSERT INTO sweeps (reason) VALUES (%(reason)s) RETURNING id", {"reason": SweepReason.TICK})
        assert row is not None
        sweep_id = int(row["id"])
        tx.run(
            "UPDATE invoices SET sweep_id = %(sweep)s WHERE payment_hash = %(hash)s",
            {"sweep": sweep_id, "hash": bytes.fromhex(order.payment_hash("eval"))},
        )
        tx.run(
            "INSERT INTO steps (owner_kind, owner_id, name) VALUES ('sweep', %(sweep)s, 'settle')", {"sweep": sweep_id}
        )
    container.polling.settle(sweep_id)
    return True


def settlement(container: Container, order: Order) -> Settlement:
    """What the node says of the paid evaluation."""
    said = container.node.lookup_invoice(bytes.fromhex(order.payment_hash("eval")))
    assert said is not None
    return settlement_of(said)


def bring_the_news_five_times(container: Container, order: Order) -> None:
    """At once: twice as the subscription does, twice by a look, once by a sweep."""
    said = settlement(container, order)

    def listen() -> bool:
        return container.settlements.settle(said, from_subscription=True)

    def look() -> bool:
        return bool(order.look())

    at_once(listen, listen, look, look, lambda: sweep(container, order))


def test_a_settlement_that_comes_five_times_at_once_is_credited_once(market: Market, container: Container) -> None:
    for name in ("invoices", "beat"):
        market.stack.process(name).stop(keep_down=True)
    for _ in range(3):
        order = market.order()
        order.pay_evaluation()
        bring_the_news_five_times(container, order)
        order.reach("awaiting_work_payment")
        assert order.book == Book(received=EVAL_MSAT, earned_eval=EVAL_MSAT)
        assert market.ledger.moves(order.id) == ["awaiting_eval_payment", "evaluating", "awaiting_work_payment"]
        assert not container.settlements.settle(settlement(container, order)), "nor is it ever after"
        assert order.book == Book(received=EVAL_MSAT, earned_eval=EVAL_MSAT)


def test_of_five_that_settle_at_once_one_is_told_that_it_did(market: Market, container: Container) -> None:
    for name in ("invoices", "beat"):
        market.stack.process(name).stop(keep_down=True)
    order = market.order()
    order.pay_evaluation()
    said = settlement(container, order)
    told = at_once(*(lambda: container.settlements.settle(said) for _ in range(5)))
    assert sorted(told) == [False, False, False, False, True]
    order.reach("awaiting_work_payment")
    assert order.book == Book(received=EVAL_MSAT, earned_eval=EVAL_MSAT)


def test_every_process_that_was_killed_at_once_comes_back_and_finishes(market: Market) -> None:
    order, _ = working(market)
    for name in ("worker-money", "worker-llm", "worker-tick", "relay", "invoices", "beat", "web"):
        market.stack.process(name).kill()
    order.reach_unasked("complete", within_s=60)
    eventually(lambda: web_answers(market), what="a web process", within_s=20)
    require_done_once(order)


def web_answers(market: Market) -> bool:
    try:
        return market.api.get("/health/live").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def test_a_web_process_that_stops_does_not_wait_for_idle_connections(market: Market) -> None:
    assert web_answers(market), "and the connection is kept alive"
    web = market.stack.process("web")
    web.ask_to_stop()
    assert web.await_end(8)


@pytest.mark.parametrize("name", ["web", "relay", "worker-tick", "invoices"])
def test_a_process_ends_that_finds_another_schema_than_its_own(market: Market, tmp_path: Path, name: str) -> None:
    """Were it to stay, it would take messages and waste each of them."""
    settings = market.stack.environment
    with psycopg.connect(settings["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS behind")
        connection.execute("CREATE DATABASE behind TEMPLATE template0")
    environment = {
        **settings,
        "DATABASE_URL": urlunsplit(urlsplit(settings["DATABASE_URL"])._replace(path="/behind")),
        "REDIS_URL": urlunsplit(urlsplit(settings["REDIS_URL"])._replace(path="/7")),
        "PORT": str(Ports(tmp_path / "ports.json").of("web")),
    }
    line = read_procfile(ROOT / "Procfile")[name]
    with (tmp_path / "log").open("w+", encoding="utf-8") as log:
        process = subprocess.Popen(["/bin/sh", "-c", line], cwd=ROOT, env=environment, stdout=log, stderr=log)
        try:
            assert process.wait(timeout=15) != 0
        except subprocess.TimeoutExpired:
            pytest.fail(f"{name} goes on without its schema")
        finally:
            process.kill()
            process.wait()
        log.seek(0)
        assert "lucid migrate" in log.read()
