"""Jobs in SQL."""

from __future__ import annotations

from shared.agent.model import ENDED, Actual, Estimate, Job, JobState
from shared.db.model import Queries
from shared.db.service import Row, Tx
from shared.kernel.errors import TransitionConflict

SQL = Queries.beside(__file__)


def insert_job(
    tx: Tx, *, public_id: str, request: str, address_hash: bytes, eval_amount_msat: int, prepaid: bool
) -> Job:
    """Insert a job that awaits its evaluation fee."""
    parameters = {
        "public_id": public_id,
        "request": request,
        "address_hash": address_hash,
        "eval_amount_msat": eval_amount_msat,
        "prepaid": prepaid,
    }
    row = tx.one(SQL["insert_job"], parameters)
    assert row is not None  # noqa: S101 - INSERT … RETURNING always answers
    return _job(row)


def unpaid_of_address(tx: Tx, address_hash: bytes) -> int:
    """Return how many jobs and sessions of this address wait for a payment; others with it wait until this commits."""
    tx.all(SQL["serialize_address"], {"address_hash": address_hash})
    row = tx.one(SQL["unpaid_of_address"], {"address_hash": address_hash})
    return 0 if row is None else int(row["unpaid"])


def job_by_public_id(tx: Tx, public_id: str) -> Job | None:
    """Return the job with this public id."""
    return _maybe(tx.one(SQL["job_by_public_id"], {"public_id": public_id}))


def job(tx: Tx, job_id: int) -> Job | None:
    """Return one job."""
    return _maybe(tx.one(SQL["job"], {"id": job_id}))


def lock_job(tx: Tx, job_id: int) -> Job | None:
    """Return one job and hold its row lock until the transaction ends."""
    return _maybe(tx.one(SQL["lock_job"], {"id": job_id}))


def move_job(
    tx: Tx,
    job_id: int,
    *,
    from_state: JobState,
    to_state: JobState,
    reason: str | None = None,
    error_message: str | None = None,
) -> None:
    """Move by compare-and-set. Raises `TransitionConflict` where somebody else moved the job first."""
    parameters = {
        "id": job_id,
        "from_state": from_state,
        "to_state": to_state,
        "ends": to_state in ENDED,
        "reason": reason,
        "error_message": error_message,
    }
    if tx.run(SQL["move_job"], parameters) != 1:
        raise TransitionConflict(f"the job is no longer {from_state}")


def record_evaluation(tx: Tx, job_id: int, *, reason: str, tokens_in: int, tokens_out: int) -> None:
    """Store what the evaluation said and used."""
    parameters = {"id": job_id, "reason": reason, "tokens_in": tokens_in, "tokens_out": tokens_out}
    tx.run(SQL["record_evaluation"], parameters)


def record_estimate(tx: Tx, job_id: int, estimate: Estimate) -> None:
    """Store the quote that the work invoice asks for."""
    tx.run(
        SQL["record_estimate"],
        {
            "id": job_id,
            "cost_usd": estimate.cost_usd,
            "margin_pct": estimate.margin_pct,
            "btc_price_usd": estimate.btc_price_usd,
        },
    )


def record_work_payment(tx: Tx, job_id: int, *, paid_msat: int) -> None:
    """Store what arrived for the work."""
    tx.run(SQL["record_work_payment"], {"id": job_id, "paid_msat": paid_msat})


def record_actual(tx: Tx, job_id: int, *, result: str, actual: Actual) -> None:
    """Store the result and what it cost."""
    tx.run(
        SQL["record_actual"],
        {
            "id": job_id,
            "result": result,
            "tokens_in": actual.tokens_in,
            "tokens_out": actual.tokens_out,
            "cost_usd": actual.cost_usd,
            "charge_usd": actual.charge_usd,
            "charged_msat": actual.charged_msat,
        },
    )


def _maybe(row: Row | None) -> Job | None:
    return None if row is None else _job(row)


def _job(row: Row) -> Job:
    estimate = actual = None
    if row["estimated_cost_usd"] is not None:
        estimate = Estimate(row["estimated_cost_usd"], row["margin_pct"], row["btc_price_usd"], 0)
    if row["charged_msat"] is not None:
        actual = Actual(
            row["tokens_in"], row["tokens_out"], row["actual_cost_usd"], row["actual_charge_usd"], row["charged_msat"]
        )
    return Job(
        id=row["id"],
        public_id=row["public_id"],
        state=JobState(row["state"]),
        request=row["request"],
        eval_amount_msat=row["eval_amount_msat"],
        reason=row["reason"],
        result=row["result"],
        error_message=row["error_message"],
        eval_tokens_in=row["eval_tokens_in"],
        eval_tokens_out=row["eval_tokens_out"],
        estimate=estimate,
        paid_work_msat=row["work_amount_msat"],
        actual=actual,
        prepaid=row["prepaid"],
        created_at=row["created_at"],
        ended_at=row["ended_at"],
    )
