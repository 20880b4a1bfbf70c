"""What an operator is told of sessions: figures that are those of the rows, and damage that the doctor finds."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from cli import records
from cli.findings import Level
from shared.bootstrap import Container
from shared.kernel.owner import Owner
from shared.ledger import service as ledger
from tests.integration.watch.conftest import Vandal
from tests.integration.watch.test_metrics import client, scrape, value  # noqa: F401 - a fixture is found by its name

SESSION = Owner("session", 1)
A_SESSION = """
INSERT INTO sessions (public_id, address_hash, deposit_msat, state, activated_at, expires_at)
VALUES ('ses_1', '\\x00', 100000, 'active', now(), now() + interval '1 day')
"""
A_REQUEST = """
INSERT INTO session_requests (public_id, session_id, request, reserved_msat, btc_price_usd, price_source, margin_pct, created_at)
VALUES ('req_1', 1, 'Hi.', 40000, 100000, 'fixed', 40, now() - interval '100 s')
"""


@pytest.fixture(autouse=True)
def busy(container: Container, vandal: Vandal) -> None:
    """A session of 100 sats with a running request that may cost 40."""
    vandal.run(A_SESSION)
    vandal.run(A_REQUEST)
    with container.database.transaction() as tx:
        ledger.receive(tx, SESSION, ref="a hash", amount_msat=100_000)
        assert ledger.reserve(tx, SESSION, ref="request:1", amount_msat=40_000, life_s=300)


def faults(container: Container) -> list[str]:
    found = records.books(container)
    return [finding.detail for finding in found if finding.level is not Level.OK]


def test_the_figures_are_those_of_the_rows(client: FlaskClient, vandal: Vandal) -> None:  # noqa: F811 - the fixture
    samples = scrape(client)
    assert value(samples, "lucid_sessions", state="active") == 1
    assert value(samples, "lucid_sessions", state="paused") == 0
    assert value(samples, "lucid_session_requests_running", state="evaluating") == 1
    assert 100 <= value(samples, "lucid_session_request_age_seconds") < 120
    assert (value(samples, "lucid_reservations_open"), value(samples, "lucid_reservations_open_msat")) == (1, 40_000)
    assert value(samples, "lucid_reservation_overdue_seconds") == value(samples, "lucid_session_overdue_seconds") == 0
    vandal.run("UPDATE sessions SET expires_at = now() - interval '1 hour'")
    assert value(scrape(client), "lucid_session_overdue_seconds") == 0, "something runs in it"
    vandal.run("UPDATE reservations SET state = 'settled', ended_at = now()")
    assert value(scrape(client), "lucid_session_overdue_seconds") >= 3600


def test_a_session_that_runs_is_in_order(container: Container) -> None:
    assert faults(container) == []


def test_a_reservation_above_the_balance_is_found(container: Container, vandal: Vandal) -> None:
    vandal.run("UPDATE reservations SET amount_msat = 100001")
    assert faults(container) == ["of 1 owners more is reserved than they have"]


def test_a_reservation_that_nobody_ends_is_named(container: Container, vandal: Vandal) -> None:
    vandal.run("UPDATE reservations SET expires_at = now() - interval '1 hour'")
    assert faults(container) == ["a reservation should have ended 60 min ago"]


def test_an_ended_session_that_holds_money_is_found(container: Container, vandal: Vandal) -> None:
    vandal.run("UPDATE sessions SET state = 'expired', ended_at = now()")
    (said,) = faults(container)
    assert said.startswith("1 ended sessions hold money")
    assert "sessions.id 1" in said
