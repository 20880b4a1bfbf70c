"""Sessions that end or are looked at, and claims that are refused: what one caller or one bad row may cost the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from shared.agent import store as jobs
from shared.agent.claims import NO_PROOF
from shared.agent.sessions import store
from shared.agent.sessions.model import Session, SessionState
from shared.db.service import Row, Tx
from shared.kernel.errors import Conflict, InvalidInput
from shared.ledger import service as ledger
from shared.lightning.model import Purpose, Terms
from tests.integration.payouts.till import Till

NO_INVOICE = "not an invoice"
DEPOSIT_MSAT = 100_000


class BusyTx(Tx):
    """A transaction beside which something else commits, once the books were read."""

    def __init__(self, connection: psycopg.Connection[Any], meanwhile: Callable[[], None]) -> None:
        super().__init__(connection)
        self._meanwhile: Callable[[], None] | None = meanwhile

    def one(self, sql: str, parameters: Any = None) -> Row | None:
        found = super().one(sql, parameters)
        if "FROM postings" in sql and self._meanwhile is not None:
            meanwhile, self._meanwhile = self._meanwhile, None
            meanwhile()
        return found


def session_of(till: Till, number: int, *, paid: bool = True) -> Session:
    """Make a session with its deposit."""
    with till.container.database.transaction() as tx:
        made = store.insert_session(
            tx, public_id=f"ses_{number:032x}", address_hash=b"\x00" * 32, deposit_msat=DEPOSIT_MSAT, life_s=3600
        )
        till.container.invoices.intend(tx, made.owner, Terms(Purpose.DEPOSIT, DEPOSIT_MSAT, "", 3600))
        if paid:
            ledger.receive(tx, made.owner, ref=f"deposit of {number}", amount_msat=DEPOSIT_MSAT)
            tx.run("UPDATE sessions SET state = 'active', activated_at = now() WHERE id = %(id)s", {"id": made.id})
        return store.session(tx, made.id) or made


def test_an_idle_session_that_cannot_end_holds_up_no_other(till: Till) -> None:
    broken, sound = session_of(till, 1), session_of(till, 2)
    till.run("UPDATE sessions SET expires_at = now() - interval '1 minute'")
    till.run(f"ALTER TABLE sessions ADD CONSTRAINT broken CHECK (id <> {broken.id} OR state <> 'expired')")
    with till.container.database.transaction() as tx:
        till.container.session_closing.expire(tx)
    with till.container.database.transaction() as tx:
        states = [found.state for one in (broken, sound) if (found := store.session(tx, one.id))]
        assert states == [SessionState.ACTIVE, SessionState.EXPIRED]
        assert (ledger.held(tx, broken.owner), ledger.owed(tx, broken.owner)) == (DEPOSIT_MSAT, 0)
        assert (ledger.held(tx, sound.owner), ledger.owed(tx, sound.owner)) == (0, DEPOSIT_MSAT)


def test_what_is_available_is_never_below_nothing_however_much_happens_while_one_looks(till: Till) -> None:
    session = session_of(till, 1)

    def spend_more_than_there_was() -> None:
        with till.container.database.transaction() as other:
            ledger.receive(other, session.owner, ref="a top-up", amount_msat=DEPOSIT_MSAT)
            assert ledger.reserve(other, session.owner, ref="1", amount_msat=DEPOSIT_MSAT + 50_000, life_s=60)

    with till.container.database.transaction() as tx:
        view = till.container.sessions._view(BusyTx(tx._connection, spend_more_than_there_was), session, NO_PROOF)
    assert (view.balance_sats, view.reserved_sats) == (100, 0)


def test_a_session_that_nobody_has_paid_says_so_before_it_looks_at_an_invoice(till: Till) -> None:
    waiting = session_of(till, 1, paid=False)
    with pytest.raises(Conflict) as refused:
        till.container.session_closing.close(waiting.id, NO_INVOICE)
    assert refused.value.code == "not_paid_yet"
    with pytest.raises(InvalidInput):
        till.container.session_closing.close(session_of(till, 2).id, NO_INVOICE)


def test_an_invoice_is_read_while_nobody_waits_for_its_job_and_after_what_the_job_has_to_say(till: Till) -> None:
    owner = till.owe(20)
    public_id = f"job_{1:032x}"
    with till.container.database.transaction() as tx:
        jobs.lock_job(tx, owner.id)
        with pytest.raises(InvalidInput):
            till.container.refunds.refund(public_id, NO_INVOICE, proof=NO_PROOF)
    till.run("UPDATE jobs SET state = 'executing', ended_at = NULL")
    with pytest.raises(Conflict) as refused:
        till.container.refunds.refund(public_id, NO_INVOICE, proof=NO_PROOF)
    assert refused.value.code == "not_ended"
