"""Values of JavaScript: how they are written, and which are the same."""

from __future__ import annotations

import pytest

from shared.sandbox.deno import DenoRunner
from shared.sandbox.model import Language, Limits, Observation, Probe

WRITTEN = {
    "undefined": "undefined",
    "[1, null, 'a\"b', true]": '[1, null, "a\\"b", true]',
    "({a: 1, 'b c': {}})": '{"a": 1, "b c": {}}',
    "new Map([[1, new Set(['x'])]])": 'Map(1) {1 => Set(1) {"x"}}',
    "[NaN, -0, 1e21, 0.1, Infinity, 10n]": "[NaN, -0, 1e+21, 0.1, Infinity, 10n]",
    "[, 1]": "[<empty>, 1]",
    "[new Date(0), new Date(NaN)]": "[Date(1970-01-01T00:00:00.000Z), Date(Invalid Date)]",
    "/a+/gi": "/a+/gi",
    "new TypeError('x')": 'TypeError("x")',
    "new Float32Array([1.5])": "Float32Array [1.5]",
    "new Uint8Array([1, 2]).buffer": "ArrayBuffer [1, 2]",
    "[Symbol('s'), function f() {}, (() => 1), Math.max]": "[Symbol(s), [Function: f], [Function: ], [Function: max]]",
    "(function* () { yield 1; yield [2] })()": "Generator [1, [2]]",
    "(function* () { for (let n = 0; ; n++) yield 'y' })()": "Generator [" + '"y", ' * 200 + "…]",
    "[new Map([['a', 1]]).keys(), [3].values()]": '[Map Iterator ["a"], Array Iterator [3]]',
    "(async function* () {})()": "[AsyncGenerator]",
    "new (class Point { #z = 3; constructor() { this.x = 1 } })()": 'Point {"x": 1}',
    "Object.assign(Object.create(null), {k: 1})": '{"k": 1}',
    "new (class List extends Array {})(1, 2)": "List [1, 2]",
    "new Proxy({a: 1}, {})": '{"a": 1}',
}  # fmt: skip

# the call, what is expected, whether it matches, whether it is alike
COMPARED = [
    ("0.1 + 0.2", "0.3", True, True),
    ("1e9 + 1", "1e9", False, False),
    ("0", "6.626e-34", False, False),
    ("1e-12", "0", True, True),
    ("1e12 + 100", "1e12", False, False),
    ("0.1 * 3 * 1e9", "3e8", True, True),
    ("-0", "0", True, True),
    ("NaN", "0 / 0", True, True),
    ("1", "'1'", False, False),
    ("1", "true", False, False),
    ("10n", "10", False, True),
    ("undefined", "null", False, True),
    ("({a: 1, b: undefined})", "({a: 1})", False, True),
    ("({a: 1, b: 2})", "({b: 2, a: 1})", True, True),
    ("Object.groupBy([1], () => 'k')", "({k: [1]})", True, True),
    ("[1, [2, {c: 3}]]", "[1, [2, {c: 3}]]", True, True),
    ("[1, 2]", "[2, 1]", False, False),
    ("new Set([1, 2])", "new Set([2, 1])", True, True),
    ("new Set([{a: 1}, {b: 0.3}])", "new Set([{b: 0.1 + 0.2}, {a: 1}])", True, True),
    ("new Map([['a', 1], ['b', 2]])", "new Map([['b', 2], ['a', 1]])", True, True),
    ("new Map([['a', 1]])", "({a: 1})", False, False),
    ("new Uint8Array([1])", "[1]", False, True),
    ("new Date(5)", "new Date(5)", True, True),
    ("new Date(5)", "new Date(6)", False, False),
    ("new RangeError('x')", "new RangeError('x')", True, True),
    ("(function* () { yield 1; yield 2 })()", "[1, 2]", False, True),
    ("(function* () { yield 1; yield 2 })()", "[1, 3]", False, False),
    ("(function* () { for (;;) yield 1 })()", "[1]", False, False),
    ("() => 1", "() => 1", None, None),
    ("[() => 1, 2]", "[() => 1, 3]", False, False),
    ("() => 1", "1", False, False),
    ("Array.from({length: 100000}, (_, i) => i)", "[1]", False, False),
    ("Array.from({length: 100000}, (_, i) => i)", "Array.from({length: 100000}, (_, i) => i)", None, None),
    ("'y'.repeat(300000)", "'y'.repeat(300000)", None, None),
]  # fmt: skip


@pytest.fixture(scope="module")
def seen() -> dict[tuple[str, str | None], Observation]:
    """Every value in one run."""
    probes = [Probe(call) for call in WRITTEN] + [Probe(call, expected) for call, expected, _, _ in COMPARED]
    ran = DenoRunner().run(Language.JAVASCRIPT, "", probes, limits=Limits(), check=lambda: None)
    return {
        (probe.call, probe.expected): observation for probe, observation in zip(probes, ran.observations, strict=True)
    }


@pytest.mark.parametrize("call", WRITTEN)
def test_a_value_is_written_in_javascripts_notation(call: str, seen: dict[tuple[str, str | None], Observation]) -> None:
    assert seen[call, None].actual == WRITTEN[call], seen[call, None]


@pytest.mark.parametrize(("call", "expected", "matches", "alike"), COMPARED)
def test_values_are_the_same_all_the_way_down_or_not(
    call: str, expected: str, matches: bool | None, alike: bool | None, seen: dict[tuple[str, str | None], Observation]
) -> None:
    observation = seen[call, expected]
    assert (observation.matches, observation.alike) == (matches, alike), observation
