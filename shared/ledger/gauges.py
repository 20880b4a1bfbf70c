"""What an operator watches of the books: what each account holds, what is owed back, and whether it all still adds up."""

from __future__ import annotations

from dataclasses import dataclass

from shared.db.model import Queries
from shared.db.service import Tx
from shared.ledger import store
from shared.ledger.model import Account, DebtReason

SQL = Queries.beside(__file__)


@dataclass(frozen=True)
class OpenDebts:
    """How many debts of one reason are open, and their sum in millisatoshi."""

    debts: int = 0
    amount_msat: int = 0


@dataclass(frozen=True)
class LedgerGauges:
    """Every account's sum in millisatoshi, the open debts of every reason, and what is reserved.

    `reservation_overdue_s`: seconds since somebody should have looked why the oldest reservation is still open.
    """

    accounts: dict[Account, int]
    debts: dict[DebtReason, OpenDebts]
    reservations: int
    reserved_msat: int
    reservation_overdue_s: float

    @property
    def imbalance_msat(self) -> int:
        """The sum of all postings: 0, or the books are broken."""
        return sum(self.accounts.values())


@dataclass(frozen=True)
class BookFaults:
    """How often a rule of the books is broken: all 0, or an operator has to look.

    `disputed_debtors`: owners whose open debts differ from their debts payable. `overdrawn`: owners of whom more was moved
    than they had paid. `overbooked`: owners of whom more is reserved than they have.
    """

    unbalanced_entries: int
    disputed_debtors: int
    overdrawn: int
    overbooked: int


def gauges(tx: Tx) -> LedgerGauges:
    """Read the present figures; accounts and reasons without rows read 0."""
    totals = store.totals(tx)
    rows = {DebtReason(row["reason"]): OpenDebts(row["debts"], row["amount_msat"]) for row in tx.all(SQL["open_debts"])}
    open_reservations = tx.all(SQL["open_reservations"])[0]
    return LedgerGauges(
        accounts={account: totals.get(account, 0) for account in Account},
        debts={reason: rows.get(reason, OpenDebts()) for reason in DebtReason},
        reservations=open_reservations["reservations"],
        reserved_msat=open_reservations["reserved_msat"],
        reservation_overdue_s=open_reservations["overdue_s"],
    )


def book_faults(tx: Tx) -> BookFaults:
    """Audit every entry and every owner; reads all postings."""
    return BookFaults(
        unbalanced_entries=tx.all(SQL["unbalanced_entries"])[0]["entries"],
        disputed_debtors=tx.all(SQL["disputed_debtors"])[0]["owners"],
        overdrawn=tx.all(SQL["overdrawn"])[0]["owners"],
        overbooked=tx.all(SQL["overbooked"])[0]["owners"],
    )


def holders(tx: Tx, kind: str) -> list[int]:
    """Return the row ids of the owners of this kind who hold a customer balance, whatever its sign."""
    return [row["owner_id"] for row in tx.all(SQL["holders"], {"kind": kind})]
