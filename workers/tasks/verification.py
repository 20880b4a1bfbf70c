"""Doorbells of verifications: one a stage."""

from __future__ import annotations

from workers.app import app, container


@app.task(name="forward.extract")
def extract(verification_id: int) -> None:
    """Ring: find claims in submitted code."""
    container().verification_engine.extract(verification_id)


@app.task(name="forward.verify")
def verify_claims(verification_id: int) -> None:
    """Ring: hold the code against its claims."""
    container().verification_engine.verify_claims(verification_id)


@app.task(name="forward.remediate")
def remediate(verification_id: int) -> None:
    """Ring: say what to do about what failed."""
    container().verification_engine.remediate(verification_id)


@app.task(name="reverse.specify")
def specify(verification_id: int) -> None:
    """Ring: write the specifications of a task."""
    container().verification_engine.specify(verification_id)


@app.task(name="reverse.constrain")
def constrain(verification_id: int) -> None:
    """Ring: derive its constraints."""
    container().verification_engine.constrain(verification_id)


@app.task(name="reverse.generate")
def generate(verification_id: int) -> None:
    """Ring: generate code."""
    container().verification_engine.generate(verification_id)


@app.task(name="reverse.verify")
def verify_generated(verification_id: int) -> None:
    """Ring: hold the code against the specifications."""
    container().verification_engine.verify_generated(verification_id)


@app.task(name="reverse.repair")
def repair(verification_id: int) -> None:
    """Ring: mend it where it falls short."""
    container().verification_engine.repair(verification_id)
