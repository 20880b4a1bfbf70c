"""What is called from outside, and how: exports without a name, methods of a class, what is awaited, what returns nothing."""

from __future__ import annotations

import pytest

from shared.sandbox.model import Language, Probe
from shared.verification.candidates import candidates, is_inside, observing, reaching, says_nothing, special
from shared.verification.claims import numbered, untestable
from shared.verification.rulings import Basis
from shared.verification.traits import Trait
from shared.verification.units import Unit, exporting, nameable, units

_MODULE = "(await import(import.meta.url)).default"
_SORT = "def bubble_sort(a, key=None):\n    pass\n"


def _one(code: str, language: str = "javascript") -> Unit:
    (unit,) = units(code, language)
    return unit


def _read(unit: Unit, *tests: object, language: Language = Language.JAVASCRIPT) -> list[Probe]:
    return list(candidates({"tests": list(tests)}, unit, language=language, context=None))


@pytest.mark.parametrize(
    ("code", "written", "call"),
    [
        ("module.exports = (a, b) => a - b;", "default(1, 2)", "module.exports(1, 2)"),
        ("module.exports = (a, b) => a - b;", "module.exports(1, 2)", "module.exports(1, 2)"),
        ("module.exports = function add(a, b) { return a; }", "add(1, 2)", "module.exports(1, 2)"),
        ("export default function (a, b) { return a; }", "default(1, 2)", f"{_MODULE}(1, 2)"),
        ("export default (a, b) => a;", "exported(1, 2)", f"{_MODULE}(1, 2)"),
        ("exports.add = (a, b) => a - b;", "add('add(', 2)", "exports.add('add(', 2)"),
        ("exports.add = (a, b) => a - b;", "exports.add(1, 2)", "exports.add(1, 2)"),
        ("module.exports = { add(a, b) { return a; } };", "add(1, 2)", "module.exports.add(1, 2)"),
        ("export default { add: (a, b) => a };", "add(1, 2)", f"{_MODULE}.add(1, 2)"),
        ("export function add(a, b) { return a; }", "add(1, 2)", "add(1, 2)"),
        ("export default function add(a, b) { return a; }", "add(1, 2)", "add(1, 2)"),
    ],
)
def test_a_call_reaches_what_only_an_export_holds(code: str, written: str, call: str) -> None:
    unit = _one(code)
    assert reaching(written, unit) == call
    assert _read(unit, f"{written} === 3") == [Probe(call, "3")]


@pytest.mark.parametrize(
    ("code", "signature", "second"),
    [
        ("module.exports = (a, b) => a;", "function exported(a, b)", "module.exports = exported;\n"),
        ("export default async a => a;", "async function exported(a)", "export default exported;\n"),
        ("exports.add = (a, b) => a;", "function add(a, b)", "exports.add = add;\n"),
        ("module.exports.add = function sum(a, b) { return a; };", "function add(a, b)", "module.exports.add = add;\n"),
        ("module.exports = function add(a, b) { return a; };", "function add(a, b)", "module.exports = add;\n"),
        ("export default <T>(a: T): T => a;", "function exported<T>(a: T): T", "export default exported;\n"),
        ("export default { add: (a) => a };", "function add(a)", "export default { add: add };\n"),
        ("function add(a) { return a; }", "function add(a)", ""),
    ],
)
def test_a_second_derivation_has_a_name_to_write_and_is_exported_like_the_first(
    code: str, signature: str, second: str
) -> None:
    unit = _one(code, "typescript")
    told = nameable(unit)
    assert told.signature == signature
    written = f"function {told.name}(a) {{ return a; }}\n"
    assert exporting(written, "typescript", unit) == written + second
    assert exporting(f"{code}\n", "typescript", unit) == f"{code}\n"


def test_an_exported_class_keeps_what_it_extends() -> None:
    code = "class Base {}\nmodule.exports = class extends Base { size() { return 1; } };"
    assert nameable(_one(code)).signature == "class exported extends Base"
    assert nameable(_one(code.replace("class ext", "class Sums ext"))).signature == "class Sums extends Base"


def test_a_static_method_is_called_on_its_class() -> None:
    unit = _one("class Sums { static add(a, b) { return a; } static get zero() { return 0; } }")
    test = {"arguments": "", "calls": ["add(1, 2) === 3", "zero === 0"]}
    assert _read(unit, test) == [
        Probe("Sums.add(1, 2)", "3"),
        Probe("Sums.zero", "0", setup="Sums.add(1, 2);"),
    ]
    mixed = _one("class Sums { constructor(a) {} static add(a, b) { return a; } size() { return 1; } }")
    test = {"arguments": "4", "calls": ["add(1, 2)", "size() === 1"]}
    assert _read(mixed, test) == [Probe("subject.size()", "1", setup="const subject = new Sums(4);\nSums.add(1, 2);")]


def test_an_asynchronous_method_is_awaited_before_the_next_call() -> None:
    code = "class Queue:\n    async def put(self, x): ...\n    def size(self): return 1\n    async def all(self): yield 1\n"
    test = {"arguments": "", "calls": ["put(1)", "await size() == 1", "all()"]}
    assert _read(_one(code, "python"), test, language=Language.PYTHON) == [
        Probe("subject.size()", "1", setup="subject = Queue()\nawait subject.put(1)"),
        Probe("subject.all()", setup="subject = Queue()\nawait subject.put(1)\nsubject.size()"),
    ]
    script = _one("class Queue { put(x) { return Promise.resolve(); } size() { return 1; } }")
    test = {"arguments": "", "calls": ["await q.put(1)", "size() === 1"]}
    assert _read(script, test)[0].setup == "const subject = new Queue();\nawait subject.put(1);"


@pytest.mark.parametrize(
    ("setup", "trait"),
    [
        ("subject = Pool(None)", Trait.NOTHING),
        ("const subject = new Pool(-1);", Trait.NEGATIVE),
        ("subject = Pool(3)\nawait subject.put('')", Trait.EMPTY),
        ("given = []\nsort(given)", Trait.EMPTY),
    ],
)
def test_what_comes_before_a_call_may_lie_outside_of_the_contract(setup: str, trait: Trait) -> None:
    probe = Probe("subject.size()", "1", setup=setup)
    assert special(probe, None) == {trait}
    assert is_inside(probe, "a pool of a positive size") is False
    assert is_inside(Probe("subject.size()", "1", setup="subject = Pool(3)"), None)


def test_the_argument_is_looked_at_where_a_function_returns_nothing() -> None:
    unit = _one(_SORT, "python")
    assert unit.is_silent
    look = observing(Probe("bubble_sort([3, 1])", "[1, 3]"), unit, Language.PYTHON)
    assert look == (Probe("given", "[1, 3]", setup="given = [3, 1]\nbubble_sort(given)"), "[3, 1]")
    look = observing(Probe("bubble_sort([3, 1], {})", "None"), unit, Language.PYTHON)
    assert look == (
        Probe("[given_1, given_2]", setup="given_1 = [3, 1]\ngiven_2 = {}\nbubble_sort(given_1, given_2)"),
        "[[3, 1], {}]",
    )
    assert observing(Probe("bubble_sort('ab')", "None"), unit, Language.PYTHON) is None
    script = _one("exports.sort = async (a) => { a.sort(); };")
    look = observing(Probe("exports.sort([3, 1])", "undefined"), script, Language.JAVASCRIPT)
    assert look == (Probe("given", setup="const given = [3, 1];\nawait exports.sort(given);"), "[3, 1]")


def test_that_nothing_is_returned_says_nothing_but_of_what_may_raise() -> None:
    silent = _one(_SORT, "python")
    assert says_nothing(Probe("bubble_sort([1])", "None"), silent)
    assert not says_nothing(Probe("bubble_sort([1])", "[1]"), silent)
    assert not says_nothing(Probe("f(1)", "None"), _one("def f(a):\n    return a\n", "python"))
    assert not says_nothing(Probe("f(1)", "None"), _one("def f(a):\n    if a: raise ValueError\n", "python"))
    queue = _one("class Queue:\n    def put(self, x): self.x = x\n    def get(self): return self.x\n", "python")
    assert says_nothing(Probe("subject.put(1)", "None"), queue)
    assert not says_nothing(Probe("subject.get()", "None"), queue)


def test_claims_that_do_not_fit_are_spoken_of() -> None:
    (unit,) = units("def f(a):\n    return a\n", "python")
    claims = numbered(untestable(f"claim {number}", unit=unit) for number in range(45))
    assert len(claims) == 40
    assert claims[-1].description == "Not looked at, as one verification holds 40 claims: 6 more, about `f`."
    assert claims[-1].basis == Basis.RULE
