"""A model's tests, read: each a call with a value that it believes in. What cannot be one is dropped here, before anything is run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shared.sandbox.model import Language, Probe
from shared.source.trees import parse
from shared.verification.examples import Example
from shared.verification.literals import asserted, free_names, respelled
from shared.verification.traits import Trait, odd_kinds, outside, traits, unspoken
from shared.verification.units import Unit

_RAISES = re.compile(
    r"\s*(?:(?:it\s+)?(?:raises?|throws?|throw\s+new|raise)\b[:\s]*(?:(?:an?|the)\s+)?(?P<named>[A-Za-z_]\w*)?"
    r"|(?:new\s+)?(?P<bare>[A-Z]\w*(?:Error|Exception))\b)",
    re.IGNORECASE,
)
_BARE_ERROR = re.compile(r"(?:new\s+)?[A-Z]\w*(?:Error|Exception)\b")
_RAISE_WORD = re.compile(r"\s*(?:it\s+)?(?:raise|throw)", re.IGNORECASE)
_ANY = frozenset({"error", "exception", "an", "a", "the"})
_UNFIT = frozenset({Trait.NOTHING, Trait.NOT_FINITE, Trait.OTHER_KIND})
_FEWEST = 3
_OBJECT = "subject"
_METHOD_CALL = re.compile(
    r"(?:await\s+)?(?:[A-Za-z_$][\w$]*\.)?(?P<name>[A-Za-z_$][\w$]*)(?P<rest>\(.*\))?\Z", re.DOTALL
)


def candidates(answer: Mapping[str, Any], unit: Unit, *, language: Language, context: str | None) -> tuple[Probe, ...]:
    """Return the usable tests of an answer: distinct calls of `unit`. Those outside of the contract go, if enough others remain.

    An expected value that is none is left out; the call may still serve.
    """
    found: dict[tuple[str, str], Probe] = {}
    for test in answer["tests"]:
        for probe in _probes(test, unit, language):
            found.setdefault((probe.setup, _squeezed(probe.call)), probe)
    probes = tuple(found.values())
    fit = tuple(_fit(probes, context))
    return fit if len(fit) >= _FEWEST else probes


def example_probe(example: Example) -> Probe:
    """Return the probe of an example in the context."""
    return Probe(call=example.call, expected=example.expected, raises=example.raises)


def is_expression(text: str, language: Language) -> bool:
    """Tell whether `text` reads as one expression of the language; the sandbox has the last word."""
    if not text.strip() or "\0" in text:
        return False
    parsed = parse(f"({text.strip()}\n)", language)
    if parsed is None or parsed.tree.root_node.has_error:
        return False
    children = parsed.tree.root_node.named_children
    return len(children) == 1 and children[0].type == "expression_statement"


def is_source(text: str, language: Language) -> bool:
    """Tell whether `text` reads as statements of the language, or is empty."""
    parsed = parse(text, language)
    return parsed is not None and not parsed.tree.root_node.has_error


def special(probe: Probe, context: str | None) -> frozenset[Trait]:
    """Return what is special about a call's arguments and not spoken of in the context."""
    return unspoken(traits(probe.call), context)


def is_inside(probe: Probe, context: str | None) -> bool:
    """Tell whether a call's arguments belong to the stated contract."""
    return not outside(traits(probe.call), context)


def _fit(probes: Sequence[Probe], context: str | None) -> Iterator[Probe]:
    odd = odd_kinds([probe.call for probe in probes if not probe.setup])
    for index, probe in enumerate(probes):
        found = traits(probe.call) | ({Trait.OTHER_KIND} if index in odd else frozenset())
        if not unspoken(frozenset(found), context) & _UNFIT:
            yield probe


def _probes(test: Any, unit: Unit, language: Language) -> Iterator[Probe]:
    if unit.is_class:
        yield from _sequence(test, unit, language)
        return
    call, wanted = _asserted(test)
    if is_expression(call, language) and re.search(rf"(?<![\w.$]){re.escape(unit.name)}\s*\(", call) is not None:
        yield _probe("", call, wanted, unit, language)


def _asserted(text: str) -> tuple[str, str]:
    """Return the call and the value, or the error, of an assertion; a call alone asserts nothing."""
    plain = text.strip().removeprefix("assert ").rstrip(";").strip()
    split = asserted(plain)
    if split is None:
        return plain, ""
    call, operator, wanted = split
    return call, f"raises {wanted}" if operator.startswith(("raise", "throw")) else wanted


def _probe(setup: str, call: str, wanted: str, unit: Unit, language: Language) -> Probe:
    raises = _raised(wanted)
    if raises is not None:
        return Probe(call=call, raises=raises, setup=setup)
    return Probe(call=call, expected=_value(wanted, unit, language), setup=setup)


def _sequence(test: Mapping[str, Any], unit: Unit, language: Language) -> Iterator[Probe]:
    """Yield a probe for each call with a value, and for the last: what comes before it is its setup."""
    given = test["arguments"].strip()
    if given[:1] == "(" and given[-1:] == ")":
        given = given[1:-1]
    is_python = language is Language.PYTHON
    done = [f"{_OBJECT} = {unit.name}({given})" if is_python else f"const {_OBJECT} = new {unit.name}({given});"]
    for place, text in enumerate(test["calls"], 1):
        if place == 1 and re.match(rf"(?:new\s+)?{re.escape(unit.name)}\s*\(", text.strip()):
            continue
        written, wanted = _asserted(text)
        call = _on_object(written, unit)
        setup = "\n".join(done)
        if call is None or not is_expression(call, language) or not is_source(setup, language):
            return
        if wanted or place == len(test["calls"]):
            yield _probe(setup, call, wanted, unit, language)
        if wanted.startswith("raises "):
            return
        done.append(call if is_python else f"{call};")


def _on_object(written: str, unit: Unit) -> str | None:
    """Return a method's call, or an accessor's reading, on the object; None where it is neither."""
    found = _METHOD_CALL.match(written)
    if found is None or found["name"] not in unit.methods:
        return None
    if found["name"] in unit.accessors:
        return f"{_OBJECT}.{found['name']}" if found["rest"] in (None, "()") else None
    return None if found["rest"] is None else f"{_OBJECT}.{found['name']}{found['rest']}"


def _value(text: str, unit: Unit, language: Language) -> str | None:
    """Return the expression that an expected value is; None for what is no value."""
    expected = respelled(text.strip().rstrip(";").strip(), language)
    free = free_names(expected)
    if free & {unit.name, *unit.parameters, *unit.methods} or (free and "(" not in expected):
        return None
    return expected if is_expression(expected, language) else None


def _raised(expected: str) -> str | None:
    """Return the type that is to be raised, `*` for any; None where a value is expected."""
    if _BARE_ERROR.match(expected) is None and _RAISE_WORD.match(expected) is None:
        return None
    match = _RAISES.match(expected)
    name = (match["named"] or match["bare"]) if match else None
    return name if name and name.lower() not in _ANY and name[0].isupper() else "*"


def _squeezed(text: str) -> str:
    return "".join(text.split())
