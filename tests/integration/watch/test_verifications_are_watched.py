"""What an operator is told of verifications: figures that are those of the rows, and damage that the doctor finds."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from cli import records
from cli.findings import Level
from shared.bootstrap import Container
from tests.integration.watch.conftest import Vandal
from tests.integration.watch.test_metrics import client, scrape, value  # noqa: F401 - a fixture is found by its name

QUOTA = "INSERT INTO quotas (tenant, mode, period, forward) VALUES ('a tenant', 'live', '2026-01', 2)"
UNITS = """
INSERT INTO quota_units (tenant, mode, period, pipeline)
SELECT tenant, mode, period, 'forward' FROM quotas CROSS JOIN generate_series(1, 2)
"""
VERIFICATIONS = """
INSERT INTO verifications (request_id, pipeline, tenant, mode, model, language, subject, request_salt, request_commitment, input_salt,
                           input_commitment, state, stage, quota_unit, deadline_at, accepted_at, ended_at)
SELECT 'req_' || state, 'forward', 'a tenant', 'live', 'm', 'python', '', sha256(''), sha256(''), sha256(''), sha256(''), state, 'extract',
       made.unit, now() + interval '100 s', now() - interval '100 s', ended_at
  FROM (SELECT 'running' AS state, NULL::timestamptz AS ended_at, min(id) AS unit FROM quota_units
        UNION ALL SELECT 'complete', now(), max(id) FROM quota_units) AS made
"""
A_STEP = """
INSERT INTO steps (owner_kind, owner_id, name, state, lease_until)
SELECT pipeline, id, 'extract', 'running', now() + interval '1 minute' FROM verifications WHERE state = 'running'
"""
RECEIPT = """
INSERT INTO receipts (receipt_id, owner_kind, owner_id, kind, tenant, tenant_seq, body, receipt_hash, signature, signer_kid, issued_at)
SELECT 'r', pipeline, id, 'verification', 't', 1, '', sha256('r'), sha512('s'), 'k', now() FROM verifications WHERE ended_at IS NOT NULL
"""


@pytest.fixture(autouse=True)
def busy(vandal: Vandal) -> None:
    """A verification at work and one that is complete, with all that belongs to them."""
    for statement in (QUOTA, UNITS, VERIFICATIONS, A_STEP, RECEIPT):
        vandal.run(statement)


def faults(container: Container) -> list[str]:
    return [found.detail for found in records.verifications(container, patience_s=0) if found.level is Level.FAULT]


def test_the_figures_are_those_of_the_rows(client: FlaskClient) -> None:  # noqa: F811 - the fixture
    samples = scrape(client)
    assert (
        value(samples, "lucid_verifications", state="running"),
        value(samples, "lucid_verifications", state="queued"),
    ) == (1, 0)
    assert value(samples, "lucid_verification_age_seconds", state="queued") == 0
    assert 100 <= value(samples, "lucid_verification_age_seconds", state="running") < 120


def test_verifications_in_order_are_no_fault(container: Container) -> None:
    assert faults(container) == []


DAMAGE = {
    "no step is left": ("DELETE FROM steps WHERE owner_kind = 'forward'", "1 verifications have not ended"),
    "its step was given up": (
        "UPDATE steps SET state = 'quarantined', lease_until = NULL, ended_at = now() WHERE owner_kind = 'forward'",
        "no step is left",
    ),
    "its time is up": (
        "UPDATE verifications SET deadline_at = now() - interval '2 minutes' WHERE state = 'running'",
        "the time of a verification was up",
    ),
    "no receipt": ("DELETE FROM receipts", "have no receipt"),
}


@pytest.mark.parametrize(("statement", "said"), DAMAGE.values(), ids=DAMAGE.keys())
def test_what_should_never_be_is_found(container: Container, vandal: Vandal, statement: str, said: str) -> None:
    vandal.run(statement)
    (found,) = faults(container)
    assert said in found


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("UPDATE verifications SET quota_unit = (SELECT min(id) FROM quota_units)", "verifications_unit_once"),
        ("UPDATE verifications SET quota_unit = quota_unit + 100", "verifications_unit_taken"),
        ("UPDATE verifications SET input_salt = NULL", "verifications_input_salt_until_erased"),
    ],
)
def test_a_unit_is_held_once_and_salts_go_with_what_they_hid(
    container: Container, statement: str, constraint: str
) -> None:
    with pytest.raises(Exception, match=constraint), container.database.transaction() as tx:
        tx.run(statement)
