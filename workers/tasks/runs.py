"""Doorbells of inference runs."""

from __future__ import annotations

from workers.app import app, container


@app.task(name="run.infer")
def infer(run_id: int) -> None:
    """Ring: generate an answer."""
    container().inference.infer(run_id)
