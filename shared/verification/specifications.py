"""Specifications of code that does not exist yet: its interface first, then calls with what they are to give.

An expected value is a hypothesis of the model's, but for those that the task states itself. Kept are calls that can be read, that use
the interface, and whose expected value is one: it is evaluated in the sandbox, without any code, before it may count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from shared.sandbox.model import Language, Observation, Outcome, Probe
from shared.source.outline import outline
from shared.verification import reverse_prompts as prompts
from shared.verification.examples import examples
from shared.verification.interface import Interface, Shape, interface_of, quoted
from shared.verification.items import Category, Json, Severity, Specification, Task
from shared.verification.tools import FaultCode, StageFailed, Tools

LEAST = 10
MOST = 30
STATED = "The task states it."
"""The rationale of a specification that the task's own words give: no hypothesis."""

_ASK_MORE_BELOW = 16
_VARIED = Decimal("0.6")
_INTERFACE_SEEDS = (11, 12)
_TOO_FEW = "The model did not give enough distinct specifications for this task."
_NO_INTERFACE = "The model did not give a usable interface for this task."
_IDENTIFIER = re.compile(r"[A-Za-z_$][\w$.]*", re.ASCII)
_ERROR_TYPE = re.compile(r"[A-Z]\w*(?:Error|Exception)\Z", re.ASCII)
_SPEAKS_OF_ERRORS = re.compile(
    r"\b(?:raises?|throws?|errors?|exceptions?|reject(?:s|ed)?|invalid|fails?)\b|Error\b", re.IGNORECASE
)
_NOTHING = frozenset({"", "none", "null", "undefined", "no", "false", "n/a", "na", "nothing", "-"})
_EDGES = re.compile(
    r"""[(\[,=]\s*(?:""|''|\[\]|\{\}|0(?:\.0)?|-\d[\d_.]*|None|null|undefined|NaN|Infinity|float\(|True|False|true|false)\s*[),\]]"""
)


@dataclass(frozen=True)
class Draft:
    """A specification to be: what is called, and why."""

    probe: Probe
    why: str

    @property
    def key(self) -> tuple[str, str]:
        """What makes two of them the same: setup and call, however spaced or quoted. One call has one expected value."""
        return _plain(self.probe.setup), _plain(self.probe.call)


def specify(task: Task, tools: Tools) -> tuple[Specification, ...]:
    """Return 10 to 30 distinct specifications; the first is the interface, and its assertion the declaration.

    Raises `StageFailed` where the model gives fewer than 10, asked once more.
    """
    interface = _fix_interface(task, tools)
    signature = interface.text(task.language)
    drafts = {draft.key: draft for draft in _stated_drafts(task, interface)}
    for number, focus in enumerate(prompts.FOCUSES):
        if number == len(prompts.FOCUSES) - 1 and len(drafts) + 1 >= LEAST:
            break
        for draft in _round(task, interface, signature, number, focus, tools):
            drafts.setdefault(draft.key, draft)
        if len(drafts) >= _ASK_MORE_BELOW:
            break
    if len(drafts) + 1 < LEAST:
        raise StageFailed(FaultCode.UPSTREAM_ERROR, _TOO_FEW)
    first = _interface_specification(interface, signature, task.language)
    rest = [_specification(number, draft) for number, draft in enumerate(drafts.values(), start=2)]
    return (first, *rest)[:MOST]


def assertion_of(probe: Probe) -> str:
    """Return what a probe says, as a sentence."""
    call = called(probe)
    if probe.raises is not None:
        error = "an error" if probe.raises == "*" else probe.raises
        return f"{call} should raise {error}"
    return f"{call} should return {probe.expected}"


def called(probe: Probe) -> str:
    """Return the call in words, what comes before it included."""
    before = "; ".join(line.strip().rstrip(";") for line in probe.setup.splitlines())
    return f"after `{before}`, {probe.call}" if before else probe.call


def stated(specs: Iterable[Specification]) -> frozenset[str]:
    """Return the ids of the specifications that are no hypothesis."""
    return frozenset(spec.id for spec in specs if spec.rationale == STATED)


def runnable(language: str) -> Language | None:
    """Return the language as one that can be run; None where it cannot."""
    return Language(language) if language in set(Language) else None


def _fix_interface(task: Task, tools: Tools) -> Interface:
    system, user = prompts.interface(task)
    for seed in _INTERFACE_SEEDS:
        answer = tools.asker.ask(
            system=system,
            user=user,
            schema=prompts.INTERFACE_SCHEMA,
            name="verification_interface",
            max_tokens=prompts.INTERFACE_TOKENS,
            temperature=Decimal(0) if seed == _INTERFACE_SEEDS[0] else _VARIED,
            seed=seed,
        )
        tools.check()
        interface = interface_of(answer, task=task.task, language=task.language)
        if interface is not None:
            return interface
    raise StageFailed(FaultCode.UPSTREAM_ERROR, _NO_INTERFACE)


def _round(task: Task, interface: Interface, signature: str, number: int, focus: str, tools: Tools) -> list[Draft]:
    """Return the usable drafts of one round."""
    is_class = interface.shape is Shape.CLASS
    worded = prompts.scenarios if is_class else prompts.specifications
    system, user = worded(task, signature, focus)
    answer = tools.asker.ask(
        system=system,
        user=user,
        schema=prompts.SCENARIO_SCHEMA if is_class else prompts.CASE_SCHEMA,
        name="verification_scenarios" if is_class else "verification_specifications",
        max_tokens=prompts.SPECIFICATION_TOKENS,
        temperature=_VARIED if number else Decimal(0),
        seed=21 + number,
    )
    tools.check()
    drafts = [draft for item in prompts.named_items(answer) for draft in _drafts(item, task)]
    readable = [draft for draft in drafts if _is_readable(draft, interface, task.language)]
    return _with_values(readable, interface, task.language, tools)


def _stated_drafts(task: Task, interface: Interface) -> list[Draft]:
    """Return the calls whose values the task itself states."""
    known = runnable(task.language)
    if known is None or interface.shape is Shape.CLASS:
        return []
    found = examples(f"{task.task}\n\n{task.context or ''}", [interface.name], known)
    return [Draft(Probe(call=one.call, expected=one.expected, raises=one.raises), STATED) for one in found]


def _drafts(item: Json, task: Task) -> list[Draft]:
    """Return the drafts in a case, or in a scenario: there each step comes after those before it."""
    why = " ".join(item["why"].split())
    why = "" if why == STATED else why
    if "steps" not in item:
        probe = _probe(item, "", task)
        return [] if probe is None else [Draft(probe, why)]
    drafts = []
    done = [_statement(item["create"])]
    for step in item["steps"]:
        probe = _probe(step, "\n".join(done), task)
        if probe is not None:
            drafts.append(Draft(probe, why))
        if probe is None or probe.raises is None:
            done.append(_statement(step["call"]))
    return drafts


def _probe(item: Json, setup: str, task: Task) -> Probe | None:
    """Return what an answer's case says; None where it expects nothing.

    Where a case names a value and an error, the error counts if the task speaks of errors at all.
    """
    expected = _statement(item["expected"])
    raises = _error_name(item["raises"], task.language)
    if _ERROR_TYPE.match(expected):
        raises, expected = raises or expected, ""
    if raises is not None and expected and not _SPEAKS_OF_ERRORS.search(f"{task.task}\n{task.context or ''}"):
        raises = None
    if raises is None and not expected:
        return None
    return Probe(
        call=_statement(item["call"]), expected=None if raises is not None else expected, raises=raises, setup=setup
    )


def _statement(text: str) -> str:
    return text.strip().rstrip(";").strip()


def _error_name(text: str, language: str) -> str | None:
    """Return the error's type: the first name in the model's words; any error where those words are prose."""
    if text.strip().lower() in _NOTHING:
        return None
    found = _IDENTIFIER.match(text.strip().removeprefix("new ").removeprefix("raise ").removeprefix("throw "))
    if found is None or not found[0][:1].isupper():
        return "*"
    name = found[0].rstrip(".")
    return "*" if name == ("Exception" if language == "python" else "Error") else name


def _is_readable(draft: Draft, interface: Interface, language: str) -> bool:
    """Say whether the draft uses the interface, and its parts parse where there is a grammar."""
    probe = draft.probe
    if re.search(rf"(?<![\w$]){re.escape(interface.name)}\s*\(", f"{probe.setup}\n{probe.call}") is None:
        return False
    if not probe.call:
        return False
    if runnable(language) is None:
        return True
    is_text = probe.expected is None or interface.gives_text  # text may lack its quotes here, which it is given later
    value = "0" if is_text else probe.expected
    text = f"{probe.setup}\n_call = ({probe.call})\n_value = ({value})\n"
    return not outline(text, language).fault_lines


def _with_values(drafts: Sequence[Draft], interface: Interface, language: str, tools: Tools) -> list[Draft]:
    """Return the drafts whose expected value is one, text that lacks its quotes given them where text is what returns."""
    known = runnable(language)
    valued = [draft for draft in drafts if draft.probe.expected is not None]
    if known is None or not valued:
        return list(drafts)
    values = [draft.probe.expected or "" for draft in valued]
    ran = tools.sandboxes.run(known, "", [Probe(call=value) for value in values], check=tools.check)
    expected: dict[tuple[str, str], str | None] = {}
    for draft, value, seen in zip(valued, values, ran.observations, strict=True):
        expected.setdefault(draft.key, _mended(value, seen, interface))
    kept = []
    for draft in drafts:
        if draft.probe.expected is None:
            kept.append(draft)
        elif (mended := expected[draft.key]) is not None:
            kept.append(replace(draft, probe=replace(draft.probe, expected=mended)))
    return kept


def _mended(value: str, seen: Observation, interface: Interface) -> str | None:
    is_value = seen.outcome is Outcome.RETURNED and seen.actual is not None
    if is_value and not (interface.gives_text and re.match(r"[-\d]", value)):
        return value
    return quoted(value) if interface.gives_text else None


def _interface_specification(interface: Interface, signature: str, language: str) -> Specification:
    probe = None
    if language == "python":
        probe = Probe(call=f"callable({interface.name})", expected="True")
    elif runnable(language) is not None:
        probe = Probe(call=f"typeof {interface.name}", expected='"function"')
    return Specification(
        id="SPEC-001",
        category=Category.TYPE_SAFETY,
        severity=Severity.CRITICAL,
        description=f"The code defines the {interface.shape.value} {interface.name}",
        assertion=signature,
        rationale="Whatever calls the code, the other specifications included, calls it by this.",
        probe=probe,
    )


def _specification(number: int, draft: Draft) -> Specification:
    category, severity = _weight(draft)
    assertion = assertion_of(draft.probe)
    return Specification(
        id=f"SPEC-{number:03}",
        category=category,
        severity=severity,
        description=assertion.replace(" should return ", " returns ", 1).replace(" should raise ", " raises ", 1),
        assertion=assertion,
        rationale=draft.why,
        probe=draft.probe,
    )


def _weight(draft: Draft) -> tuple[Category, Severity]:
    """Return category and severity by rule: a small model calls everything the same."""
    if draft.why == STATED:
        return Category.CORRECTNESS, Severity.CRITICAL
    if draft.probe.raises is not None:
        return Category.ERROR_HANDLING, Severity.MEDIUM
    if _EDGES.search(draft.probe.call):
        return Category.EDGE_CASE, Severity.MEDIUM
    return Category.CORRECTNESS, Severity.HIGH


def _plain(text: str) -> str:
    return re.sub(r"\s+", "", text).replace("'", '"').replace("`", '"').rstrip(";")
