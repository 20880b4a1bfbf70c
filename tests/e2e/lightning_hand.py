"""The tester's hand on the sandbox nodes: the control plane, and the merchant's own REST."""

from __future__ import annotations

import base64
import ssl
from typing import Any

import httpx


class LightningHand:
    """Makes faults and reads what the merchant's node itself says. `endpoints` is the stack's map."""

    def __init__(self, endpoints: dict[str, Any]) -> None:
        node = endpoints["lnd"]
        self._control = httpx.Client(base_url=endpoints["lightning_control"], timeout=10, trust_env=False)
        self._node = httpx.Client(
            base_url=node["rest"],
            verify=ssl.create_default_context(cafile=node["tls_cert"]),
            headers={"Grpc-Metadata-macaroon": node["macaroon"]},
            timeout=10,
            limits=httpx.Limits(max_keepalive_connections=0),  # the node may be taken away between two calls
            trust_env=False,
        )

    def close(self) -> None:
        """Close both connections."""
        self._control.close()
        self._node.close()

    def fault(self, method: str, fault: str, **more: Any) -> None:
        """Have the merchant's node misbehave."""
        self._post("/faults", node="lnd", method=method, fault=fault, **more)

    def heal(self) -> None:
        """Forget every fault and have the merchant's node up."""
        self._control.delete("/faults").raise_for_status()
        self._post("/down", node="lnd", down=False)

    def down(self) -> None:
        """Take the merchant's node away."""
        self._post("/down", node="lnd", down=True)

    def settle_late(self, payment_hash: str) -> None:
        """Settle an expired or cancelled invoice after all."""
        self._post("/settle-late", payment_hash=payment_hash)

    def release(self, payment_hash: str) -> None:
        """Let a payment that is stuck in flight arrive."""
        self._post("/release", payment_hash=payment_hash)

    def overpay(self, payment_request: str, amount_msat: int) -> None:
        """Pay more than an invoice asks for."""
        self._post("/overpay", payment_request=payment_request, amount_msat=amount_msat)

    def invoices(self) -> list[dict[str, Any]]:
        """Return every invoice the merchant's node has."""
        answer = self._node.get("/v1/invoices", params={"num_max_invoices": "10000"})
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()["invoices"]
        return found

    def invoice(self, payment_hash: str) -> dict[str, Any] | None:
        """Return one invoice as the merchant's node has it; None where it has none of this hash."""
        wanted = base64.b64encode(bytes.fromhex(payment_hash)).decode()
        return next((invoice for invoice in self.invoices() if invoice["r_hash"] == wanted), None)

    def received_msat(self) -> int:
        """Return what the merchant's settled invoices brought in."""
        return sum(int(invoice["amt_paid_msat"]) for invoice in self.invoices() if invoice["state"] == "SETTLED")

    def sent_msat(self) -> int:
        """Return what the merchant's payments took out of it, fees included."""
        answer = self._node.get("/v1/payments", params={"max_payments": "10000"})
        answer.raise_for_status()
        paid = [payment for payment in answer.json()["payments"] if payment["status"] == "SUCCEEDED"]
        return sum(int(payment["value_msat"]) + int(payment["fee_msat"]) for payment in paid)

    def _post(self, path: str, **body: Any) -> None:
        answer = self._control.post(path, json=body)
        assert answer.status_code == httpx.codes.OK, answer.text
