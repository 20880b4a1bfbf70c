"""What the model is told when it specifies and writes code, and the form its answers have. Prompts are short: a small local
model reads about 100 tokens a second, and has room for some 4,000 in all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from shared.verification.excerpts import excerpt
from shared.verification.items import Constraint, ConstraintType, Json, Specification, Task

MOST_TASK_CHARS = 4_000
MOST_CONTEXT_CHARS = 2_000
MOST_CODE_CHARS = 6_000
MOST_ITEMS = 10
"""Test cases asked for at once."""
LEAST_ITEMS = 6

INTERFACE_TOKENS = 400
SPECIFICATION_TOKENS = 1_400
CONSTRAINT_TOKENS = 500
CODE_TOKENS = 1_800

_SHOWN_CASES_CHARS = 1_500
_SHOWN_REASONS = 8
_LANGUAGE_NAMES = {
    "python": "Python",
    "javascript": "JavaScript",
    "typescript": "TypeScript",
    "go": "Go",
    "java": "Java",
    "rust": "Rust",
    "c": "C",
    "cpp": "C++",
    "ruby": "Ruby",
}
_GIVEN_NAME = re.compile(r"`[A-Za-z_$][\w$]*|[A-Za-z_$][\w$]*\(|\b[a-z]\w*(?:_[a-z]|[a-z][A-Z])\w*")
_RULES_OF_CODE = "Code only, self-contained: the standard library at most, no input or output, files, network, tests or samples of use."


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _text(most: int, least: int = 0) -> dict[str, Any]:
    return {"type": "string", "minLength": least, "maxLength": most}


def _array(items: dict[str, Any], *, least: int, most: int) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}


_PARAMETER = _object(name=_text(40, 1), type=_text(60, 1))
_METHOD = _object(name=_text(40, 1), parameters=_array(_PARAMETER, least=0, most=6), returns=_text(60, 1))
INTERFACE_SCHEMA: dict[str, Any] = _object(
    kind={"type": "string", "enum": ["function", "class"]},
    name=_text(60, 1),
    parameters=_array(_PARAMETER, least=0, most=6),
    returns=_text(60, 1),
    methods=_array(_METHOD, least=0, most=6),
)
_CASE = _object(call=_text(200, 1), expected=_text(200), raises=_text(40), why=_text(100, 1))
CASE_SCHEMA: dict[str, Any] = _object(items=_array(_CASE, least=LEAST_ITEMS, most=MOST_ITEMS))
_STEP = _object(call=_text(200, 1), expected=_text(200), raises=_text(40))
_SCENARIO = _object(create=_text(200, 1), steps=_array(_STEP, least=3, most=5), why=_text(100, 1))
SCENARIO_SCHEMA: dict[str, Any] = _object(items=_array(_SCENARIO, least=2, most=3))
CONSTRAINT_SCHEMA: dict[str, Any] = _object(
    items=_array(
        _object(type={"type": "string", "enum": ["must", "must-not", "prefer"]}, description=_text(140, 3)),
        least=3,
        most=6,
    )
)
CODE_SCHEMA: dict[str, Any] = _object(code=_text(20_000, 1))

FOCUSES = (
    "ordinary input, each case of another kind and size, in no order",
    "edges: empty, one element, zero, negative, unsorted, repeated, very large, and errors if the task names any",
    "unusual input that a careless program would get wrong",
)
"""What each round of specifications is about; the last one is only reached when too few have come."""


def interface(task: Task) -> tuple[str, str]:
    """Return system and user message that have the interface fixed."""
    system = (
        f"You fix the interface of a {language_name(task.language)} program before it is written. Keep every name the task gives."
        " If state is kept between calls it is a class, else one function (methods: []). Use plain built-in types."
        " Reply in JSON: kind, name, parameters (the function's or the constructor's), returns, methods."
    )
    return system, _subject(task)


def specifications(task: Task, signature: str, focus: str) -> tuple[str, str]:
    """Return the messages that have test cases written. Cases of earlier rounds are not shown: a small model copies them."""
    name = language_name(task.language)
    system = (
        f"You write test cases for a {name} function that is not written yet. Each case: call (one expression), expected (the exact"
        f' {name} expression it returns, strings in quotes), raises (the name of the error it raises, else ""), why (a few words).'
        " Work each expected value out from the task. Keep inputs small. No two cases alike. Reply in JSON."
    )
    return system, f"{_subject(task)}\n\nInterface:\n{signature}\n\nWrite {MOST_ITEMS} cases: {focus}."


def scenarios(task: Task, signature: str, focus: str) -> tuple[str, str]:
    """Return the messages that have uses of a class written, step by step: a small model keeps count of state only so."""
    name = language_name(task.language)
    created = "s = Stack(2)" if task.language == "python" else "const s = new Stack(2)"
    system = (
        f"You write test scenarios for a {name} class that is not written yet. Each scenario: create (the statement that makes the"
        f" object, such as `{created}`), steps (calls on it in their order: call, one expression such as `s.pop()`; expected, the exact"
        f' {name} expression it returns, "" if nothing; raises, the name of the error it raises, else ""), why (a few words).'
        " Work each expected value out from the task. Every scenario makes the object in another way. No clock, no randomness."
        " Reply in JSON."
    )
    return system, f"{_subject(task)}\n\nInterface:\n{signature}\n\nWrite 3 scenarios: {focus}."


def constraints(task: Task, specs: Sequence[Specification]) -> tuple[str, str]:
    """Return the messages that have constraints drawn from the specifications."""
    system = (
        f"You say what {language_name(task.language)} code must do, must not do, or should prefer, so that it does its task well."
        " Each constraint is one short general rule: no test case, no sample value. Reply in JSON."
    )
    reasons = list(dict.fromkeys(spec.rationale for spec in specs[1:] if spec.rationale))[:_SHOWN_REASONS]
    about = "\n".join(f"- {reason}" for reason in reasons)
    return system, f"{_subject(task)}\n\nInterface:\n{specs[0].assertion}\n\nSpecified:\n{about}"


def code(task: Task, specs: Sequence[Specification], rules: Sequence[Constraint]) -> tuple[str, str]:
    """Return the messages that have the code written."""
    user = f"{_subject(task)}\n\nDefine exactly:\n{specs[0].assertion}\n\n{_grouped(rules)}\n\nExpected to hold:\n{_shown(specs[1:])}"
    return _writer(task), user


def second_code(task: Task, signature: str) -> tuple[str, str]:
    """Return the messages that have a second program written, which knows the task and the interface alone."""
    return _writer(task), f"{_subject(task)}\n\nDefine exactly:\n{signature}"


def repair(
    task: Task, signature: str, rules: Sequence[Constraint], written: str, failures: Iterable[str]
) -> tuple[str, str]:
    """Return the messages that have code mended; `failures` say what was expected and what came."""
    system = (
        f"You correct {language_name(task.language)} code that fails some of its specifications. Find the cause in the code, then"
        f" write the whole program anew, corrected. {_RULES_OF_CODE} Reply in JSON: code."
    )
    binding = [rule for rule in rules if rule.type is not ConstraintType.PREFER]
    parts = [
        _subject(task),
        f"Define exactly:\n{signature}",
        _grouped(binding),
        f"Code:\n{_cut(written, MOST_CODE_CHARS)}",
        "Fails:\n" + "\n".join(failures),
    ]
    return system, "\n\n".join(parts)


def language_name(language: str) -> str:
    """Return how a person writes the language's name."""
    return _LANGUAGE_NAMES.get(language, language)


def named_items(answer: Json) -> list[Json]:
    """Return the list in an answer of the schemas that have one."""
    items: list[Json] = answer["items"]
    return items


def _writer(task: Task) -> str:
    return f"You write correct {language_name(task.language)} code. {_RULES_OF_CODE} Reply in JSON: code."


def _subject(task: Task) -> str:
    """Return task and context; of one that is too long the sentences first that have a name which the task gives."""
    names = [name.strip("`(") for name in _GIVEN_NAME.findall(task.task)]
    shown = f"Task:\n{excerpt(task.task, MOST_TASK_CHARS, names, is_end_kept=True)}"
    context = excerpt(task.context or "", MOST_CONTEXT_CHARS, names, is_end_kept=True)
    return f"{shown}\n\nContext:\n{context}" if context else shown


def _shown(specs: Sequence[Specification]) -> str:
    """Return as many of the specifications as there is room for, the first of them first."""
    lines: list[str] = []
    left = _SHOWN_CASES_CHARS
    for spec in specs:
        left -= len(spec.assertion)
        if lines and left < 0:
            break
        lines.append(spec.assertion)
    return "\n".join(lines)


def _grouped(rules: Sequence[Constraint]) -> str:
    heads = {"must": "MUST", "must-not": "MUST NOT", "prefer": "PREFER"}
    lines = [f"{heads[rule.type.value]}: {rule.description}" for rule in rules]
    return "\n".join(lines)


def _cut(text: str, most: int) -> str:
    """Return `text` without its middle where it is longer than `most`: what matters stands first and last."""
    if len(text) <= most:
        return text
    head = most * 2 // 3
    return f"{text[:head]}\n[… {len(text) - most} characters left out …]\n{text[head - most :]}"
