"""lnd's REST, as a tester with curl meets it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator

import httpx
import pytest
from lightning_process import LightningProcess


@pytest.fixture
def lnd(sandbox_lightning: LightningProcess) -> Iterator[httpx.Client]:
    with sandbox_lightning.lnd.rest() as client:
        yield client


@pytest.fixture
def wallet(sandbox_lightning: LightningProcess) -> Iterator[httpx.Client]:
    with sandbox_lightning.wallet.rest() as client:
        yield client


def test_an_invoice_is_made_paid_and_found_over_rest(lnd: httpx.Client, wallet: httpx.Client) -> None:
    added = lnd.post("/v1/invoices", json={"value": "250", "memo": "rest"}).json()
    payment_hash = base64.b64decode(added["r_hash"])
    read = wallet.get(f"/v1/payreq/{added['payment_request']}").json()
    assert (read["num_satoshis"], read["payment_hash"], read["description"]) == ("250", payment_hash.hex(), "rest")
    sent = wallet.post("/v2/router/send", json={"payment_request": added["payment_request"], "timeout_seconds": 5})
    updates = [json.loads(line)["result"] for line in sent.text.splitlines()]
    assert [update["status"] for update in updates] == ["IN_FLIGHT", "SUCCEEDED"]
    assert hashlib.sha256(bytes.fromhex(updates[-1]["payment_preimage"])).digest() == payment_hash
    assert updates[-1]["payment_hash"] == payment_hash.hex()
    assert updates[-1]["fee_sat"] == "0"
    invoice = lnd.get(f"/v1/invoice/{payment_hash.hex()}").json()
    assert (invoice["state"], invoice["amt_paid_msat"], invoice["r_hash"]) == ("SETTLED", "250000", added["r_hash"])
    tracked = wallet.get(f"/v2/router/track/{base64.urlsafe_b64encode(payment_hash).decode()}")
    assert json.loads(tracked.text)["result"] == updates[-1]


def test_lists_and_balances_are_lnds(lnd: httpx.Client, wallet: httpx.Client) -> None:
    made = [lnd.post("/v1/invoices", json={"value": "1"}).json()["add_index"] for _ in range(3)]
    page = lnd.get("/v1/invoices", params={"reversed": "true", "num_max_invoices": "2"}).json()
    assert [invoice["add_index"] for invoice in page["invoices"]] == made[-2:]
    assert (page["first_index_offset"], page["last_index_offset"]) == (made[-2], made[-1])
    assert lnd.get("/v1/getinfo").json()["chains"] == [{"chain": "bitcoin", "network": "regtest"}]
    balance = wallet.get("/v1/balance/channels").json()
    assert int(balance["local_balance"]["msat"]) // 1000 == int(balance["local_balance"]["sat"])
    assert "payments" in wallet.get("/v1/payments", params={"include_incomplete": "true"}).json()


def test_refusals_carry_lnds_codes(
    sandbox_lightning: LightningProcess, lnd: httpx.Client, wallet: httpx.Client
) -> None:
    missing = lnd.get(f"/v1/invoice/{'00' * 32}")
    assert (missing.status_code, missing.json()["code"]) == (404, 5)
    assert missing.json()["message"] == "unable to locate invoice"
    bare = lnd.get("/v1/getinfo", headers={"Grpc-Metadata-macaroon": sandbox_lightning.ready["wallet"]["macaroon"]})
    assert (bare.status_code, bare.json()["code"]) == (500, 2)
    assert "permission denied" in bare.json()["message"]
    own = wallet.post("/v1/invoices", json={"value": "1"}).json()["payment_request"]
    refused = wallet.post("/v2/router/send", json={"payment_request": own})
    assert json.loads(refused.text)["error"]["message"] == "self-payments not allowed"
    assert lnd.post("/v1/invoices", content=b"{").status_code == 400
    assert lnd.post("/v1/invoices", content=b"[]").status_code == 400
    assert lnd.get("/v1/nothing").status_code == 404


def test_faults_reach_rest_too(sandbox_lightning: LightningProcess, lnd: httpx.Client, wallet: httpx.Client) -> None:
    sandbox_lightning.fault("wallet", "SendPaymentV2", "drop_after_settle")
    bolt11 = lnd.post("/v1/invoices", json={"value": "9"}).json()["payment_request"]
    sent = wallet.post("/v2/router/send", json={"payment_request": bolt11})
    assert [next(iter(json.loads(line))) for line in sent.text.splitlines()] == ["result", "error"]
    sandbox_lightning.fault("lnd", "GetInfo", "unavailable")
    assert lnd.get("/v1/getinfo").status_code == 503
