"""The ledger's rules, held by PostgreSQL itself where the code could be wrong."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from shared.db.service import Database, Tx
from shared.kernel.errors import IntegrityFault
from shared.kernel.owner import Owner
from shared.ledger import service as ledger
from shared.ledger import store
from shared.ledger.model import Account, DebtReason, DebtState, Line
from tests.e2e.patience import at_once

JOB = Owner("job", 1)
OTHER = Owner("job", 2)


@pytest.fixture
def paid(database: Database) -> Owner:
    """An owner who paid 10,000 msat."""
    with database.transaction() as tx:
        assert ledger.receive(tx, JOB, ref="a hash", amount_msat=10_000)
    return JOB


def totals(database: Database) -> dict[Account, int]:
    with database.transaction() as tx:
        return ledger.totals(tx)


def held(database: Database, owner: Owner) -> int:
    with database.transaction() as tx:
        return ledger.held(tx, owner)


def test_an_entry_that_does_not_balance_is_refused_at_commit(database: Database) -> None:
    lines = (Line(Account.NODE, 5), Line(Account.CUSTOMER, -4, JOB))
    posted: list[int | None] = []
    with pytest.raises(psycopg.errors.CheckViolation, match="does not balance"):
        with database.transaction() as tx:
            posted.append(store.post(tx, "receive", "unbalanced", lines))
    assert None not in posted, "the entry itself was accepted, its transaction was not"
    assert totals(database) == {}
    with database.transaction() as tx:
        assert tx.all("SELECT * FROM entries") == []


@pytest.mark.usefixtures("paid")
def test_a_balanced_entry_cannot_be_unbalanced_later(database: Database) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="does not balance"):
        with database.transaction() as tx:
            tx.run("INSERT INTO postings (entry_id, account, amount_msat) SELECT id, 'suspense', 1 FROM entries")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE postings SET amount_msat = amount_msat * 2",
        "DELETE FROM postings",
        "UPDATE entries SET ref = 'another'",
        "DELETE FROM entries",
        "TRUNCATE entries, postings, debts",
    ],
)
@pytest.mark.usefixtures("paid")
def test_what_is_booked_is_never_rewritten(database: Database, statement: str) -> None:
    with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
        with database.transaction() as tx:
            tx.run(statement)
    assert totals(database) == {Account.CUSTOMER: -10_000, Account.NODE: 10_000}


@pytest.mark.parametrize(
    ("account", "owner_kind", "owner_id", "amount_msat"),
    [
        ("petty_cash", None, None, 1),
        ("node", None, None, 0),
        ("customer", None, None, 1),
        ("debts_payable", None, None, 1),
        ("customer", "job", None, 1),
    ],
)
@pytest.mark.usefixtures("paid")
def test_a_posting_that_makes_no_sense_is_refused(
    database: Database, account: str, owner_kind: str | None, owner_id: int | None, amount_msat: int
) -> None:
    posting = {"account": account, "owner_kind": owner_kind, "owner_id": owner_id, "amount_msat": amount_msat}
    with pytest.raises(psycopg.errors.CheckViolation, match="postings"):
        with database.transaction() as tx:
            tx.run(
                "INSERT INTO postings (entry_id, account, owner_kind, owner_id, amount_msat)"
                " SELECT id, %(account)s, %(owner_kind)s, %(owner_id)s, %(amount_msat)s FROM entries",
                posting,
            )


def test_the_same_payment_is_received_once(database: Database, make_database: Callable[[], Database]) -> None:
    def receive() -> bool:
        with make_database().transaction() as tx:
            return ledger.receive(tx, JOB, ref="a hash", amount_msat=10_000)

    assert sorted(at_once(receive, receive, receive)) == [False, False, True]
    assert held(database, JOB) == 10_000
    assert sum(totals(database).values()) == 0


@pytest.mark.usefixtures("paid")
def test_the_same_delivery_is_earned_once(database: Database) -> None:
    for is_first in (True, False):
        with database.transaction() as tx:
            assert ledger.earn(tx, JOB, Account.REVENUE_EVAL, ref="job:1:eval", amount_msat=4_000) is is_first
    assert held(database, JOB) == 6_000
    assert totals(database)[Account.REVENUE_EVAL] == -4_000


def owe_too_much(tx: Tx) -> None:
    ledger.owe_back(tx, JOB, DebtReason.UNUSED, ref="job:1", amount_msat=10_001)


def earn_too_much(tx: Tx) -> None:
    ledger.earn(tx, JOB, Account.REVENUE_WORK, ref="job:1:work", amount_msat=10_001)


def owe_what_is_owed(tx: Tx) -> None:
    ledger.owe_back(tx, JOB, DebtReason.LATE, ref="eval", amount_msat=10_000)
    ledger.owe_back(tx, JOB, DebtReason.UNUSED, ref="job:1", amount_msat=1)


def take_from_another(tx: Tx) -> None:
    ledger.owe_back(tx, OTHER, DebtReason.UNUSED, ref="job:2", amount_msat=1)


@pytest.mark.parametrize("move", [owe_too_much, earn_too_much, owe_what_is_owed, take_from_another])
@pytest.mark.usefixtures("paid")
def test_nobody_moves_more_than_an_owner_has_paid(database: Database, move: Callable[[Tx], None]) -> None:
    with pytest.raises(IntegrityFault, match="more was moved"):
        with database.transaction() as tx:
            move(tx)
    assert held(database, JOB) == 10_000
    with database.transaction() as tx:
        assert ledger.debts(tx, JOB) == ledger.debts(tx, OTHER) == []


@pytest.mark.usefixtures("paid")
def test_what_is_owed_back_is_a_debt_and_no_longer_held(database: Database) -> None:
    for is_first in (True, False):
        with database.transaction() as tx:
            assert ledger.owe_back(tx, JOB, DebtReason.UNUSED, ref="job:1", amount_msat=9_001) is is_first
    with database.transaction() as tx:
        (debt,) = ledger.debts(tx, JOB)
        assert (debt.reason, debt.amount_msat, debt.state) == (DebtReason.UNUSED, 9_001, DebtState.OPEN)
        assert ledger.owed(tx, JOB) == 9_001
    assert held(database, JOB) == 999
    assert sum(totals(database).values()) == 0


@pytest.mark.usefixtures("paid")
def test_owing_nothing_books_nothing(database: Database) -> None:
    with database.transaction() as tx:
        assert not ledger.owe_back(tx, JOB, DebtReason.UNUSED, ref="job:1", amount_msat=0)
        assert ledger.debts(tx, JOB) == []
        assert tx.one("SELECT count(*) AS entries FROM entries") == {"entries": 1}
