"""`/metrics` on a database of the test's own: who gets in, and whether the figures are those of the rows."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from shared.agent.gauges import count_model_call
from shared.bootstrap import Container, Role, build
from shared.kernel.owner import Owner
from shared.ledger import service as ledger
from shared.ledger.model import DebtReason
from shared.work.model import StepRef
from shared.work.service import Work
from tests.integration.watch.conftest import AN_OPEN_PAYOUT, NOWHERE, TOKEN, Vandal, settings_on
from tests.integration.work.notary import Notary
from web.app import create_app

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def client(container: Container) -> FlaskClient:
    return create_app(container).test_client()


def samples_of(text: str) -> Samples:
    families = text_string_to_metric_families(text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def scrape(client: FlaskClient) -> Samples:
    answer = client.get("/metrics", headers=BEARER)
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=")
    return samples_of(answer.get_data(as_text=True))


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": TOKEN},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer scrape-mE"},
        {"Authorization": "Bearer é"},
    ],
    ids=["nothing", "no scheme", "an empty token", "another token", "no ascii"],
)
def test_without_the_token_nobody_gets_in(client: FlaskClient, headers: dict[str, str]) -> None:
    answer = client.get("/metrics", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.get_json()["error_code"] == "UNAUTHORIZED"


@pytest.mark.parametrize("sent", ["", "Bearer ", "Bearer"])
def test_where_no_token_is_set_the_door_is_shut(container: Container, sent: str) -> None:
    object.__setattr__(container.settings, "metrics_token", "")
    assert create_app(container).test_client().get("/metrics", headers={"Authorization": sent}).status_code == 401


def test_a_new_database_has_every_figure_and_all_are_zero(client: FlaskClient) -> None:
    samples = scrape(client)
    assert value(samples, "lucid_database_up") == 1
    assert value(samples, "lucid_ledger_imbalance_msat") == 0
    assert value(samples, "lucid_outbox_rows", when="due") == 0
    assert value(samples, "lucid_debts_open_msat", reason="unused") == 0
    assert value(samples, "lucid_oldest_step_seconds", queue="llm", state="running") == 0
    assert value(samples, "lucid_invoices_open", purpose="eval") == 0


def test_the_figures_are_those_of_the_rows(
    client: FlaskClient, container: Container, work: Work, notary: Notary, vandal: Vandal
) -> None:
    with container.database.transaction() as tx:
        for row_id in (1, 2):
            work.start(tx, StepRef("job", row_id, "evaluate"))
        ledger.receive(tx, Owner("job", 1), ref="a hash", amount_msat=10_000)
        ledger.owe_back(tx, Owner("job", 1), DebtReason.LATE, ref="x", amount_msat=10_000)
    notary.issue(3)
    notary.log().integrate()
    notary.issue(2)
    vandal.run("UPDATE steps SET not_before = now() - interval '100 s' WHERE owner_id = 1")
    vandal.run("UPDATE steps SET state = 'quarantined', ended_at = now() WHERE owner_id = 2")
    vandal.run("UPDATE outbox SET available_at = now() - interval '50 s' WHERE topic = 'job.evaluate'")
    samples = scrape(client)
    assert value(samples, "lucid_steps", queue="llm", step="job.evaluate", state="queued") == 1
    assert value(samples, "lucid_steps_quarantined") == 1
    assert 100 <= value(samples, "lucid_oldest_step_seconds", queue="llm", state="queued") < 120
    assert 50 <= value(samples, "lucid_outbox_age_seconds") < 70
    assert value(samples, "lucid_debts_open", reason="late") == 1
    assert value(samples, "lucid_debts_open_msat", reason="late") == 10_000
    assert value(samples, "lucid_ledger_account_msat", account="debts_payable") == -10_000
    assert (value(samples, "lucid_log_size"), value(samples, "lucid_receipts_unintegrated")) == (3, 2)


def test_payouts_are_counted_by_state_and_the_oldest_open_one_has_its_age(client: FlaskClient, vandal: Vandal) -> None:
    assert value(scrape(client), "lucid_payout_open_seconds") == 0
    vandal.run(AN_OPEN_PAYOUT)
    vandal.run("UPDATE payouts SET needs_review = true, created_at = now() - interval '100 s'")
    samples = scrape(client)
    assert value(samples, "lucid_payouts", state="unknown") == 1
    assert value(samples, "lucid_payouts", state="paid") == 0
    assert 100 <= value(samples, "lucid_payout_open_seconds") < 120
    assert value(samples, "lucid_payouts_needing_review") == 1
    assert value(samples, "lucid_payouts_held_after_restore") == 0
    vandal.run("UPDATE database_identity SET database_oid = database_oid + 1")
    assert value(scrape(client), "lucid_payouts_held_after_restore") == 1


def test_a_removed_posting_shows_as_an_imbalance(client: FlaskClient, container: Container, vandal: Vandal) -> None:
    with container.database.transaction() as tx:
        ledger.receive(tx, Owner("job", 1), ref="a hash", amount_msat=10_000)
    vandal.run("DELETE FROM postings WHERE account = 'customer'")
    assert value(scrape(client), "lucid_ledger_imbalance_msat") == 10_000


def test_a_models_calls_are_a_histogram_and_counters(client: FlaskClient, container: Container) -> None:
    with container.database.transaction() as tx:
        for latency_ms in (200, 250, 251, 999_000):
            count_model_call(tx, model="small", outcome="ok", tokens_in=5, tokens_out=7, latency_ms=latency_ms)
        count_model_call(tx, model="small", outcome="TIMEOUT", tokens_in=1, tokens_out=0, latency_ms=60_000)
    samples = scrape(client)
    of = {"model": "small", "outcome": "ok"}
    assert [
        value(samples, "lucid_model_call_seconds_bucket", **of, le=le) for le in ("0.25", "0.5", "160.0", "+Inf")
    ] == [2, 3, 3, 4]
    assert value(samples, "lucid_model_call_seconds_count", **of) == 4
    assert value(samples, "lucid_model_call_seconds_sum", **of) == pytest.approx(999.701)
    assert value(samples, "lucid_model_tokens_total", **of, direction="out") == 28
    assert value(samples, "lucid_model_call_seconds_count", model="small", outcome="TIMEOUT") == 1


def test_requests_are_counted_by_rule_and_never_by_address(client: FlaskClient) -> None:
    public_id = f"job_{'ab' * 16}"
    assert client.get(f"/api/jobs/{public_id}").status_code == 404
    assert client.get("/nowhere/at/all").status_code == 404
    assert client.open("/health/live", method="BREW").status_code == 405
    text = client.get("/metrics", headers=BEARER).get_data(as_text=True)
    assert public_id not in text
    assert "BREW" not in text
    samples = samples_of(text)
    assert value(samples, "lucid_http_requests_total", route="/api/jobs/<id>", method="GET", status="404") == 1
    assert value(samples, "lucid_http_requests_total", route="(none)", method="GET", status="404") == 1
    assert value(samples, "lucid_http_requests_total", route="(method)", method="?", status="405") == 1
    assert value(samples, "lucid_http_request_seconds_count", route="/api/jobs/<id>", method="GET") == 1


def test_a_database_that_is_away_is_a_figure_and_no_failed_scrape() -> None:
    container = build(settings_on(f"postgresql://lucid@{NOWHERE}/lucid"), Role.WEB)
    try:
        samples = scrape(create_app(container).test_client())
    finally:
        container.database.close()
    assert value(samples, "lucid_database_up") == 0
    assert not any(name.startswith("lucid_ledger") for name, _ in samples)
