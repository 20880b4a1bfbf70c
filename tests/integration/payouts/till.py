"""Somebody who is owed money, somebody who pays it, and the means to look at both books."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from config.settings import Settings
from shared.agent import store as jobs
from shared.agent.disbursement import Disbursement
from shared.agent.model import JobState
from shared.bootstrap import Container, Role, build
from shared.kernel.clock import SystemClock
from shared.kernel.money import msat
from shared.kernel.owner import Owner
from shared.ledger import service as ledger
from shared.ledger.model import DebtReason
from shared.lightning.model import Decoded, NodePayment, Payer, Payout, PayoutState
from shared.lightning.paying import Paying, PayingRules
from shared.lightning.payouts import PAYOUT, row_of
from tests.e2e.patience import eventually
from tests.integration.lightning.lightning_process import LightningProcess

NOWHERE = "127.0.0.1:9"
# Of an invoice that is paid just before it expires: long enough for a few calls of the node.
LAST_MOMENT_S = 4
HOLD_S = 1.0
LEASE_S = 5.0


class ShiftedClock(SystemClock):
    """The machine's clock, put forward by `ahead`."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


class GatedPayer:
    """A node's paying side whose sends wait at a gate: a process that freezes between its announcement and the call."""

    def __init__(self, payer: Payer) -> None:
        self._payer = payer
        self.reached = threading.Event()
        self.gate = threading.Event()

    def decode_payment_request(self, payment_request: str) -> Decoded | None:
        return self._payer.decode_payment_request(payment_request)

    def send_payment(self, payment_request: str, **how: Any) -> NodePayment | None:
        self.reached.set()
        assert self.gate.wait(30)
        return self._payer.send_payment(payment_request, **how)

    def track_payment(self, payment_hash: bytes) -> NodePayment | None:
        return self._payer.track_payment(payment_hash)


def environment_on(database_url: str, nodes: LightningProcess) -> dict[str, str]:
    """Return the environment of a worker whose database and node are real, and whose Redis nobody needs."""
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": f"redis://{NOWHERE}/0",
        "SECRET_KEY": "03" * 32,
        "LND_GRPC": nodes.ready["lnd"]["grpc"],
        "LND_TLS_CERT": nodes.ready["lnd"]["tls_cert"],
        "LND_MACAROON_INVOICES": nodes.ready["lnd"]["macaroon_invoices"],
        "LND_MACAROON_PAYMENTS": nodes.ready["lnd"]["macaroon_payments"],
        "LND_NETWORK": "regtest",
        "OPENAI_BASE_URL": f"http://{NOWHERE}/v1",
        "EVAL_MODEL": "some",
        "WORK_MODEL": "some",
        "LOG_ORIGIN": "lucid.example/log",
        "RECEIPT_SIGNING_KEY": "01" * 32,
        "LOG_SIGNING_KEY": "02" * 32,
        "FLOWER_USER": "lucid",
        "FLOWER_PASSWORD": "not-a-secret",
        "LEASE_S": str(LEASE_S),
        "PAYOUT_WAIT_S": str(HOLD_S),
        "LOG_LEVEL": "ERROR",
    }


@dataclass
class Till:
    """Owes, claims, pays; asks the database and both nodes what came of it."""

    url: str
    nodes: LightningProcess
    folder: Path
    clock: ShiftedClock = field(default_factory=ShiftedClock)

    def __post_init__(self) -> None:
        self.environment: Mapping[str, str] = environment_on(self.url, self.nodes)
        self.container = self._container()
        self._lnd_msat = self.nodes.lnd.balance_msat()
        self._wallet_msat = self.nodes.wallet.balance_msat()
        self._number = 0

    def close(self) -> None:
        """Close what was opened."""
        self.container.database.close()

    # -- owing and claiming

    def owe(self, sats: int = 20, *, rest_msat: int = 0) -> Owner:
        """Make an ended job that is owed so much, as a job that failed after it was paid."""
        self._number += 1
        with self.container.database.transaction() as tx:
            job = jobs.insert_job(
                tx,
                public_id=f"job_{self._number:032x}",
                request="Say something.",
                address_hash=b"\x00" * 32,
                eval_amount_msat=10_000,
                prepaid=False,
            )
            jobs.move_job(tx, job.id, from_state=job.state, to_state=JobState.FAILED, error_message="it failed")
            self._owe(tx, job.owner, msat(sats) + rest_msat, ref="eval")
        return job.owner

    def owe_more(self, owner: Owner, amount_msat: int, *, ref: str) -> None:
        """Owe somebody more."""
        with self.container.database.transaction() as tx:
            self._owe(tx, owner, amount_msat, ref=ref)

    def invoice(self, sats: int = 20, **fields: Any) -> str:
        """Have the customer's node ask for so much."""
        return str(self.nodes.wallet.invoice(sats, **fields).payment_request)

    def claim(self, owner: Owner, payment_request: str) -> Payout:
        """Claim what is owed to this invoice."""
        refunds = self.container.refunds
        payable = refunds.read(payment_request)
        with self.container.database.transaction() as tx:
            jobs.lock_job(tx, owner.id)
            return refunds.claim(tx, owner, payable)

    # -- paying

    def pay(self, payout: Payout, *, by: Disbursement | None = None) -> Payout:
        """Have a worker do the payout's step once, now, whenever it would be due; return the row."""
        self.let_be_due()
        (by or self.container.disbursement).send(payout.id)
        return self.look(payout)

    def pay_until(self, payout: Payout, state: PayoutState) -> Payout:
        """Do the step again until the payout is in `state`: a connection that was lost comes back in a moment."""
        return eventually(
            lambda: found if (found := self.pay(payout)).state is state else None, what=f"a payout that is {state}"
        )

    def let_be_due(self) -> None:
        """What time does to a step that waits."""
        self.run("UPDATE steps SET not_before = now() WHERE state = 'queued'")

    def let_lease_lapse(self) -> None:
        """What time does to the lease of a process that is frozen or dead."""
        self.run("UPDATE steps SET lease_until = now() - interval '1 s' WHERE state = 'running'")

    def look(self, payout: Payout) -> Payout:
        """Return the row as it is."""
        with self.container.database.transaction() as tx:
            return self.container.payouts.by_id(tx, payout.id)

    def another_worker(self) -> tuple[Disbursement, GatedPayer]:
        """Return a worker in a process of its own, whose sends wait at a gate."""
        other = self._container()
        gated = GatedPayer(other.paying._payer)
        paying = Paying(
            other.database,
            payouts=other.payouts,
            work=other.work,
            payer=gated,
            clock=self.clock,
            rules=PayingRules(hold_s=HOLD_S, lease_s=60),
        )
        return _disbursement(other, paying), gated

    def patient_worker(self, *, hold_s: float) -> Disbursement:
        """Return a worker that would wait so long for a send."""
        own = self.container
        rules = PayingRules(hold_s=hold_s, lease_s=60)
        payer = own.paying._payer
        paying = Paying(own.database, payouts=own.payouts, work=own.work, payer=payer, clock=self.clock, rules=rules)
        return _disbursement(own, paying)

    # -- looking

    def run(self, sql: str, **parameters: Any) -> int:
        """Change rows behind the product's back; return how many."""
        with self.container.database.transaction() as tx:
            return tx.run(sql, parameters or None)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Return what a query finds."""
        with self.container.database.transaction() as tx:
            return tx.all(sql)

    def step(self) -> dict[str, Any]:
        """Return the only payout's step."""
        (row,) = self.rows(
            "SELECT state, attempts, fault, extract(epoch FROM not_before - now())::float8 AS waits_s FROM steps"
        )
        return row

    def moves(self, payout: Payout) -> list[str]:
        """Return the states that the payout's events tell of, in order."""
        events = self.container.events.replay(row_of(payout))
        return [event.to_state for event in events if event.to_state is not None]

    def owed_msat(self, owner: Owner) -> int:
        """Return what is still owed."""
        with self.container.database.transaction() as tx:
            return ledger.owed(tx, owner)

    def received_msat(self) -> int:
        """Return what the customer has got since this till was opened."""
        return self.nodes.wallet.balance_msat() - self._wallet_msat

    def require_true_books(self) -> None:
        """What the books say was paid is what left the merchant's node, and what reached the customer, to the millisatoshi."""
        paid = self.rows("SELECT amount_msat, fee_msat FROM payouts WHERE state = 'paid'")
        (booked,) = self.rows(
            "SELECT coalesce(sum(amount_msat), 0)::bigint AS msat FROM postings JOIN entries ON entries.id = entry_id"
            " WHERE kind = 'pay_out' AND account = 'node'"
        )
        assert -booked["msat"] == sum(row["amount_msat"] + row["fee_msat"] for row in paid)
        assert self._lnd_msat - self.nodes.lnd.balance_msat() == -booked["msat"]
        assert self.received_msat() == sum(row["amount_msat"] for row in paid)
        disputed = """
            SELECT owner_id FROM postings WHERE account = 'debts_payable' GROUP BY owner_id
            HAVING -sum(amount_msat) <> (SELECT coalesce(sum(amount_msat), 0) FROM debts
                                          WHERE debts.owner_id = postings.owner_id AND state = 'open')"""
        assert self.rows(disputed) == []
        assert self.rows("SELECT entry_id FROM postings GROUP BY entry_id HAVING sum(amount_msat) <> 0") == []
        self._require_streams()

    def _require_streams(self) -> None:
        """Each payout's events begin with its creation, join, and end in the state of its row."""
        for row in self.rows("SELECT id, state FROM payouts"):
            events = self.container.events.replay(Owner(PAYOUT, row["id"]))
            moves = [(event.from_state, event.to_state) for event in events if event.to_state is not None]
            assert [before for before, _ in moves] == ["", *(after for _, after in moves[:-1])]
            assert moves[-1][1] == row["state"]

    def _owe(self, tx: Any, owner: Owner, amount_msat: int, *, ref: str) -> None:
        ledger.receive(tx, owner, ref=f"{owner.id}:{ref}", amount_msat=amount_msat)
        ledger.owe_back(tx, owner, DebtReason.LATE, ref=ref, amount_msat=amount_msat)

    def _container(self) -> Container:
        built = build(Settings.load(self.environment), Role.WORKER)
        built.clock = self.clock
        return built


def claimed_at_the_last_moment(till: Till) -> Payout:
    """Claim to an invoice that expires in a moment; a clock that is behind takes it for one that lasts."""
    till.clock.ahead = timedelta(minutes=-9)
    payout = till.claim(till.owe(), till.invoice(expiry=LAST_MOMENT_S))
    till.clock.ahead = timedelta()
    return payout


def await_expiry(payout: Payout) -> None:
    """Wait until the nodes' clock is past the invoice's expiry, which nothing announces."""
    eventually(lambda: SystemClock().now() > payout.expires_at, what="an invoice that has expired")


def _disbursement(own: Container, paying: Paying) -> Disbursement:
    return Disbursement(
        own.database, payouts=own.payouts, paying=paying, fundings=own.fundings, events=own.events, work=own.work
    )
