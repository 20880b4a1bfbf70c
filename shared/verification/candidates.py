"""A model's tests, read: each a call with a value that it believes in. What cannot be one is dropped here, before anything is run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shared.sandbox.model import Language, Probe
from shared.source.trees import parse
from shared.verification.examples import Example
from shared.verification.literals import arguments, asserted, free_names, last_brackets, names, respelled
from shared.verification.traits import Trait, odd_kinds, outside, traits, unspoken
from shared.verification.units import Unit, nameable

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
_GIVEN = "given"
_LEFT = re.compile(rf"(?:{_GIVEN}|\[{_GIVEN}_\d+(?:, {_GIVEN}_\d+)*\])\Z")
_CHANGEABLE = re.compile(
    r"[\[{]|new\s+(?:Map|Set|Array|Object)\b|(?:list|dict|set|bytearray|deque|OrderedDict|defaultdict|Counter)\(",
    re.ASCII,
)
_NO_RESULT = frozenset({"None", "undefined", "null"})
_EXPORTED = re.compile(r"(?:module\.)?exports\b|(?:default|exported)\b")
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
    """Return what is special about the arguments of a call, or of what comes before it, and not spoken of in the context."""
    return unspoken(_traits(probe), context)


def is_inside(probe: Probe, context: str | None) -> bool:
    """Tell whether the arguments of a call, and of what comes before it, belong to the stated contract."""
    return not outside(_traits(probe), context)


def says_nothing(probe: Probe, unit: Unit) -> bool:
    """Tell whether what a probe expects is no more than that a function without a result has none."""
    if probe.raises is not None or probe.expected not in _NO_RESULT:
        return False
    called = re.search(r"\.(\w+)\s*\(", probe.call) if unit.is_class else None
    name = called[1] if called else unit.name
    return name in unit.silent and name not in unit.raising


def observing(probe: Probe, unit: Unit, language: Language) -> tuple[Probe, str] | None:
    """Return the probe that looks at what a call leaves of the arguments that it can change, and what they were before.

    What the model believes the call to give is taken for what it leaves. None for a call that can change none.
    """
    brackets = last_brackets(probe.call)
    if brackets is None or probe.setup or probe.raises or _bare(probe.call[: brackets[0]]) != unit.outside:
        return None
    given = list(arguments(probe.call) or ())
    changeable = {place: text for place, text in enumerate(given) if _CHANGEABLE.match(text)}
    if not changeable:
        return None
    called = {place: _GIVEN if len(changeable) == 1 else f"{_GIVEN}_{place + 1}" for place in changeable}
    lines = [_bound(name, changeable[place], language) for place, name in called.items()]
    call = f"{unit.outside}({', '.join(called.get(place, text) for place, text in enumerate(given))})"
    lines.append(_ended(_awaited(call, unit.name, unit), language))
    if len(changeable) == 1:
        believed = None if probe.expected in _NO_RESULT else probe.expected
        return Probe(_GIVEN, believed, setup="\n".join(lines)), next(iter(changeable.values()))
    return Probe(f"[{', '.join(called.values())}]", setup="\n".join(lines)), f"[{', '.join(changeable.values())}]"


def looks_at_arguments(probe: Probe) -> bool:
    """Tell whether a probe looks at what a call has left of its arguments, and not at what it gave."""
    return _LEFT.match(probe.call) is not None


def reaching(call: str, unit: Unit) -> str:
    """Return `call` with the expression that gives `unit` in the place of its name, where only that gives it."""
    if not unit.reached:
        return call
    written = _EXPORTED if unit.name != nameable(unit).name else re.compile(rf"{re.escape(unit.name)}\b")
    prefixed = re.compile(rf"(?:(?:module\.)?exports\.)?(?:{written.pattern})(?=\s*\()")
    found: list[str] = []
    last = 0
    for _, place in names(call):
        match = prefixed.match(call, place)
        if match is not None and place >= last:
            found += [call[last:place], unit.reached]
            last = match.end()
    return "".join([*found, call[last:]])


def _bare(callee: str) -> str:
    return callee.strip().removeprefix("await ").strip()


def _bound(name: str, value: str, language: Language) -> str:
    return f"{name} = {value}" if language is Language.PYTHON else f"const {name} = {value};"


def _ended(call: str, language: Language) -> str:
    return call if language is Language.PYTHON else f"{call};"


def _awaited(call: str, name: str, unit: Unit) -> str:
    return f"await {call}" if name in unit.asynchronous else call


def _traits(probe: Probe) -> frozenset[Trait]:
    """Return what is special about the arguments of a call, and of the calls and values that its setup has."""
    found = set(traits(probe.call))
    for line in probe.setup.splitlines():
        target, _, value = line.strip().rstrip(";").partition(" = ")
        found |= traits(f"({value})") if value and last_brackets(value) is None else traits(value or target)
    return frozenset(found)


def _fit(probes: Sequence[Probe], context: str | None) -> Iterator[Probe]:
    plain = [index for index, probe in enumerate(probes) if not probe.setup]
    odd = {plain[place] for place in odd_kinds([probes[index].call for index in plain])}
    for index, probe in enumerate(probes):
        found = _traits(probe) | ({Trait.OTHER_KIND} if index in odd else frozenset())
        if not unspoken(frozenset(found), context) & _UNFIT:
            yield probe


def _probes(test: Any, unit: Unit, language: Language) -> Iterator[Probe]:
    if unit.is_class:
        yield from _sequence(test, unit, language)
        return
    written, wanted = _asserted(test)
    call = reaching(written, unit)
    if is_expression(call, language) and re.search(rf"(?<![\w.$]){re.escape(unit.outside)}\s*\(", call) is not None:
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
    made = f"{'' if is_python else 'new '}{unit.outside}({given})"
    done = [] if unit.methods and unit.statics.issuperset(unit.methods) else [_bound(_OBJECT, made, language)]
    for place, text in enumerate(test["calls"], 1):
        if place == 1 and re.match(rf"(?:new\s+)?{re.escape(unit.name)}\s*\(", text.strip()):
            continue
        written, wanted = _asserted(text)
        call = _on_object(written, unit, language)
        setup = "\n".join(done)
        if call is None or not is_expression(call, language) or not is_source(setup, language):
            return
        if wanted or place == len(test["calls"]):
            yield _probe(setup, call, wanted, unit, language)
        if wanted.startswith("raises "):
            return
        done.append(_ended(call, language))


def _on_object(written: str, unit: Unit, language: Language) -> str | None:
    """Return a method's call, awaited where it is to be, or an accessor's reading, on the object or the class; None for neither."""
    found = _METHOD_CALL.match(written)
    if found is None or found["name"] not in unit.methods:
        return None
    holder = unit.outside if found["name"] in unit.statics else _OBJECT
    if found["name"] in unit.accessors:
        return f"{holder}.{found['name']}" if found["rest"] in (None, "()") else None
    if found["rest"] is None:
        return None
    call = f"{holder}.{found['name']}{found['rest']}"
    is_awaited = language is not Language.PYTHON and written.startswith("await ")
    return f"await {call}" if is_awaited else _awaited(call, found["name"], unit)


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
