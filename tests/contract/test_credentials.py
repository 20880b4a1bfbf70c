"""The Authorization header in every shape: what is no good credential is 401, and nothing else comes of it. And root keys that rotate.

A sample here; the full count where LUCID_SOAK is set.
"""

from __future__ import annotations

import base64
import os
import random
import socket
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from shared.bootstrap import Container
from shared.db.service import Tx
from shared.kernel.errors import Unauthorized
from web.agent.credentials import bearer_token, credential, l402_credential

IS_SOAK = bool(os.environ.get("LUCID_SOAK"))
PARSED = 100_000 if IS_SOAK else 5_000
ASKED = 5_000 if IS_SOAK else 150
SENT = 1_000 if IS_SOAK else 60
SESSION = "ses_" + "0" * 32
ADDRESSES = (
    "/api/l402/jobs",
    "/api/l402/requests",
    "/api/l402/close",
    f"/api/sessions/{SESSION}/request",
    f"/api/sessions/{SESSION}/topup",
    f"/api/sessions/{SESSION}/close",
)
TOKEN = "AgEFbHVjaWQCAnh4AAAGIA=="
PREIMAGE = "0" * 64
MALFORMED = (
    "",
    " ",
    "L402",
    "Bearer",
    "Basic dXNlcjpwYXNz",
    TOKEN,
    f"Bearer{TOKEN}",
    f"Bearer {TOKEN} {TOKEN}",
    f"Bearer {TOKEN},Bearer {TOKEN}",
    f"Bearer Bearer {TOKEN}",
    f"Bearer {TOKEN}:{PREIMAGE}",
    f"L402 {TOKEN}",
    f"L402 {TOKEN}:",
    f"L402 :{PREIMAGE}",
    f"L402 {TOKEN}:{PREIMAGE[1:]}",
    f"L402 {TOKEN}:{PREIMAGE}0",
    f"L402 {TOKEN}:{'g' * 64}",
    f"L402 {TOKEN}:{PREIMAGE}:{PREIMAGE}",
    f"L402 L402 {TOKEN}:{PREIMAGE}",
    f"LSAT L402 {TOKEN}:{PREIMAGE}",
    f"L402 {TOKEN},{TOKEN}:{PREIMAGE}",
    f"L402 {TOKEN}:{PREIMAGE},L402 {TOKEN}:{PREIMAGE}",
    f"L402\t{TOKEN}:{PREIMAGE}",
    f"L402 {TOKEN}\x00:{PREIMAGE}",
    f"L402 {TOKEN}:{PREIMAGE}\x0b",
    f"L402 tok\xe9n:{PREIMAGE}",
    f"L402 {'A' * 4096}:{PREIMAGE}",
    f"Bearer {'A' * 5000}",
    f'L402 macaroon="{TOKEN}", preimage="{PREIMAGE}"',
)


def request_with(header: str) -> Request:
    environ = EnvironBuilder().get_environ()
    environ["HTTP_AUTHORIZATION"] = header
    return Request(environ)


def headers(seed: str) -> Iterator[str]:
    """An endless row of headers: noise, and good ones with something done to them."""
    chance = random.Random(f"{seed} {os.environ.get('LUCID_SEED', '')}")
    while True:
        scheme = chance.choice(("L402", "LSAT", "Bearer", "l402", "L402 L402", "Basic", "", "Macaroon"))
        token = base64.b64encode(chance.randbytes(chance.randrange(400))).decode()
        proof = chance.choice(
            ("", f":{chance.randbytes(32).hex()}", f":{chance.randbytes(chance.randrange(70)).hex()}")
        )
        text = f"{scheme} {token}{proof}"
        for _ in range(chance.randrange(3)):
            at = chance.randrange(len(text) + 1)
            text = text[:at] + chr(chance.randrange(256)) * chance.choice((1, 1, 2, 500)) + text[at:]
        yield text


@pytest.mark.parametrize("header", MALFORMED)
def test_a_malformed_header_is_no_credential(header: str) -> None:
    for read in (credential, l402_credential):
        with pytest.raises(Unauthorized):
            read(request_with(header))
    if header != f"Bearer {TOKEN}":
        with pytest.raises(Unauthorized):
            bearer_token(request_with(header))


@pytest.mark.parametrize("scheme", ["L402", "LSAT", "l402", "Lsat"])
def test_a_good_l402_credential_is_read_under_both_names(scheme: str) -> None:
    found = l402_credential(request_with(f" {scheme}  {TOKEN}:{'AB' * 32} "))
    assert found == (TOKEN, bytes.fromhex("ab" * 32)) == credential(request_with(f"{scheme} {TOKEN}:{'ab' * 32}"))


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_good_bearer_token_is_read(scheme: str) -> None:
    assert bearer_token(request_with(f"{scheme} {TOKEN}")) == TOKEN
    assert credential(request_with(f"{scheme} {TOKEN}")) == (TOKEN, None)


def test_no_header_whatever_is_anything_but_a_credential_or_refused() -> None:
    row = headers("parsed")
    for _ in range(PARSED):
        text = next(row)
        for read in (credential, l402_credential, bearer_token):
            with suppress(Unauthorized):
                read(request_with(text))


def test_no_header_whatever_is_answered_but_with_401(client: FlaskClient) -> None:
    row = iter([*MALFORMED, *(header for header, _ in zip(headers("asked"), range(ASKED), strict=False))])
    for number, text in enumerate(row):
        answer = client.post(
            ADDRESSES[number % len(ADDRESSES)], json={"request": "x"}, environ_overrides={"HTTP_AUTHORIZATION": text}
        )
        assert answer.status_code == 401, (ADDRESSES[number % len(ADDRESSES)], text, answer.get_data(as_text=True))
        assert answer.headers["WWW-Authenticate"]
        assert answer.get_json()["code"] == "unauthorized"


def test_no_bytes_in_the_header_are_answered_but_with_a_refusal(web_url: str) -> None:
    """Over a socket, where a control character or two headers meet the server first."""
    row = headers("sent")
    for number in range(SENT):
        text = next(row).encode("latin-1").replace(b"\r", b"").replace(b"\n", b"")
        lines = [b"Authorization: " + text] * (1 + number % 2)
        assert _status(web_url, ADDRESSES[number % len(ADDRESSES)], lines) in (400, 401)


def test_a_generation_of_root_keys_serves_its_time_and_the_next_one_s(container: Container, app: Flask) -> None:
    macaroons, now = container.macaroons, container.clock.now()

    def mint(tx: Tx) -> str:
        return macaroons.mint(tx, payment_hash=b"h" * 32, subject="session", subject_id=SESSION)

    def age(tx: Tx) -> None:
        tx.run("UPDATE macaroon_generations SET created_at = created_at - interval '1 year'")
        macaroons.rotate(tx)

    def check(tx: Tx, token: str) -> str:
        return macaroons.verify(tx, token, now=now, path="/api").subject_id

    with suppress(_TakenBack), container.database.transaction() as tx:
        first = mint(tx)
        macaroons.rotate(tx)
        assert mint(tx) == first, "nothing was due"
        age(tx)
        second = mint(tx)
        assert second != first
        assert (check(tx, first), check(tx, second)) == (SESSION, SESSION)
        age(tx)
        assert check(tx, second) == SESSION
        with pytest.raises(Unauthorized):
            check(tx, first)
        valid = tx.one("SELECT count(*) AS valid FROM macaroon_generations WHERE retired_at IS NULL")
        assert valid is not None
        assert valid["valid"] == 2
        raise _TakenBack


@pytest.mark.parametrize("own", [(), ("lucid:needs = preimage",), ("expires = 9999999999",)])
def test_a_macaroon_expires_at_the_midnight_after_two_rotations(container: Container, own: tuple[str, ...]) -> None:
    """So it is the same all day; and one that a wider expiry is handed on to is no wider than that, and valid."""
    now = container.clock.now()
    with container.database.transaction() as tx:
        token = container.macaroons.mint(
            tx, payment_hash=b"h" * 32, subject="session", subject_id=SESSION, restrictions=own
        )
        grant = container.macaroons.verify(tx, token, now=now, path="/api")
    assert grant.expires_at is not None
    if not own or "needs" in own[0]:
        ahead = grant.expires_at - now - timedelta(days=2 * container.settings.macaroon_rotation_days)
        assert timedelta(0) < ahead <= timedelta(days=1)
        assert grant.expires_at.timestamp() % 86_400 == 0


class _TakenBack(Exception):
    """Other tests share the database."""


def _status(url: str, path: str, lines: list[bytes]) -> int:
    parts = urlsplit(url)
    body = b'{"request": "x"}'
    head = [
        f"POST {path} HTTP/1.1".encode(),
        b"Host: localhost",
        b"Content-Type: application/json",
        f"Content-Length: {len(body)}".encode(),
        b"Connection: close",
        *lines,
    ]
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as connection:
        with suppress(OSError):  # it may answer before it has read all
            connection.sendall(b"\r\n".join(head) + b"\r\n\r\n" + body)
        answer = b""
        while chunk := connection.recv(65_536):
            answer += chunk
    return int(answer.split(b" ", 2)[1])
