"""What the model is told for `forward`. Short, since a small local model reads about 100 tokens a second; worded against that model.

It is asked for calls and values, for small functions and for changes to them: never for a verdict, but where nothing can be run. The
answer comes first in every schema, and reasons, where there are any, after it and bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from shared.sandbox.model import Language
from shared.source.outline import outline
from shared.verification.excerpts import excerpt
from shared.verification.units import Unit

TESTS = "verification_tests"
REFERENCE = "verification_reference"
STATEMENTS = "verification_statements"
OPINIONS = "verification_opinions"
REMEDY = "verification_remedy"

TESTS_MAX_TOKENS = 900
REFERENCE_MAX_TOKENS = 900
STATEMENTS_MAX_TOKENS = 500
OPINIONS_MAX_TOKENS = 700
REMEDY_MAX_TOKENS = 1_000
_SURE_CONTEXT_CHARS = 1_200
_MOST_CONTEXT_BYTES = 2_400
"""With the longest code and the longest answer this leaves room in 4,096 tokens. Scripts other than Latin take a token a character."""
_MOST_LINES = 70
_MOST_CASES = 3

_TESTS = (
    "You write unit tests from a {kind}'s description, in {language}. `tests`: assertions, one an item, such as `{name}(...) {equals}"
    " value`, with literal arguments and values, no two alike; where it must fail, `{name}(...) raises ErrorType`."
)
_SHAPES = "below, at and above limits; odd and even sizes; repeated and unsorted values"
_SEQUENCES = "three to six calls each, ending with different methods"
_CLASS_TESTS = (
    "You write tests of a class from its description, in {language}, each a sequence of method calls on a new object. `arguments`: the"
    " literal arguments of the constructor, empty if it takes none. `calls`: the method calls, one after the other, such as"
    " `method(1)`; those that return something with their value, such as `method() {equals} value`, or `method() raises ErrorType`."
    " No two tests alike."
)
_REFERENCE = (
    "You are a careful {language} programmer. Write the {kind} that is described, whole and correct for all inputs that the"
    " description allows, in plain readable code of several lines. `lines` holds its source, one line an item, with indentation."
    " No comments, no tests."
)
_OTHER_REFERENCE = (
    "You implement {language} {kinds} from their description alone. Think of the smallest, the largest and the repeated inputs before"
    " you write. `lines`: the complete source, one line an item, indented. Simple loops and conditions, nothing imported that is not"
    " needed, no comments."
)
_STATEMENTS = (
    "You read {language} code and name what it promises: results, errors, limits, security. `description`: one sentence about one"
    " function's behaviour that can be true or false."
)
_OPINIONS = (
    "You judge statements about {language} code. `holds`: yes, no or unsure, one answer for each statement in order. `reason`: at"
    " most one short sentence."
)
_REMEDY = (
    "You repair {language} code. `title`: what to change, in a few words, naming the expression. `action`: add, modify or remove."
    " `description`: one sentence. `lines`: the whole corrected {kind}, one line an item, with indentation, no comments."
)


def tests(unit: Unit, *, language: str, context: str | None, most: int) -> tuple[str, str]:
    """Return what has calls and their values written: system and user text."""
    equals = "==" if language == Language.PYTHON else "==="
    system = (_CLASS_TESTS if unit.is_class else _TESTS).format(
        language=language, kind=unit.kind, name=unit.name, equals=equals
    )
    shapes = _SEQUENCES if unit.is_class else f"ordinary inputs of different shapes ({_SHAPES})"
    wish = f"Write {most} different tests of `{unit.name}` with {shapes}."
    return system, f"{_described(context, _named(unit))}Code:\n{unit.shown}\n{wish}"


def tests_schema(unit: Unit, most: int) -> dict[str, Any]:
    """Return the schema of `tests`: assertions, or sequences of calls of an object's methods.

    An assertion is one text, as people write it. Asked for a call and its value apart, the small model wants to write a number where
    the schema wants a text, and writes nonsense.
    """
    test = _text(200)
    if unit.is_class:
        test = _object({"arguments": _text(100, least=0), "calls": _list(_text(100), least=2, most=7)})
    return _object({"tests": _list(test, least=max(1, most - 2), most=most)})


def reference(unit: Unit, *, language: str, context: str | None, calls: Sequence[str], number: int) -> tuple[str, str]:
    """Return what has a second implementation written. It shows neither the body nor any expected value."""
    system = _OTHER_REFERENCE if number % 2 else _REFERENCE
    kinds = "classes" if unit.is_class else "functions"
    examples = "\nIt is called like " + ", ".join(calls[:2]) if calls else ""
    return (
        system.format(language=language, kind=unit.kind, kinds=kinds),
        f"{_described(context, _named(unit))}{_declared(unit, language)}{examples}",
    )


def reference_schema() -> dict[str, Any]:
    """Return the schema of `reference`."""
    return _object({"lines": _source()})


def statements(shown: str, *, language: str, context: str | None) -> tuple[str, str]:
    """Return what has claims worded about code that cannot be run."""
    names = (function.name for function in outline(shown, language).functions)
    return _STATEMENTS.format(language=language), f"{_described(context, names)}Code:\n{shown}"


def statements_schema() -> dict[str, Any]:
    """Return the schema of `statements`."""
    return _object({"claims": _list(_object({"description": _text(200, least=8)}), least=3, most=6)})


def opinions(shown: str, claims: Sequence[str], *, language: str, context: str | None) -> tuple[str, str]:
    """Return what has statements judged that nothing can decide by a run."""
    listed = "\n".join(f"{number}. {claim[:240]}" for number, claim in enumerate(claims, 1))
    names = (function.name for function in outline(shown, language).functions)
    return _OPINIONS.format(language=language), f"{_described(context, names)}Code:\n{shown}\n\nStatements:\n{listed}"


def opinions_schema(count: int) -> dict[str, Any]:
    """Return the schema of `opinions`."""
    opinion = _object({"holds": {"type": "string", "enum": ["yes", "no", "unsure"]}, "reason": _text(160, least=0)})
    return _object({"opinions": _list(opinion, least=count, most=count)})


def remedy(unit: Unit, cases: Sequence[str], *, language: str, context: str | None) -> tuple[str, str]:
    """Return what has a correction written for a unit that the cases speak against."""
    listed = "\n".join(f"- {case}" for case in cases[:_MOST_CASES])
    return (
        _REMEDY.format(language=language, kind=unit.kind),
        f"{_described(context, _named(unit))}Code:\n{unit.shown}\n\nWhat is wrong with `{unit.name}`:\n{listed}",
    )


def remedy_schema() -> dict[str, Any]:
    """Return the schema of `remedy`."""
    members = {
        "title": _text(100),
        "action": {"type": "string", "enum": ["add", "modify", "remove"]},
        "description": _text(240),
        "lines": _source(),
    }
    return _object(members)


def _declared(unit: Unit, language: str) -> str:
    """Return the signature with what opens a body: without its brace the small model forgets all braces.

    Methods are listed apart: where they stand in the class like declarations, the small model repeats these instead of writing bodies.
    """
    if language == Language.PYTHON:
        return "Signature:\n" + "\n".join(
            [unit.signature, *(f"    {signature}" for signature in unit.method_signatures)]
        )
    methods = "; ".join(signature.rstrip(" {") for signature in unit.method_signatures)
    listed = f"Methods, each to be written with its body: {methods}.\n" if methods else ""
    return f"{listed}Signature:\n{unit.signature.rstrip(' {')} {{"


def _named(unit: Unit) -> tuple[str, ...]:
    return (unit.name, *unit.parameters, *unit.methods)


def _described(context: str | None, names: Iterable[str]) -> str:
    """Return the context; of one that is too long, what names the code in question first."""
    text = (context or "").strip()
    if not text:
        return ""
    fitting = _MOST_CONTEXT_BYTES * len(text) // len(text.encode(errors="surrogatepass"))
    return f"Description: {excerpt(text, max(_SURE_CONTEXT_CHARS, fitting), names)}\n"


def _object(members: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": members, "required": list(members), "additionalProperties": False}


def _list(items: dict[str, Any], *, least: int, most: int) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}


def _text(most: int, *, least: int = 1) -> dict[str, Any]:
    return {"type": "string", "minLength": least, "maxLength": most}


def _source() -> dict[str, Any]:
    """Source as a list of lines: asked for one string, the small model crowds the whole function into its first line."""
    return _list(_text(200, least=0), least=1, most=_MOST_LINES)
