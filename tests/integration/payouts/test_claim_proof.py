"""An operator who demands proof of payment: a bare id claims nothing then, and the payer's two proofs do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from flask.testing import FlaskClient

from config.settings import Settings
from shared.bootstrap import Role, build
from shared.kernel.owner import Owner
from tests.integration.payouts.till import Till
from web.app import create_app

PREIMAGE = b"\x07" * 32
TOO_MUCH = 21
LET_IN = (400, "wrong_amount")
"""What a claim of too much gets from a desk that has no doubt about who claims."""


@pytest.fixture
def strict(till: Till) -> Iterator[FlaskClient]:
    """A web process that demands proof."""
    settings = Settings.load({**till.environment, "REQUIRE_CLAIM_PROOF": "true"})
    container = build(settings, Role.WEB)
    yield create_app(container).test_client()
    container.database.close()


def public_id(owner: Owner) -> str:
    return f"job_{owner.id:032x}"


def claim(client: FlaskClient, owner: Owner, invoice: str, **headers: str) -> tuple[int, str]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = client.post(f"/api/jobs/{public_id(owner)}/refund", json={"invoice": invoice}, headers=named)
    told = answer.get_json()
    return answer.status_code, told.get("code") or told["message"]


def settle_an_invoice(till: Till, owner: Owner, state: str = "settled") -> None:
    """Give the job an invoice whose preimage its payer knows."""
    is_settled = state == "settled"
    till.run(
        "INSERT INTO invoices (owner_kind, owner_id, purpose, state, preimage_salt, payment_hash, amount_msat, memo, expires_at,"
        " settled_at, paid_msat, settle_index)"
        " VALUES ('job', %(id)s, 'eval', %(state)s, sha256('salt'), %(hash)s, 10000, 'fee', now(), %(at)s, %(msat)s, %(index)s)",
        id=owner.id,
        state=state,
        hash=hashlib.sha256(PREIMAGE).digest(),
        at=datetime.now(UTC) if is_settled else None,  # noqa: TID251 - the row's own date
        msat=10_000 if is_settled else None,
        index=1 if is_settled else None,
    )


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X_Claim_Token": ""},
        {"X_Claim_Token": "0" * 64},
        {"X_Claim_Token": "é"},
        {"X_Payment_Preimage": "00" * 32},
        {"X_Payment_Preimage": "no hex"},
        {"X_Payment_Preimage": "07"},
    ],
)
def test_without_a_good_proof_nothing_is_claimed(till: Till, strict: FlaskClient, headers: dict[str, str]) -> None:
    owner = till.owe()
    settle_an_invoice(till, owner)
    assert claim(strict, owner, till.invoice(), **headers) == (401, "claim_proof_required")
    assert till.rows("SELECT id FROM payouts") == []


def test_the_claim_token_of_the_job_is_proof_and_that_of_another_is_not(till: Till, strict: FlaskClient) -> None:
    owner, other = till.owe(), till.owe()
    token = till.container.claims.token(public_id(owner))
    assert claim(strict, other, till.invoice(), X_Claim_Token=token) == (401, "claim_proof_required")
    assert claim(strict, owner, till.invoice(TOO_MUCH), X_Claim_Token=token) == LET_IN


def test_the_preimage_of_a_settled_invoice_of_the_job_is_proof(till: Till, strict: FlaskClient) -> None:
    owner, other = till.owe(), till.owe()
    settle_an_invoice(till, owner)
    assert claim(strict, other, till.invoice(), X_Payment_Preimage=PREIMAGE.hex()) == (401, "claim_proof_required")
    assert claim(strict, owner, till.invoice(TOO_MUCH), X_Payment_Preimage=PREIMAGE.hex()) == LET_IN


def test_the_preimage_of_an_invoice_that_nobody_paid_is_none(till: Till, strict: FlaskClient) -> None:
    owner = till.owe()
    settle_an_invoice(till, owner, "open")
    assert claim(strict, owner, till.invoice(), X_Payment_Preimage=PREIMAGE.hex()) == (401, "claim_proof_required")


def test_where_no_proof_is_demanded_the_bare_id_claims(till: Till) -> None:
    container = build(Settings.load({**till.environment}), Role.WEB)
    assert claim(create_app(container).test_client(), till.owe(), till.invoice(TOO_MUCH)) == LET_IN
    container.database.close()
