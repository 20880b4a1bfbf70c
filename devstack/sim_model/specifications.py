"""The simulated model's part in generating code: interface, test cases, constraints, code, correction.

It knows three programs: `add`, a sliding-window rate limiter, and, for every other task, a function that gives back its first
argument. The marker `[sim:defect]` in the task makes the first code defective; the correction of it is not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from devstack.sim_model.chat import ChatRequest
from devstack.sim_model.faults import DEFECT_MARKER
from devstack.sim_model.programs import Program, written

_A_ROUND = 10
_SCENARIOS_A_ROUND = 3
_STEPS = 4
_LIMITER = re.compile(r"\bsliding[\s-]+window\b", re.IGNORECASE)
_ADD = re.compile(r"\badd(?:s|ition|ing)?\b|\bsum\b", re.IGNORECASE)
_SIGNATURE = re.compile(r"(?:Interface|Define exactly):\n(?:def |function |class )?(\w+)\(?([^()\n]*)")
_TASK = re.compile(r"Task:\n(.*?)(?:\n\n(?:Interface|Define exactly):\n|\Z)", re.DOTALL)
_LANGUAGES = (
    ("TypeScript", "typescript"),
    ("JavaScript", "javascript"),
    ("Python", "python"),
    ("Rust", "rust"),
    ("Ruby", "ruby"),
    ("Java", "java"),
    ("C++", "cpp"),
    ("Go", "go"),
    ("C", "c"),
)
_CONSTRAINTS = (
    ("must", "Give the same result for the same arguments."),
    ("must-not", "Change its arguments."),
    ("prefer", "Prefer plain statements to clever ones."),
)


@dataclass(frozen=True)
class _Wanted:
    """What a request is about, as far as its text tells."""

    program: Program
    language: str
    name: str
    parameters: tuple[str, ...]
    text: str

    @property
    def round(self) -> int:
        """Which of the three rounds of cases this is, by what they are to be about."""
        return next((number for number, words in ((1, ": edges"), (2, ": unusual input")) if words in self.text), 0)

    @property
    def has_defect(self) -> bool:
        return f"[sim:{DEFECT_MARKER}]" in self.text


def specification_answer(request: ChatRequest) -> dict[str, Any] | None:
    """Return the answer to a request whose schema is named for one of these stages, else None."""
    answer = _ANSWERS.get(request.schema_name or "")
    return None if answer is None else answer(_wanted(request))


def _wanted(request: ChatRequest) -> _Wanted:
    task = _TASK.search(request.user_text)
    said = request.user_text if task is None else task[1]
    language = next((name for shown, name in _LANGUAGES if re.search(rf"\b{re.escape(shown)}(?!\w)", request.text)), "")
    program = Program.ECHO
    if _LIMITER.search(said) and language in {"typescript", "javascript", "python"}:
        program = Program.LIMITER
    elif _ADD.search(said):
        program = Program.ADD
    found = _SIGNATURE.search(request.user_text)
    if found is None:
        return _Wanted(program, language, program.value, program.parameters, request.text)
    names = [part.partition(":")[0].strip() for part in found[2].split(",")]
    return _Wanted(program, language, found[1], tuple(name for name in names if name), request.text)


def _interface(wanted: _Wanted) -> dict[str, Any]:
    kind = {"python": "int"}.get(wanted.language, "number")
    parameters = [{"name": name, "type": kind} for name in wanted.program.parameters]
    allow = {"name": "allow", "parameters": [{"name": "now", "type": kind}], "returns": "boolean"}
    if wanted.language == "python":
        allow["returns"] = "bool"
    is_class = wanted.program is Program.LIMITER
    return {
        "kind": "class" if is_class else "function",
        "name": wanted.name,
        "parameters": parameters,
        "returns": "void" if is_class else kind,
        "methods": [allow] if is_class else [],
    }


def _cases(wanted: _Wanted) -> dict[str, Any]:
    pool = list(_pool(wanted))[_A_ROUND * wanted.round :][:_A_ROUND]
    return {"items": [{**case, "raises": "", "why": "simulated case"} for case in pool]}


def _scenarios(wanted: _Wanted) -> dict[str, Any]:
    return {"items": list(_uses(wanted))[_SCENARIOS_A_ROUND * wanted.round :][:_SCENARIOS_A_ROUND]}


def _pool(wanted: _Wanted) -> Iterator[dict[str, str]]:
    for number in range(3 * _A_ROUND):
        if wanted.program is Program.ADD and len(wanted.parameters) == 2:
            one, other = 7 * number % 23 - 5, number
            yield {"call": f"{wanted.name}({one}, {other})", "expected": str(one + other)}
        elif not wanted.parameters:
            yield {"call": f"[{wanted.name}(), {number}]", "expected": f"[0, {number}]"}
        else:
            arguments = ", ".join([str(number), *("0" for _ in wanted.parameters[1:])])
            yield {"call": f"{wanted.name}({arguments})", "expected": str(number)}


def _uses(wanted: _Wanted) -> Iterator[dict[str, Any]]:
    """Yield uses of the rate limiter, with times on both sides of the window."""
    is_python = wanted.language == "python"
    yes, no = ("True", "False") if is_python else ("true", "false")
    for window in (1000, 500, 200):
        for limit in (1, 2, 3):
            made: list[int] = []
            steps = []
            for now in (0, 10, window - 1, window, window + 20)[:_STEPS]:
                is_free = sum(1 for at in made if at > now - window) < limit
                made += [now] if is_free else []
                steps.append({"call": f"limiter.allow({now})", "expected": yes if is_free else no, "raises": ""})
            made_by = f"{wanted.name}({limit}, {window})"
            create = f"limiter = {made_by}" if is_python else f"const limiter = new {made_by}"
            yield {"create": create, "steps": steps, "why": "simulated scenario"}


def _constraints(_wanted: _Wanted) -> dict[str, Any]:
    return {"items": [{"type": kind, "description": description} for kind, description in _CONSTRAINTS]}


def _first_code(wanted: _Wanted) -> dict[str, Any]:
    return _code(wanted, defect=wanted.has_defect)


def _code(wanted: _Wanted, *, defect: bool = False) -> dict[str, Any]:
    return {"code": written(wanted.program, wanted.language, wanted.name, wanted.parameters, defect=defect)}


_ANSWERS: Mapping[str, Callable[[_Wanted], dict[str, Any]]] = {
    "verification_interface": _interface,
    "verification_specifications": _cases,
    "verification_scenarios": _scenarios,
    "verification_constraints": _constraints,
    "verification_code": _first_code,
    "verification_second_code": _code,
    "verification_repair": _code,
}
