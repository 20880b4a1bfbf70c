"""Code from specifications and constraints. What the model's JSON string holds is the code: nothing trims, repairs or reformats it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from shared.source.languages import can_be_parsed
from shared.source.outline import outline
from shared.verification import reverse_prompts as prompts
from shared.verification.items import Constraint, Specification, Task
from shared.verification.tools import FaultCode, StageFailed, Tools

_SEEDS = (41, 42)
_SECOND_SEED = 51
_VARIED = Decimal("0.6")
_SECOND_TEMPERATURES = (Decimal("0.3"), Decimal("0.8"))
MOST_SECOND_PROGRAMS = len(_SECOND_TEMPERATURES)
_UNREADABLE = "The model did not give code that can be read."


@dataclass(frozen=True)
class Failing:
    """Code, and what it fails at, in words. Each `round` asks in another way."""

    code: str
    reasons: tuple[str, ...]
    round: int


def generate(task: Task, specs: Sequence[Specification], constraints: Sequence[Constraint], tools: Tools) -> str:
    """Return code for the task, as the model gave it. Raises `StageFailed` where it is empty or does not parse, asked once more.

    Then from task and interface alone: a small model may write the listed calls behind its code.
    """
    plain = prompts.second_code(task, specs[0].assertion)
    for messages, seed in zip((prompts.code(task, specs, constraints), plain), _SEEDS, strict=True):
        code = _ask(messages, tools, name="verification_code", seed=seed)
        if is_readable(code, task.language):
            return code
    raise StageFailed(FaultCode.UPSTREAM_ERROR, _UNREADABLE)


def second_code(task: Task, signature: str, tools: Tools, *, number: int = 0) -> str:
    """Return a program written from the task and the interface alone: it has seen neither specifications nor the first one.

    `number`: from 0; each later one is asked for with more room to differ.
    """
    return _ask(
        prompts.second_code(task, signature),
        tools,
        name="verification_second_code",
        seed=_SECOND_SEED + number,
        temperature=_SECOND_TEMPERATURES[number],
    )


def mended(
    task: Task, specs: Sequence[Specification], constraints: Sequence[Constraint], failing: Failing, tools: Tools
) -> str:
    """Return code that is to correct what fails."""
    messages = prompts.repair(task, specs[0].assertion, constraints, failing.code, failing.reasons)
    temperature = Decimal(0) if failing.round == 1 else _VARIED
    return _ask(messages, tools, name="verification_repair", seed=60 + failing.round, temperature=temperature)


def is_readable(code: str, language: str) -> bool:
    """Say whether there is code, and it parses where there is a grammar for its language."""
    return bool(code.strip()) and not (can_be_parsed(language) and outline(code, language).fault_lines)


def _ask(messages: tuple[str, str], tools: Tools, *, name: str, seed: int, temperature: Decimal = Decimal(0)) -> str:
    system, user = messages
    answer = tools.asker.ask(
        system=system,
        user=user,
        schema=prompts.CODE_SCHEMA,
        name=name,
        max_tokens=prompts.CODE_TOKENS,
        temperature=temperature,
        seed=seed,
    )
    tools.check()
    code: str = answer["code"]
    return code
