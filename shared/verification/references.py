"""Second derivations: implementations that the model writes from name, signature and context alone.

They have seen neither the code's body nor what it gives nor what anyone expects, so that where two of them agree with each other,
and not with the code, the code is what differs. They run in the same sandbox on the same calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial

from shared.sandbox.model import Language, Limits, Observation, Outcome, Probe
from shared.source.outline import outline
from shared.verification import prompts
from shared.verification.candidates import is_source
from shared.verification.items import Submitted
from shared.verification.tools import Tools
from shared.verification.units import Unit, exporting, nameable

LIMITS = Limits(wall_s=4.0, cpu_s=4, run_s=30.0)
_TEMPERATURES = (Decimal(0), Decimal("0.6"), Decimal("0.8"), Decimal("0.4"))
_SEED = 20_261


@dataclass(frozen=True)
class Reference:
    """One implementation. `number` counts from 1."""

    number: int
    code: str = field(repr=False)


def written(
    unit: Unit, submitted: Submitted, calls: Sequence[str], tools: Tools, *, numbers: Sequence[int]
) -> tuple[Reference, ...]:
    """Return the implementations with these numbers; what cannot be read, does not parse or does not define the name is left out.

    They are reached as the unit is: one that only an export names is asked for under a plain name, and exported.
    """
    told = nameable(unit)
    plain_calls = [call.replace(unit.reached, told.name) if unit.reached else call for call in calls]
    found: list[Reference] = []
    for number in numbers:
        tools.check()
        system, user = prompts.reference(
            told, language=submitted.language, context=submitted.context, calls=plain_calls, number=number - 1
        )
        question = partial(
            tools.asker.ask,
            system=system,
            user=user,
            schema=prompts.reference_schema(),
            name=prompts.REFERENCE,
            max_tokens=prompts.REFERENCE_MAX_TOKENS,
            temperature=_TEMPERATURES[(number - 1) % len(_TEMPERATURES)],
            seed=_SEED + number,
        )
        answer = tools.if_readable(question)
        if answer is None:  # one vote less
            continue
        language = Language(submitted.language)
        code = _closed("\n".join(answer["lines"]) + "\n", language)
        if is_source(code, language) and any(one.name == told.name for one in outline(code, language).functions):
            found.append(Reference(number, exporting(code, submitted.language, unit)))
    return tuple(found)


def _closed(code: str, language: Language) -> str:
    """Return the code with the last brace, which the small model now and then leaves out."""
    is_open = language is not Language.PYTHON and not is_source(code, language) and is_source(f"{code}}}\n", language)
    return f"{code}}}\n" if is_open else code


def tried(reference: Reference, language: Language, probes: Sequence[Probe], tools: Tools) -> tuple[Observation, ...]:
    """Return what a reference gives to each of the probes."""
    return tools.sandboxes.run(language, reference.code, probes, limits=LIMITS, check=tools.check).observations


def value_of(observation: Observation) -> str | None:
    """Return what an implementation gave, as text; None where it gave no answer."""
    if observation.outcome is Outcome.RETURNED:
        return observation.actual
    if observation.outcome is Outcome.RAISED:
        return f"raises {(observation.error or '').partition(':')[0]}"
    return None
