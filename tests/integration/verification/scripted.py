"""A model that gives the answers it is told to, or none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.verification.tools import FaultCode, StageFailed

Answer = Mapping[str, Any] | Exception


def unreadable() -> StageFailed:
    """What an asker raises where an answer cannot be read, twice."""
    return StageFailed(FaultCode.UPSTREAM_ERROR, "The model's answer cannot be read.")


class Script:
    """Answers by the schema's name, each time the next of what it was given, the last of it for ever; an exception is raised."""

    def __init__(self, **answers: list[Any]) -> None:
        self._answers = {f"verification_{name}": list(given) for name, given in answers.items()}
        self.asked: list[tuple[str, str]] = []

    def ask(self, *, system: str, user: str, name: str, **_: Any) -> dict[str, Any]:
        """Give the next answer."""
        self.asked.append((name.removeprefix("verification_"), f"{system}\n{user}"))
        left = self._answers[name]
        answer: Answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)

    @property
    def names(self) -> list[str]:
        """What was asked for, in order."""
        return [name for name, _ in self.asked]
