"""Doorbells of what is asked on a session's balance."""

from __future__ import annotations

from workers.app import app, container


@app.task(name="request.evaluate")
def evaluate(request_id: int) -> None:
    """Ring: judge a session's request."""
    container().session_requests.evaluate(request_id)


@app.task(name="request.execute")
def execute(request_id: int) -> None:
    """Ring: do it."""
    container().session_requests.execute(request_id)
