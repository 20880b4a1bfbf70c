"""The sandbox nodes as a process of their own, and raw lnd stubs to talk to them."""

from __future__ import annotations

import json
import os
import queue
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx

from shared.lightning.clients import stubs
from shared.lightning.clients.lnd import LndClient

ROOT = Path(__file__).resolve().parents[3]
TOTAL_MSAT = 20_000_000_000


class RawNode:
    """One node through the compiled stubs, with any macaroon."""

    def __init__(self, ready: dict[str, Any]) -> None:
        self.ready = ready
        self.cert_pem = Path(ready["tls_cert"]).read_text(encoding="ascii")
        options = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 300)]
        self.channel = grpc.secure_channel(
            ready["grpc"], grpc.ssl_channel_credentials(self.cert_pem.encode()), options=options
        )
        self.lightning = stubs.lnrpc_grpc.LightningStub(self.channel)
        self.router = stubs.routerrpc_grpc.RouterStub(self.channel)
        self.invoices = stubs.invoicesrpc_grpc.InvoicesStub(self.channel)

    def auth(self, macaroon: str = "macaroon") -> dict[str, Any]:
        return {"metadata": (("macaroon", self.ready[macaroon]),), "timeout": 10}

    def client(self, macaroon: str = "macaroon_invoices", timeout_s: float = 5.0) -> LndClient:
        return LndClient(self.ready["grpc"], self.cert_pem, self.ready[macaroon], timeout_s=timeout_s)

    def rest(self) -> httpx.Client:
        trust = ssl.create_default_context(cadata=self.cert_pem)
        headers = {"Grpc-Metadata-macaroon": self.ready["macaroon"]}
        return httpx.Client(base_url=self.ready["rest"], verify=trust, headers=headers, timeout=10)

    def invoice(self, sats: int = 1000, **fields: Any) -> Any:
        """Make an invoice and return it as the node then shows it."""
        added = self.lightning.AddInvoice(stubs.lnrpc.Invoice(value=sats, **fields), **self.auth())
        return self.look_up(added.r_hash)

    def look_up(self, payment_hash: bytes) -> Any:
        return self.lightning.LookupInvoice(stubs.lnrpc.PaymentHash(r_hash=payment_hash), **self.auth())

    def send(self, payment_request: str, **fields: Any) -> Any:
        asked = stubs.routerrpc.SendPaymentRequest(payment_request=payment_request, timeout_seconds=5, **fields)
        return self.router.SendPaymentV2(asked, **self.auth())

    def track(self, payment_hash: bytes) -> Any:
        return self.router.TrackPaymentV2(stubs.routerrpc.TrackPaymentRequest(payment_hash=payment_hash), **self.auth())

    def pay(self, payment_request: str, **fields: Any) -> Any:
        """Pay and return the last update."""
        return list(self.send(payment_request, **fields))[-1]

    def subscribe(self, **indexes: int) -> Following:
        asked = stubs.lnrpc.InvoiceSubscription(**indexes)
        return Following(self.lightning.SubscribeInvoices(asked, metadata=self.auth()["metadata"]))

    def balance_msat(self) -> int:
        answer = self.lightning.ChannelBalance(stubs.lnrpc.ChannelBalanceRequest(), **self.auth())
        return int(answer.local_balance.msat)


class Following:
    """A stream read by a thread, so that a test can wait for its next message, or for its end."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self._seen: queue.Queue[Any] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def next(self, timeout_s: float = 5.0) -> Any:
        return self._seen.get(timeout=timeout_s)

    def is_quiet(self, for_s: float = 0.3) -> bool:
        try:
            self._seen.get(timeout=for_s)
        except queue.Empty:
            return True
        return False

    def close(self) -> None:
        self.call.cancel()

    def _read(self) -> None:
        try:
            for message in self.call:
                self._seen.put(message)
            self._seen.put(None)
        except grpc.RpcError as error:
            self._seen.put(error)


class LightningProcess:
    """A running sandbox. `kill` and `start` again keep its home."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.start()

    def start(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "devstack.lightning", "--home", str(self.home), *arguments]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.ready: dict[str, Any] = json.loads(self.process.stdout.readline())
        self.lnd = RawNode(self.ready["lnd"])
        self.wallet = RawNode(self.ready["wallet"])
        self.control = httpx.Client(base_url=self.ready["control"], timeout=10)

    def kill(self) -> None:
        """End it as a power cut would."""
        os.kill(self.process.pid, signal.SIGKILL)
        self._let_go()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self._let_go()

    def command(self, path: str, **body: Any) -> dict[str, Any]:
        answer = self.control.post(path, json=body)
        assert answer.status_code == 200, answer.text
        described: dict[str, Any] = answer.json()
        return described

    def fault(self, node: str, method: str, fault: str, **more: Any) -> None:
        self.command("/faults", node=node, method=method, fault=fault, **more)

    def health(self) -> dict[str, Any]:
        health: dict[str, Any] = self.control.get("/health").json()
        return health

    def _let_go(self) -> int:
        self.control.close()
        for node in (self.lnd, self.wallet):
            node.channel.close()
        try:
            return self.process.wait(timeout=10)
        finally:
            self.process.kill()
            assert self.process.stdout is not None
            self.process.stdout.close()


def eventually(happened: Callable[[], bool], *, within_s: float = 5.0) -> bool:
    """Look again until it is so: for what no stream announces."""
    pause = threading.Event()
    deadline = time.monotonic() + within_s
    while not happened():
        if time.monotonic() > deadline:
            return False
        pause.wait(0.05)
    return True


def refusal(attempt: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    """Return the status and text with which a call fails."""
    try:
        answer = attempt()
        if isinstance(answer, Iterator):
            list(answer)
    except grpc.RpcError as error:
        call: Any = error
        return call.code(), call.details()
    raise AssertionError("the call did not fail")
