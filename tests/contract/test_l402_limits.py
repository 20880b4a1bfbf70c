"""What asking without paying may cost us: each challenge is an invoice, and they are counted by address."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from flask.testing import FlaskClient

from config.settings import Settings
from devstack.supervisor import Stack
from shared.bootstrap import Role, build
from web.app import create_app

STRANGER = {"REMOTE_ADDR": "198.51.100.42"}


@pytest.fixture
def strict(stack: Stack) -> Iterator[FlaskClient]:
    """An application that allows an address two unpaid invoices."""
    container = build(replace(Settings.load(stack.environment), max_unpaid_invoices=2), Role.WEB)
    yield create_app(container).test_client()
    container.database.close()
    if container.bus._reader is None:  # one that reads ends with the process
        container.bus._client.close()


def test_challenges_count_against_the_unpaid_invoices_of_their_address(strict: FlaskClient) -> None:
    paths = ("/api/l402/jobs", "/api/l402/requests", "/api/l402/jobs", "/api/l402/requests", "/api/jobs")
    answers = [strict.post(path, json={"request": "x"}, environ_overrides=STRANGER) for path in paths]
    assert [answer.status_code for answer in answers] == [402, 402, 429, 429, 429]
    assert all("WWW-Authenticate" not in answer.headers and answer.headers["Retry-After"] for answer in answers[2:])


def test_a_bad_credential_costs_no_invoice(strict: FlaskClient) -> None:
    """It is refused before anything is made, so it cannot use up an address's invoices."""
    stranger = {"REMOTE_ADDR": "198.51.100.43"}
    for _ in range(4):
        answer = strict.post(
            "/api/l402/jobs", json={"request": "x"}, headers={"Authorization": "L402 x:y"}, environ_overrides=stranger
        )
        assert answer.status_code == 401
    assert strict.post("/api/l402/jobs", json={"request": "x"}, environ_overrides=stranger).status_code == 402
