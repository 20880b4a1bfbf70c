"""Which errors of JavaScript and TypeScript are the sandbox's, and which the code's own; and elements of JSX."""

from __future__ import annotations

import pytest

from shared.sandbox.deno import DenoRunner
from shared.sandbox.model import Language, Limits, Observation, Outcome, Probe

JS, TS = Language.JAVASCRIPT, Language.TYPESCRIPT
RETURNED, RAISED, REFUSED = Outcome.RETURNED, Outcome.RAISED, Outcome.REFUSED


def seen(code: str, *probes: Probe, language: Language = JS) -> tuple[Observation, ...]:
    return DenoRunner().run(language, code, probes, limits=Limits(), check=lambda: None).observations


_OWN_ERRORS = [
    "throw new Error('Module not found')",
    "throw new TypeError('Requires all fields')",
    "throw new Error('out of memory')",
    "await null; throw new Error('Requires read of the manual')",
    "class PermissionDenied extends Error {} throw new PermissionDenied('no')",
    "const error = new RangeError('Unsupported scheme'); await Promise.reject(error)",
    "return [1].map(() => { throw new Error('Array buffer allocation failed') })",
    "return JSON.parse('Requires all')",
]


def test_an_error_that_the_code_makes_is_its_own_whatever_it_says() -> None:
    code = "\n".join(f"async function f{at}() {{ {body} }}" for at, body in enumerate(_OWN_ERRORS))
    found = seen(code, *(Probe(f"f{at}()", "1") for at in range(len(_OWN_ERRORS))))
    assert [(run.outcome, run.matches) for run in found] == [(RAISED, False)] * len(_OWN_ERRORS)


def test_an_error_at_the_codes_top_is_its_own_too() -> None:
    [found] = seen("throw new Error('Module not found');\nfunction f() {}", Probe("f()"))
    assert found.outcome is Outcome.NOT_LOADED


@pytest.mark.parametrize(
    "code",
    [
        "import React from 'react';",
        "import { x } from './util';",
        "const fs = require('fs');",
        "import fs from 'node:fs';\nfs.readFileSync('/etc/passwd');",
    ],
)
def test_what_lies_outside_is_refused_while_the_code_loads(code: str) -> None:
    [found] = seen(code, Probe("0"), language=TS)
    assert found.outcome is REFUSED


def test_a_member_that_is_not_there_raises_nothing_that_could_be_meant() -> None:
    code = "class Stack { push() {} }\nfunction slug(text) { return text }"
    calls = ["slugify(null)", "new Stack().pop()"]
    probes = [Probe(call, raises=raises) for call in calls for raises in ("*", "TypeError", "ReferenceError", "Error")]
    assert {(run.outcome, run.matches) for run in seen(code, *probes)} == {(Outcome.BAD_PROBE, None)}


def test_an_iterator_of_the_code_may_throw_as_its_calls_may() -> None:
    code = "function* count(n) { yield 1; if (n < 0) throw new RangeError('low'); yield 2 }"
    found = seen(code, Probe("count(-1)", raises="RangeError"), Probe("count(1)", "[1, 2]"))
    assert [(run.outcome, run.matches, run.alike) for run in found] == [(RAISED, True, True), (RETURNED, False, True)]


_ELEMENTS = "export function add(a, b) { return a + b }\nexport const Hello = (p) => <b className='x'>{p.name}</b>;\n"


@pytest.mark.parametrize(
    ("language", "code"), [(JS, _ELEMENTS), (TS, _ELEMENTS.replace("(p)", "(p: { name: string })"))]
)
def test_code_with_elements_loads_and_only_what_makes_them_is_refused(language: Language, code: str) -> None:
    probes = [Probe("add(1, 2)", "3"), Probe("Hello({ name: 1 })"), Probe("add(2, 2)", "4"), Probe("gone(1)")]
    found = seen(code, *probes, language=language)
    assert [run.outcome for run in found] == [RETURNED, REFUSED, RETURNED, Outcome.BAD_PROBE]
    assert found[2].matches


def test_code_that_is_nothing_either_way_says_what_its_own_language_says_of_it() -> None:
    [found] = seen("const a = <number>1;\nfunction two( {", Probe("0"), language=TS)
    assert found.outcome is Outcome.NOT_LOADED
    assert (found.error or "").startswith("SyntaxError: ")
