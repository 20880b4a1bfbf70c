"""Money out when nothing goes wrong, and what is refused before anything is sent."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared.agent.refunds import LEAST_LIFE_S
from shared.kernel.errors import Conflict, InvalidInput
from shared.lightning.clients.lnd_payments import LndPayments
from shared.lightning.model import PayoutState
from shared.lightning.paying import OWN_NODE
from tests.e2e.patience import at_once
from tests.integration.payouts.till import Till, await_expiry, claimed_at_the_last_moment


def test_what_is_owed_is_paid_once_and_booked(till: Till) -> None:
    owner = till.owe(20)
    payout = till.claim(owner, till.invoice(20))
    assert (payout.state, payout.fee_limit_msat, payout.amount_msat) == (PayoutState.INTENDED, 1000, 20_000)

    paid = till.pay(payout)
    assert paid.state is PayoutState.PAID
    assert (paid.fee_msat, paid.sender_fence, paid.orphaned) == (0, None, False)
    assert till.owed_msat(owner) == 0
    assert till.received_msat() == 20_000
    assert till.moves(payout) == ["intended", "sending", "paid"]
    assert till.step()["state"] == "done"

    assert till.pay(payout) == paid
    assert till.received_msat() == 20_000


def test_the_routing_fee_is_ours_and_booked(till: Till) -> None:
    till.nodes.command("/fees", base_msat=500, ppm=1000)
    paid = till.pay(till.claim(till.owe(400), till.invoice(400)))
    assert (paid.state, paid.fee_msat) == (PayoutState.PAID, 900)
    assert till.rows("SELECT amount_msat FROM postings WHERE account = 'routing_fees'") == [{"amount_msat": 900}]


def test_a_route_dearer_than_the_limit_fails_and_another_invoice_can_be_paid(till: Till) -> None:
    owner = till.owe(400)
    till.nodes.command("/fees", base_msat=4001, ppm=0)
    failed = till.pay(till.claim(owner, till.invoice(400)))
    assert (failed.state, failed.fault) == (PayoutState.FAILED, "NO_ROUTE")
    assert till.owed_msat(owner) == 400_000
    till.nodes.command("/fees", base_msat=4000, ppm=0)
    assert till.pay(till.claim(owner, till.invoice(400))).state is PayoutState.PAID


def test_what_is_below_a_sat_stays_owed_and_counts_with_the_next_debt(till: Till) -> None:
    owner = till.owe(20, rest_msat=700)
    with pytest.raises(InvalidInput, match="exactly 20 sats"):
        till.claim(owner, till.invoice(21))
    till.pay(till.claim(owner, till.invoice(20)))
    assert till.owed_msat(owner) == 700
    with pytest.raises(Conflict) as nothing:
        till.claim(owner, till.invoice(1))
    assert nothing.value.code == "already_paid"
    till.owe_more(owner, 1_400, ref="work")
    till.pay(till.claim(owner, till.invoice(2)))
    assert till.owed_msat(owner) == 100


def test_a_debt_that_comes_up_while_a_payout_is_open_waits_for_the_next_one(till: Till) -> None:
    owner = till.owe(20)
    first = till.claim(owner, till.invoice(20))
    till.owe_more(owner, 5_000, ref="work")
    with pytest.raises(Conflict) as open_still:
        till.claim(owner, till.invoice(5))
    assert open_still.value.code == "payout_open"
    till.pay(first)
    assert till.owed_msat(owner) == 5_000
    assert till.pay(till.claim(owner, till.invoice(5))).state is PayoutState.PAID


def test_the_same_invoice_again_is_the_same_payout_whatever_became_of_it(till: Till) -> None:
    owner, invoice = till.owe(), till.invoice()
    payout = till.claim(owner, invoice)
    assert till.claim(owner, f"lightning:{invoice.upper()}").id == payout.id
    till.pay(payout)
    till.clock.ahead = timedelta(days=2)
    assert till.claim(owner, invoice).state is PayoutState.PAID


def test_an_invoice_pays_one_owner_only(till: Till) -> None:
    invoice = till.invoice()
    till.claim(till.owe(), invoice)
    with pytest.raises(InvalidInput) as used:
        till.claim(till.owe(), invoice)
    assert used.value.code == "invoice_used"


def test_of_many_claims_at_once_one_is_taken(till: Till) -> None:
    owner = till.owe()
    invoices = [till.invoice() for _ in range(6)]

    def claim(invoice: str) -> str:
        try:
            return str(till.claim(owner, invoice).id)
        except Conflict as refused:
            return refused.code

    results = at_once(*(lambda invoice=invoice: claim(invoice) for invoice in invoices))
    assert sorted(results)[1:] == ["payout_open"] * 5
    assert till.rows("SELECT count(*) AS n FROM payouts") == [{"n": 1}]


def test_two_owners_who_come_with_one_invoice_at_once_get_one_payout(till: Till) -> None:
    owners, invoice = [till.owe() for _ in range(4)], till.invoice()

    def claim(number: int) -> str:
        try:
            return str(till.claim(owners[number], invoice).id)
        except InvalidInput as refused:
            return refused.code

    results = at_once(*(lambda number=number: claim(number) for number in range(4)))
    assert sorted(results)[1:] == ["invoice_used"] * 3
    assert till.rows("SELECT count(*) AS n FROM debts WHERE payout_id IS NOT NULL") == [{"n": 1}]


def test_nothing_is_claimed_where_nothing_is_owed(till: Till) -> None:
    owner = till.owe(0, rest_msat=999)
    with pytest.raises(Conflict) as nothing:
        till.claim(owner, till.invoice(1))
    assert nothing.value.code == "nothing_owed"


def test_an_invoice_that_expires_too_soon_is_refused(till: Till) -> None:
    owner = till.owe()
    with pytest.raises(InvalidInput) as soon:
        till.claim(owner, till.invoice(expiry=LEAST_LIFE_S - 5))
    assert soon.value.code == "invoice_expired"
    assert till.claim(owner, till.invoice(expiry=LEAST_LIFE_S + 60)).state is PayoutState.INTENDED


def test_an_invoice_of_our_own_node_is_refused_by_the_node_before_anything_is_sent(till: Till) -> None:
    owner = till.owe()
    refused = till.pay(till.claim(owner, str(till.nodes.lnd.invoice(20).payment_request)))
    assert (refused.state, refused.fault) == (PayoutState.FAILED, OWN_NODE)
    assert till.owed_msat(owner) == 20_000
    assert till.moves(refused) == ["intended", "failed"]


def test_an_invoice_that_has_expired_by_the_nodes_clock_fails_at_once(till: Till) -> None:
    payout = claimed_at_the_last_moment(till)
    await_expiry(payout)
    failed = till.pay(payout)
    assert (failed.state, failed.orphaned) == (PayoutState.FAILED, False)
    assert "invoice expired" in str(failed.fault)
    assert till.owed_msat(payout.owner) == 20_000


def test_an_invoice_that_has_expired_by_our_clock_alone_is_paid(till: Till) -> None:
    payout = till.claim(till.owe(), till.invoice())
    till.clock.ahead = timedelta(days=2)
    assert till.pay(payout).state is PayoutState.PAID


def test_a_macaroon_that_may_not_pay_pays_nothing_and_fails_nothing(till: Till) -> None:
    payout = till.claim(till.owe(), till.invoice())
    till.container.paying._payer = LndPayments(
        till.nodes.ready["lnd"]["grpc"], till.nodes.lnd.cert_pem, till.nodes.ready["lnd"]["macaroon_invoices"]
    )
    assert till.pay(payout).state is PayoutState.UNKNOWN
    assert till.pay(payout).needs_review
    assert till.received_msat() == 0
    del till.container.__dict__["paying"], till.container.__dict__["disbursement"]
    paid = till.pay(payout)
    assert (paid.state, paid.needs_review) == (PayoutState.PAID, False)
