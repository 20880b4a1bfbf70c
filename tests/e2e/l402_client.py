"""An L402 client written against the public specification, with the habits of the clients in the field as options.

It asks, reads the challenge, pays from the sandbox wallet and asks again with `Authorization: L402 <token>:<preimage>`.
Specification: the L402 protocol (`WWW-Authenticate: L402 version="0", token="…", invoice="…"`), and its older parameter `macaroon`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import httpx

from cli.sandbox import Wallet

_SCHEME = re.compile(r"(?:^|,\s*)(L402|LSAT)\s+", re.IGNORECASE)
_PARAMETER = re.compile(r'([A-Za-z0-9_-]+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))')


@dataclass(frozen=True)
class Asked:
    """A challenge, parsed: its parameters as they came."""

    scheme: str
    parameters: dict[str, str]

    @property
    def invoice(self) -> str:
        """The BOLT11 text to pay."""
        return self.parameters["invoice"]


@dataclass
class L402Client:
    """`reads`: under which names it looks for the token. `scheme`: what it writes before the credential."""

    api: httpx.Client
    wallet: Wallet
    reads: tuple[str, ...] = ("token", "macaroon")
    scheme: str = "L402"
    paid: list[str] = field(default_factory=list)
    credential: str | None = None

    def post(self, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
        """Ask; where payment is required, pay and ask once more. Keeps the credential for the next call."""
        answer = self.ask(path, body, **headers)
        if answer.status_code != httpx.codes.PAYMENT_REQUIRED:
            return answer
        self.pay(challenge_in(answer))
        return self.ask(path, body, **headers)

    def ask(self, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
        """Ask once, with the credential that is there."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.credential is not None:
            sent["Authorization"] = f"{self.scheme} {self.credential}"
        return self.api.post(path, json=body, headers=sent)

    def pay(self, challenge: Asked) -> None:
        """Pay the invoice and keep what that makes: the token and the preimage."""
        token = next(challenge.parameters[name] for name in self.reads if name in challenge.parameters)
        payment = self.wallet.pay(challenge.invoice)
        self.paid.append(payment["payment_hash"])
        self.credential = f"{token}:{payment['preimage']}"


def challenge_in(answer: httpx.Response) -> Asked:
    """Return the first L402 (or LSAT) challenge of an answer."""
    for line in answer.headers.get_list("WWW-Authenticate"):
        begins = _SCHEME.search(line)
        if begins is not None:
            found = {name: quoted or bare for name, quoted, bare in _PARAMETER.findall(line[begins.end() :])}
            return Asked(begins[1], found)
    raise AssertionError(f"no L402 challenge in {answer.headers}")
