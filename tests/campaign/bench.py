"""What is done while a process dies: every scene passes the effects of one part of the product and brings what it began to its end."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import pytest
from celery import Celery

from config.schedule import MACAROON_ROTATE, PROBE, RECONCILE, Tick
from tests.campaign.administrator import Administrator
from tests.campaign.asker import Asker
from tests.campaign.bookkeeper import Bookkeeper
from tests.campaign.customer import Customer
from tests.campaign.deaths import Deaths
from tests.campaign.holder import Holder
from tests.campaign.registrar import Registrar
from tests.campaign.subscriber import Subscriber
from tests.campaign.verifier import Verifier
from tests.contract.model_lister import ModelLister
from tests.e2e.ledger_reader import LedgerReader
from tests.e2e.lightning_hand import LightningHand
from tests.e2e.node_books import NodeBooks

ANSWERS_LOST_KEYS_AT_ONCE = """UPDATE idempotency_keys SET created_at = created_at - interval '2 minutes'
                                WHERE key = %(key)s AND status IS NULL RETURNING key"""
IN_FLIGHT_S = 1.5


@dataclass
class Bench:
    """What one lane of the sweep acts through. Every lane has its own connections."""

    deaths: Deaths
    customer: Customer
    holder: Holder
    ledger: LedgerReader
    lightning: LightningHand
    nodes: NodeBooks
    administrator: Administrator
    bookkeeper: Bookkeeper
    asker: Asker
    registrar: Registrar
    subscriber: Subscriber
    verifier: Verifier
    lister: ModelLister
    bought: list[str] = field(default_factory=list)

    def buy(self) -> dict[str, Any]:
        """Buy a job and hold it to its price; return it as the API shows it."""
        return self._finish(self.customer.order())

    def buy_by_key(self) -> None:
        """Buy under an Idempotency-Key. A key whose first request died is held for a minute: that minute is skipped."""
        key = uuid.uuid4().hex
        on_conflict = partial(self.ledger.rows, ANSWERS_LOST_KEYS_AT_ONCE, key=key)
        self._finish(self.customer.order(key=key, on_conflict=on_conflict))

    def be_paid_back(self) -> None:
        """Buy a job and claim what it did not cost."""
        self.customer.claim(self.buy())

    def be_paid_back_late(self) -> None:
        """Claim a refund whose payment stays in flight for a while, the call about it cut."""
        self.customer.claim(self.buy(), on_invoice=self._cut_in_flight)

    def open_and_end(self) -> None:
        """Open a session, close it and take all out."""
        self.holder.end(self.holder.open())

    def ask_and_end(self) -> None:
        """Open a session, ask, close it and take the rest."""
        session_id = self.holder.open()
        self.holder.ask(session_id, waits=True)
        self.holder.end(session_id)

    def top_up_and_end(self) -> None:
        """Open a session, top it up, close it and take all out."""
        session_id = self.holder.open()
        self.holder.top_up(session_id)
        self.holder.end(session_id)

    def leave_a_session(self) -> None:
        """Have a session's idle time run out, and take out what it had."""
        session_id = self.holder.open()
        self.ledger.rows(
            "UPDATE sessions SET expires_at = now() - interval '1 minute' WHERE public_id = %(id)s RETURNING id",
            id=session_id,
        )
        self.holder.reach(session_id, lambda shown: shown["state"] == "expired", what="a session that has ended")
        self.holder.end(session_id)

    def try_for_free(self) -> None:
        """Have something done for nothing."""
        self.customer.try_for_free()

    def have_keys_changed(self) -> None:
        """Let the macaroons' root keys grow old, and a session live on with new ones."""
        session_id = self.holder.open()
        self.ledger.rows("UPDATE macaroon_generations SET created_at = created_at - interval '1 year' RETURNING number")
        self._ring(MACAROON_ROTATE, "SELECT 1 FROM macaroon_generations WHERE created_at > now() - interval '1 hour'")
        self.holder.end(session_id)

    def keep_keys(self) -> None:
        """Make an API key, exchange it, withdraw it."""
        self.administrator.keep_keys()

    def claim_and_commit(self) -> None:
        """Claim work for a project and close the project's epoch."""
        self.bookkeeper.claim_and_commit()

    def have_anchored_again(self) -> None:
        """Have an epoch anchored that the witness refused."""
        self.bookkeeper.have_anchored_again(self.ledger)

    def share_out(self) -> None:
        """Calculate a payout."""
        self.bookkeeper.share_out()

    def have_a_model_asked(self) -> None:
        """Have a run done."""
        self.asker.ask(self.ledger)

    def have_an_answer_streamed(self) -> None:
        """Have a run streamed, broken off and read on."""
        self.asker.listen(self.ledger)

    def leave_a_stream(self) -> None:
        """Have a run streamed, and go."""
        self.asker.leave(self.ledger)

    def cancel_a_run(self) -> None:
        """Have a run made for nobody, and cancel it."""
        self.asker.cancel(self.ledger)

    def keep_a_node(self) -> None:
        """Register a node, change it, speak for it, withdraw it."""
        self.registrar.keep_a_node()

    def have_nodes_asked(self) -> None:
        """Have the configured upstreams asked how they are."""
        since = self.ledger.one("SELECT clock_timestamp()::text")
        self._ring(PROBE, f"SELECT 1 FROM heartbeats WHERE seen_at > '{since}'::timestamptz")  # noqa: S608 - the database's own word

    def have_a_model_listed(self) -> None:
        """Have an upstream list a model that it had not, until there is a passport of it."""
        name = f"model-{uuid.uuid4().hex}"
        self.lister.list(name)
        self._ring(PROBE, f"SELECT 1 FROM passports WHERE name = '{name}' AND status = 'active'")  # noqa: S608 - our own name

    def have_the_books_compared(self) -> None:
        """Have the scheduled comparison with the node run."""
        before = self.ledger.one("SELECT coalesce(max(id), 0) FROM reconciliations")
        self._ring(RECONCILE, f"SELECT 1 FROM reconciliations WHERE id > {int(before)}")  # noqa: S608 - a number

    def be_refused(self) -> None:
        """Ask for a job while the node makes no invoices, then for another."""
        self._be_refused(self.customer.ask_once)
        self.buy()

    def be_refused_a_session(self) -> None:
        """Ask for a session while the node makes no invoices, then for another."""
        self._be_refused(self.holder.create_once)
        self.open_and_end()

    def buy_a_plan(self) -> None:
        """Buy thirty days of a plan."""
        self.subscriber.buy()

    def be_refused_a_plan(self) -> None:
        """Ask for a plan while the node makes no invoices, then buy another."""
        self._be_refused(self.subscriber.ask_once)
        self.buy_a_plan()

    def have_code_verified(self) -> None:
        """Have code verified."""
        self.verifier.verify()

    def cancel_a_verification(self) -> None:
        """Submit code and cancel its verification."""
        self.verifier.cancel()

    def resume_a_verification(self) -> None:
        """Submit code that the model refuses to look at, and have it look again."""
        self.verifier.fail_and_resume()

    def let_expire(self) -> None:
        """Order, and have the invoice's time run out."""
        created = self.customer.order()
        self.ledger.rows(
            """UPDATE invoices SET expires_at = now() - interval '1 minute', next_check = now() FROM jobs
                WHERE owner_kind = 'job' AND owner_id = jobs.id AND public_id = %(job)s RETURNING invoices.id""",
            job=created["jobId"],
        )
        assert self.customer.reach(created["jobId"], "failed")["errorMessage"].endswith("nothing was charged.")
        assert self.ledger.book(created["jobId"]).received == 0

    def _finish(self, created: Mapping[str, object]) -> dict[str, Any]:
        done = self.customer.finish(created)
        assert done["state"] == "complete", done
        self.bought.append(done["jobId"])
        return done

    def _be_refused(self, ask_once: Callable[[], httpx.Response]) -> None:
        self.lightning.fault("AddInvoice", "unavailable", times=None)
        try:
            with pytest.raises((httpx.HTTPError, AssertionError)):
                assert ask_once().is_success
        finally:
            self.lightning.heal()

    def _cut_in_flight(self, payment_hash: str) -> None:
        self.lightning.fault("SendPaymentV2", "drop_stream", payment_hash=payment_hash, seconds=IN_FLIGHT_S)

    def _ring(self, tick: Tick, done: str) -> None:
        """Have a tick rung that beat rings too rarely, until `done` finds something."""
        broker = self.deaths.stack.endpoints["redis_url"]

        def rung() -> bool:
            self.ledger.rows(
                "UPDATE schedule SET next_run = now() WHERE name = %(name)s RETURNING name", name=tick.name
            )
            with Celery("sweep", broker=broker, set_as_current=False) as courier:
                courier.send_task(f"tick.{tick.name}", queue=tick.queue.name)
            threading.Event().wait(1.0)
            return bool(self.ledger.rows(done))

        self.customer.until(rung, what=f"a turn of {tick.name}")


def open_bench(armed: Deaths, opened: ExitStack, lister: ModelLister) -> Bench:
    """Connect a lane of the sweep to what runs; `opened` closes the connections."""
    endpoints = armed.stack.endpoints
    customer = Customer(endpoints)
    opened.callback(customer.close)
    ledger = LedgerReader(endpoints["database_url"])
    opened.callback(ledger.close)
    holder = Holder(endpoints, on_conflict=lambda key: ledger.rows(ANSWERS_LOST_KEYS_AT_ONCE, key=key))
    opened.callback(holder.close)
    lightning = LightningHand(endpoints)
    opened.callback(lightning.close)
    nodes = NodeBooks(endpoints)
    opened.callback(nodes.close)
    administrator = Administrator(endpoints)
    opened.callback(administrator.close)
    bookkeeper = Bookkeeper(endpoints)
    opened.callback(bookkeeper.close)
    asker = Asker(endpoints)
    opened.callback(asker.close)
    registrar = Registrar(endpoints, on_conflict=lambda key: ledger.rows(ANSWERS_LOST_KEYS_AT_ONCE, key=key))
    opened.callback(registrar.close)
    subscriber = Subscriber(endpoints, on_conflict=lambda key: ledger.rows(ANSWERS_LOST_KEYS_AT_ONCE, key=key))
    opened.callback(subscriber.close)
    verifier = Verifier(endpoints, on_conflict=lambda key: ledger.rows(ANSWERS_LOST_KEYS_AT_ONCE, key=key))
    opened.callback(verifier.close)
    return Bench(
        deaths=armed,
        customer=customer,
        holder=holder,
        ledger=ledger,
        lightning=lightning,
        nodes=nodes,
        administrator=administrator,
        bookkeeper=bookkeeper,
        asker=asker,
        registrar=registrar,
        subscriber=subscriber,
        verifier=verifier,
        lister=lister,
    )
