"""The product's client against nodes that misbehave: no invoice twice, no settlement missed, no guess made."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection

import pytest
from lightning_process import ROOT, LightningProcess

from shared.kernel.errors import LucidError
from shared.lightning.clients.lnd import (
    CancelOutcome,
    InvoiceMismatch,
    LndClient,
    NodeInvoiceState,
    NodeRefused,
    NodeUnavailable,
)


@pytest.fixture
def client(sandbox_lightning: LightningProcess) -> Iterator[LndClient]:
    client = sandbox_lightning.lnd.client()
    yield client
    client.close()


def added(client: LndClient, preimage: bytes, *, amount_msat: int = 10_000, expiry_s: int = 600) -> str:
    return client.add_invoice(preimage=preimage, amount_msat=amount_msat, memo="evaluation", expiry_s=expiry_s)


def test_the_node_says_who_it_is(sandbox_lightning: LightningProcess, client: LndClient) -> None:
    info = client.get_info()
    assert (info.pubkey, info.network) == (sandbox_lightning.ready["lnd"]["pubkey"], "regtest")
    assert (info.alias, info.synced) == ("sandbox-lnd", True)


def test_adding_twice_yields_one_invoice(client: LndClient) -> None:
    preimage = secrets.token_bytes(32)
    assert added(client, preimage) == added(client, preimage)


def test_an_add_whose_answer_is_lost_adopts_what_it_made(
    sandbox_lightning: LightningProcess, client: LndClient
) -> None:
    preimage = secrets.token_bytes(32)
    sandbox_lightning.fault("lnd", "AddInvoice", "drop_after_settle")
    request = added(client, preimage)
    found = client.lookup_invoice(hashlib.sha256(preimage).digest())
    assert found is not None
    assert (found.payment_request, found.value_msat) == (request, 10_000)


@pytest.mark.parametrize("fault", ["unavailable", "hang"])
def test_an_add_that_came_to_nothing_can_be_repeated(sandbox_lightning: LightningProcess, fault: str) -> None:
    hasty = sandbox_lightning.lnd.client(timeout_s=0.5)
    preimage = secrets.token_bytes(32)
    sandbox_lightning.fault("lnd", "AddInvoice", fault)
    with pytest.raises(NodeUnavailable):
        added(hasty, preimage)
    assert hasty.lookup_invoice(hashlib.sha256(preimage).digest()) is None
    assert added(hasty, preimage).startswith("lnbcrt")
    hasty.close()


def test_an_invoice_of_another_amount_is_not_adopted(client: LndClient) -> None:
    preimage = secrets.token_bytes(32)
    added(client, preimage, amount_msat=10_000)
    with pytest.raises(InvoiceMismatch) as caught:
        added(client, preimage, amount_msat=11_000)
    assert caught.value.found.value_msat == 10_000


def test_an_invoice_that_is_no_longer_open_is_not_adopted(
    sandbox_lightning: LightningProcess, client: LndClient
) -> None:
    cancelled, paid = secrets.token_bytes(32), secrets.token_bytes(32)
    added(client, cancelled)
    client.cancel_invoice(hashlib.sha256(cancelled).digest())
    with pytest.raises(InvoiceMismatch) as caught:
        added(client, cancelled)
    assert caught.value.found.state is NodeInvoiceState.CANCELED
    sandbox_lightning.wallet.pay(added(client, paid))
    with pytest.raises(InvoiceMismatch) as caught:
        added(client, paid)
    assert caught.value.found.state is NodeInvoiceState.SETTLED


def test_a_lookup_tells_open_settled_and_unknown(sandbox_lightning: LightningProcess, client: LndClient) -> None:
    preimage = secrets.token_bytes(32)
    request = added(client, preimage)
    payment_hash = hashlib.sha256(preimage).digest()
    before = client.lookup_invoice(payment_hash)
    assert before is not None
    assert (before.state, before.amt_paid_msat, before.settle_index) == (NodeInvoiceState.OPEN, 0, 0)
    assert before.settled_at is None
    sandbox_lightning.wallet.pay(request)
    after = client.lookup_invoice(payment_hash)
    assert after is not None
    assert (after.state, after.amt_paid_msat) == (NodeInvoiceState.SETTLED, 10_000)
    assert after.settled_at is not None
    assert after.settled_at.tzinfo is UTC
    assert client.lookup_invoice(bytes(32)) is None


def test_a_node_that_does_not_answer_is_not_a_missing_invoice(
    sandbox_lightning: LightningProcess, client: LndClient
) -> None:
    sandbox_lightning.fault("lnd", "LookupInvoice", "unavailable")
    with pytest.raises(NodeUnavailable):
        client.lookup_invoice(bytes(32))


def test_every_call_has_a_deadline(sandbox_lightning: LightningProcess) -> None:
    hasty = sandbox_lightning.lnd.client(timeout_s=0.3)
    sandbox_lightning.fault("lnd", "*", "hang", times=None)
    started = time.monotonic()
    for call in (hasty.get_info, lambda: hasty.lookup_invoice(bytes(32)), lambda: hasty.cancel_invoice(bytes(32))):
        with pytest.raises(NodeUnavailable):
            call()
    assert time.monotonic() - started < 3
    hasty.close()


def test_cancelling_says_what_it_came_to(sandbox_lightning: LightningProcess, client: LndClient) -> None:
    dropped, paid = secrets.token_bytes(32), secrets.token_bytes(32)
    added(client, dropped)
    for _ in range(2):
        assert client.cancel_invoice(hashlib.sha256(dropped).digest()) is CancelOutcome.CANCELED
    sandbox_lightning.wallet.pay(added(client, paid))
    assert client.cancel_invoice(hashlib.sha256(paid).digest()) is CancelOutcome.ALREADY_SETTLED
    assert client.cancel_invoice(bytes(32)) is CancelOutcome.UNKNOWN_INVOICE


def test_a_refusal_is_not_an_outage(sandbox_lightning: LightningProcess) -> None:
    payments_only = sandbox_lightning.lnd.client("macaroon_payments")
    assert payments_only.get_info().network == "regtest"
    for call in (
        lambda: added(payments_only, secrets.token_bytes(32)),
        lambda: payments_only.lookup_invoice(bytes(32)),
        lambda: payments_only.cancel_invoice(bytes(32)),
        lambda: list(payments_only.list_settled_after(0)),
        lambda: list(payments_only.subscribe_invoices(0, stop=threading.Event())),
    ):
        with pytest.raises(NodeRefused) as caught:
            call()
        assert isinstance(caught.value, LucidError)
    payments_only.close()


def test_a_memo_that_is_too_long_is_a_refusal(client: LndClient) -> None:
    with pytest.raises(NodeRefused, match="memo too large"):
        client.add_invoice(preimage=secrets.token_bytes(32), amount_msat=1_000, memo="m" * 2000, expiry_s=60)


def test_a_subscription_resumes_where_it_was_cut(sandbox_lightning: LightningProcess, client: LndClient) -> None:
    stop = threading.Event()
    wallet = sandbox_lightning.wallet
    preimages = [secrets.token_bytes(32) for _ in range(3)]
    requests = [added(client, preimage) for preimage in preimages]
    wallet.pay(requests[0])
    first = client.lookup_invoice(hashlib.sha256(preimages[0]).digest())
    assert first is not None
    following = client.subscribe_invoices(first.settle_index, stop=stop)
    wallet.pay(requests[1])
    seen = next(following)
    assert (seen.payment_request, seen.settle_index) == (requests[1], first.settle_index + 1)
    sandbox_lightning.fault("lnd", "SubscribeInvoices", "drop_after_settle")
    wallet.pay(requests[2])
    with pytest.raises(NodeUnavailable):
        next(following)
    resumed = client.subscribe_invoices(seen.settle_index, stop=stop)
    assert next(resumed).payment_request == requests[2]
    stop.set()
    assert list(resumed) == []


def test_a_subscription_ends_when_told_to(client: LndClient) -> None:
    stop = threading.Event()
    ended = threading.Event()

    def follow() -> None:
        list(client.subscribe_invoices(0, stop=stop))
        ended.set()

    threading.Thread(target=follow, daemon=True).start()
    assert not ended.wait(0.3)
    stop.set()
    assert ended.wait(5)


def test_a_settlement_is_found_by_listing_without_any_subscription(
    sandbox_lightning: LightningProcess, client: LndClient
) -> None:
    started = datetime.now(UTC) - timedelta(seconds=2)  # noqa: TID251 - the node's clock is the machine's
    before = max((invoice.settle_index for invoice in client.list_settled_after(0)), default=0)
    requests = [added(client, secrets.token_bytes(32)) for _ in range(5)]
    for request in requests[::2]:
        sandbox_lightning.wallet.pay(request)
    found = list(client.list_settled_after(before, page=2))
    assert [invoice.payment_request for invoice in found] == requests[::2]
    assert [invoice.payment_request for invoice in client.list_settled_after(before, created_from=started)] == requests[
        ::2
    ]


def test_a_client_survives_the_death_and_return_of_its_node(own_sandbox_lightning: LightningProcess) -> None:
    sandbox = own_sandbox_lightning
    client = sandbox.lnd.client()
    preimage = secrets.token_bytes(32)
    request = added(client, preimage)
    following = client.subscribe_invoices(0, stop=threading.Event())
    broken: list[BaseException] = []

    def follow() -> None:
        try:
            next(following)
        except NodeUnavailable as error:
            broken.append(error)

    follower = threading.Thread(target=follow)
    follower.start()
    sandbox.kill()
    follower.join(5)
    assert len(broken) == 1
    with pytest.raises(NodeUnavailable):
        client.get_info()
    sandbox.start()
    sandbox.wallet.pay(request)
    settled = _once_back(client)
    assert settled == [request]
    client.close()


def _once_back(client: LndClient) -> list[str]:
    deadline = time.monotonic() + 10
    while True:
        try:
            return [invoice.payment_request for invoice in client.list_settled_after(0)]
        except NodeUnavailable:
            assert time.monotonic() < deadline


def _ask_from_child(client: LndClient, answers: Connection) -> None:
    answers.send((os.getpid(), client.get_info().alias))
    answers.close()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python 3.12 and later warn of the fork itself
def test_a_client_used_before_a_fork_opens_its_own_channel_after_it(client: LndClient) -> None:
    assert client.get_info().alias == "sandbox-lnd"
    here, there = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=_ask_from_child, args=(client, there))
    child.start()
    assert here.poll(15)
    assert here.recv() == (child.pid, "sandbox-lnd")
    child.join(10)
    assert child.exitcode == 0
    assert client.get_info().alias == "sandbox-lnd"


def test_importing_the_stubs_touches_neither_environment_nor_abandoned_code() -> None:
    program = (
        "import os, sys\n"
        "from shared.lightning.clients import lnd, stubs\n"
        "assert 'GRPC_SSL_CIPHER_SUITES' not in os.environ\n"
        "assert not {'aiogrpc', 'lndgrpc.client'} & set(sys.modules)\n"
    )
    clean = {name: value for name, value in os.environ.items() if name != "GRPC_SSL_CIPHER_SUITES"}
    subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=ROOT, env=clean, check=True, timeout=30)
