"""What a power cut leaves: everything that was answered for, at the same addresses."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import threading
from typing import Any

import grpc
from lightning_process import ROOT, TOTAL_MSAT, LightningProcess, RawNode

from shared.lightning.clients import stubs

P = stubs.lnrpc.Payment


def test_a_killed_sandbox_comes_back_the_same(own_sandbox_lightning: LightningProcess) -> None:
    sandbox = own_sandbox_lightning
    first_ready = sandbox.ready
    assert json.loads((sandbox.home / "ready.json").read_text()) == first_ready
    assert stat.S_IMODE((sandbox.home / "ready.json").stat().st_mode) == 0o600
    paid, open_still = sandbox.lnd.invoice(10), sandbox.lnd.invoice(11)
    sandbox.wallet.pay(paid.payment_request)
    balance = sandbox.wallet.balance_msat()
    sandbox.kill()
    sandbox.start()
    assert sandbox.ready == first_ready
    assert sandbox.wallet.balance_msat() == balance
    assert sandbox.lnd.look_up(paid.r_hash).state == stubs.lnrpc.Invoice.SETTLED
    assert sandbox.lnd.look_up(open_still.r_hash) == open_still
    assert [update.status for update in sandbox.wallet.track(paid.r_hash)] == [P.SUCCEEDED]


def test_settlements_are_replayed_after_a_kill(own_sandbox_lightning: LightningProcess) -> None:
    sandbox = own_sandbox_lightning
    made = [sandbox.lnd.invoice(sats) for sats in (1, 2, 3)]
    for invoice in made:
        sandbox.wallet.pay(invoice.payment_request)
    sandbox.kill()
    sandbox.start()
    stream = sandbox.lnd.subscribe(settle_index=1)
    assert [stream.next().r_hash for _ in range(2)] == [made[1].r_hash, made[2].r_hash]
    after = sandbox.lnd.invoice(4)
    assert after.add_index == made[-1].add_index + 1
    assert stream.next().state == stubs.lnrpc.Invoice.OPEN
    sandbox.wallet.pay(after.payment_request)
    settled = stream.next()
    assert (settled.r_hash, settled.settle_index) == (after.r_hash, 4)
    stream.close()


def test_a_payment_in_flight_is_still_in_flight_after_a_kill(own_sandbox_lightning: LightningProcess) -> None:
    sandbox = own_sandbox_lightning
    invoice = sandbox.lnd.invoice(10)
    sandbox.fault("wallet", "SendPaymentV2", "stuck_in_flight")
    assert next(sandbox.wallet.send(invoice.payment_request)).status == P.IN_FLIGHT
    sandbox.kill()
    sandbox.start()
    tracking = sandbox.wallet.track(invoice.r_hash)
    assert next(tracking).status == P.IN_FLIGHT
    sandbox.command("/release", payment_hash=invoice.r_hash.hex())
    assert [update.status for update in tracking] == [P.SUCCEEDED]


def test_a_kill_amid_payments_leaves_each_one_whole_or_undone(own_sandbox_lightning: LightningProcess) -> None:
    sandbox = own_sandbox_lightning
    made = [sandbox.lnd.invoice(100 + number) for number in range(60)]
    answered: list[bytes] = []
    some_paid = threading.Event()

    def pay(wallet: RawNode, mine: list[Any]) -> None:
        for invoice in mine:
            try:
                wallet.pay(invoice.payment_request)
            except (grpc.RpcError, ValueError):
                return
            answered.append(invoice.r_hash)
            some_paid.set()

    payers = [threading.Thread(target=pay, args=(sandbox.wallet, made[start::3])) for start in range(3)]
    for payer in payers:
        payer.start()
    assert some_paid.wait(10)
    sandbox.kill()
    for payer in payers:
        payer.join(10)
    sandbox.start()
    settled = {
        invoice.r_hash for invoice in made if sandbox.lnd.look_up(invoice.r_hash).state == stubs.lnrpc.Invoice.SETTLED
    }
    asked = stubs.lnrpc.ListPaymentsRequest(include_incomplete=True)
    listed = sandbox.wallet.lightning.ListPayments(asked, **sandbox.wallet.auth()).payments
    assert {bytes.fromhex(payment.payment_hash) for payment in listed} == settled
    assert {payment.status for payment in listed} == {P.SUCCEEDED}
    assert set(answered) <= settled
    assert sandbox.lnd.balance_msat() == TOTAL_MSAT // 2 + sum(payment.value_msat for payment in listed)
    assert sandbox.health()["total_msat"] == TOTAL_MSAT


def test_a_home_is_used_once_at_a_time(sandbox_lightning: LightningProcess) -> None:
    command = [sys.executable, "-m", "devstack.lightning", "--home", str(sandbox_lightning.home)]
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert second.returncode == 1
    assert "another sandbox runs" in second.stderr
    assert second.stdout == ""


def test_a_wanted_port_is_used(own_sandbox_lightning: LightningProcess) -> None:
    sandbox = own_sandbox_lightning
    kept = sandbox.ready["lnd"]["grpc"].rpartition(":")[2]
    assert sandbox.stop() == 0
    assert not (sandbox.home / "ready.json").exists()
    sandbox.start("--wallet-grpc", kept, "--lnd-grpc", sandbox.ready["wallet"]["grpc"].rpartition(":")[2])
    assert sandbox.ready["wallet"]["grpc"].endswith(f":{kept}")
    answer = sandbox.wallet.lightning.GetInfo(stubs.lnrpc.GetInfoRequest(), **sandbox.wallet.auth())
    assert answer.alias == "sandbox-wallet"
