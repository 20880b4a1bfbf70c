"""What an operator is told of runs and keys: figures that are those of the rows, and damage that the doctor finds."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from cli import records
from cli.findings import Level
from shared.access.model import Mode, Scope, Tier
from shared.bootstrap import Container
from tests.integration.watch.conftest import Vandal
from tests.integration.watch.test_metrics import client, scrape, value  # noqa: F401 - a fixture is found by its name

RUNS = """
INSERT INTO runs (run_id, tenant, mode, surface, state, streamed, detached, plan, policy_hash, model_passport_id, model_requested,
                  request_id, input_salt, input_commitment, created_at, ended_at, tokens_in, tokens_out, finish_reason)
SELECT 'run_' || state, 'a tenant', 'live', 'inference', state, false, false, '{}', sha256(''), 'm', 'm', 'r', sha256(''), sha256(''),
       now() - interval '100 s', ended_at, 1, 1, 'stop'
  FROM (VALUES ('running', NULL), ('complete', now())) AS made (state, ended_at)
"""
A_STEP = """
INSERT INTO steps (owner_kind, owner_id, name, state, lease_until)
SELECT 'run', id, 'infer', 'running', now() + interval '1 minute' FROM runs WHERE state = 'running'
"""
USAGE = """
INSERT INTO usage (owner_kind, owner_id, tenant, mode, route, outcome, tokens_in, tokens_out, usage_reported)
SELECT 'run', id, tenant, mode, '/v1/run/inference', 'complete', 1, 1, true FROM runs WHERE ended_at IS NOT NULL
"""
RECEIPT = """
INSERT INTO receipts (receipt_id, owner_kind, owner_id, kind, tenant, tenant_seq, body, receipt_hash, signature, signer_kid, issued_at)
SELECT run_id, 'run', id, 'inference', 't', 1, '', sha256('r'), sha512('s'), 'k', now() FROM runs WHERE ended_at IS NOT NULL
"""


@pytest.fixture(autouse=True)
def busy(vandal: Vandal) -> None:
    """A run at work and one that has ended, with all that belongs to them."""
    for statement in (RUNS, A_STEP, USAGE, RECEIPT):
        vandal.run(statement)


def faults(container: Container) -> list[str]:
    return [found.detail for found in records.runs(container, patience_s=0) if found.level is Level.FAULT]


def test_the_figures_are_those_of_the_rows(client: FlaskClient, container: Container) -> None:  # noqa: F811 - the fixture
    keys = [container.api_keys.create(mode=Mode.TEST, tier=Tier.PRO, scopes=frozenset({Scope.ADMIN})) for _ in range(2)]
    container.api_keys.revoke(keys[0].record.key_id)
    samples = scrape(client)
    assert value(samples, "lucid_runs", state="running") == 1
    assert value(samples, "lucid_runs", state="queued") == value(samples, "lucid_run_age_seconds", state="queued") == 0
    assert 100 <= value(samples, "lucid_run_age_seconds", state="running") < 120
    assert value(samples, "lucid_api_keys", mode="test", tier="pro") == 1
    assert value(samples, "lucid_api_keys", mode="live", tier="free") == 0
    assert value(samples, "lucid_nodes", status="healthy", simulated="false") == 0


def test_runs_in_order_are_no_fault(container: Container) -> None:
    assert faults(container) == []


DAMAGE = {
    "no step is left": ("DELETE FROM steps WHERE owner_kind = 'run'", "1 runs have not ended"),
    "its step was given up": (
        "UPDATE steps SET state = 'quarantined', lease_until = NULL, ended_at = now() WHERE owner_kind = 'run'",
        "no step is left",
    ),
    "its time is up": (
        "UPDATE runs SET deadline_at = now() - interval '2 minutes' WHERE state = 'running'",
        "the time of a run was up",
    ),
    "no usage": ("DELETE FROM usage", "have no usage row"),
    "no receipt": ("DELETE FROM receipts", "have no receipt"),
}


@pytest.mark.parametrize(("statement", "said"), DAMAGE.values(), ids=DAMAGE.keys())
def test_what_should_never_be_is_found(container: Container, vandal: Vandal, statement: str, said: str) -> None:
    vandal.run(statement)
    (found,) = faults(container)
    assert said in found


def test_a_sealed_input_that_outlived_its_run_is_found(container: Container, vandal: Vandal) -> None:
    vandal.run("UPDATE runs SET sealed_input = '' WHERE state = 'running'")
    assert faults(container) == []
    with pytest.raises(Exception, match="runs_seal_ends_with_the_run"):
        vandal.run("UPDATE runs SET sealed_input = '' WHERE state = 'complete'")
