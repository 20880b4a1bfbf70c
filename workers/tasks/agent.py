"""Doorbells of the paid agent."""

from __future__ import annotations

from workers.app import app, container


@app.task(name="job.open_eval_invoice")
def open_eval_invoice(job_id: int) -> None:
    """Ring: create the evaluation invoice."""
    container().jobs.open_eval_invoice(job_id)


@app.task(name="job.evaluate")
def evaluate(job_id: int) -> None:
    """Ring: judge the request."""
    container().evaluation.evaluate(job_id)


@app.task(name="job.open_work_invoice")
def open_work_invoice(job_id: int) -> None:
    """Ring: price the work and ask for its payment."""
    container().evaluation.open_work_invoice(job_id)


@app.task(name="job.execute")
def execute(job_id: int) -> None:
    """Ring: do the work."""
    container().execution.execute(job_id)
