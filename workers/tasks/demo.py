"""Doorbells of the free demo."""

from __future__ import annotations

from workers.app import app, container


@app.task(name="demo.evaluate")
def evaluate(demo_id: int) -> None:
    """Ring: judge the request."""
    container().demonstration.evaluate(demo_id)


@app.task(name="demo.execute")
def execute(demo_id: int) -> None:
    """Ring: do it."""
    container().demonstration.execute(demo_id)
