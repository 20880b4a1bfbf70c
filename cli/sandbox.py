"""`lucid sandbox`: the customer's wallet of the embedded stack, over its lnd REST API. Always prints JSON."""

from __future__ import annotations

import base64
import json
import sys
from typing import Any

import click
import httpx

from cli.output import home_endpoints

PAYMENT_TIMEOUT_S = 60


class Wallet:
    """The sandbox customer. `node` is its entry of `endpoints.json`."""

    def __init__(self, node: dict[str, Any]) -> None:
        import ssl

        self._http = httpx.Client(
            base_url=node["rest"],
            verify=ssl.create_default_context(cafile=node["tls_cert"]),
            headers={"Grpc-Metadata-macaroon": node["macaroon"]},
            timeout=PAYMENT_TIMEOUT_S + 10,
            trust_env=False,
        )

    def pay(self, payment_request: str) -> dict[str, str]:
        """Pay an invoice; return `payment_hash` and `preimage`. Raises `RuntimeError` where the payment fails."""
        body = {"payment_request": payment_request, "timeout_seconds": PAYMENT_TIMEOUT_S, "fee_limit_sat": "100"}
        answer = self._http.post("/v2/router/send", json=body)
        last = json.loads(answer.text.strip().splitlines()[-1])
        payment = last.get("result", {})
        if payment.get("status") != "SUCCEEDED":
            fault = last.get("error", {}).get("message") or last.get("message") or payment.get("failure_reason")
            raise RuntimeError(f"the payment failed: {fault}")
        return {"payment_hash": payment["payment_hash"], "preimage": payment["payment_preimage"]}

    def invoice(self, sats: int) -> dict[str, str]:
        """Ask for `sats`; return `payment_request` and `payment_hash`."""
        answer = self._http.post("/v1/invoices", json={"value": str(sats), "memo": "refund"})
        answer.raise_for_status()
        made = answer.json()
        return {
            "payment_request": made["payment_request"],
            "payment_hash": base64.b64decode(made["r_hash"]).hex(),
        }

    def close(self) -> None:
        """Give back the connection."""
        self._http.close()

    def balance_sats(self) -> int:
        """Return what the wallet can spend."""
        answer = self._http.get("/v1/balance/channels")
        answer.raise_for_status()
        return int(answer.json()["balance"])


@click.group()
def sandbox() -> None:
    """Act as the sandbox customer."""


@sandbox.command()
@click.argument("bolt11")
def pay(bolt11: str) -> None:
    """Pay a BOLT11 invoice from the wallet."""
    try:
        click.echo(json.dumps(_wallet().pay(bolt11.removeprefix("lightning:"))))
    except (RuntimeError, httpx.HTTPError) as error:
        click.echo(json.dumps({"error": str(error)}))
        sys.exit(1)


@sandbox.command()
@click.argument("sats", type=click.IntRange(min=1))
def invoice(sats: int) -> None:
    """Make an invoice of the wallet."""
    try:
        click.echo(json.dumps(_wallet().invoice(sats)))
    except httpx.HTTPError as error:
        click.echo(json.dumps({"error": str(error)}))
        sys.exit(1)


def _wallet() -> Wallet:
    node = home_endpoints().get("wallet")
    if node is None:
        click.echo(json.dumps({"error": "no embedded stack is running in this home"}))
        sys.exit(2)
    return Wallet(node)
