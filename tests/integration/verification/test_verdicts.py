"""Claims, verdicts and remediations from real runs; the model is scripted, the simulated one, or, once, a real one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from devstack.home import Home
from devstack.model import QWEN_1_5B, cache_folder, is_present
from devstack.sim_model.answers import answer_to
from devstack.sim_model.chat import parse_chat
from devstack.sim_model.faults import plan_of
from shared.kernel.canonical_json import jcs
from shared.kernel.clock import SystemClock
from shared.llm.clients.openai import Upstream
from shared.llm.model import ChatMessage
from shared.llm.schema import parse_answer
from shared.llm.service import ask
from shared.sandbox.model import Probe
from shared.sandbox.service import Sandboxes
from shared.verification.forward import extract, remediate, verify
from shared.verification.items import Category, Claim, EvidenceKind, Remediation, Ruling, Severity, Submitted, Verdict
from shared.verification.rulings import Basis
from shared.verification.tools import StageFailed, Tools
from tests.integration.sandbox.conftest import sandbox_cache, sandboxes  # noqa: F401 - fixtures are found by their names
from tests.integration.verification.local_model import LocalServer

_PYTHON_SAMPLE = Submitted(
    "def add(a, b):\n    return a - b  # Bug: should be a + b", "python", "Function should add two numbers"
)
_SCRIPT = "function add(a, b) { return a - b; }"
_MEDIAN = "def median(values):\n    return sorted(values)[len(values) // 2]\n"
_RIGHT_MEDIAN = [
    "def median(values):",
    "    n = len(values)",
    "    s = sorted(values)",
    "    return s[n // 2] if n % 2 else (s[n // 2 - 1] + s[n // 2]) / 2",
]


class Script:
    """Answers by the schema's name, each time the next of what it was given, the last of it for ever."""

    def __init__(self, **answers: list[Mapping[str, Any]]) -> None:
        self._answers = {f"verification_{name}": list(given) for name, given in answers.items()}
        self.asked: list[tuple[str, str]] = []

    def ask(self, *, system: str, user: str, name: str, **_: Any) -> dict[str, Any]:
        self.asked.append((name.removeprefix("verification_"), f"{system}\n{user}"))
        left = self._answers[name]
        return dict(left.pop(0) if len(left) > 1 else left[0])

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.asked]


class Simulated:
    """Asks the simulated model, without a server between."""

    def ask(
        self, *, system: str, user: str, schema: dict[str, Any], name: str, max_tokens: int, **_: Any
    ) -> dict[str, Any]:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        asked = {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": True}}
        body = {"model": "sim-small", "messages": messages, "max_tokens": max_tokens, "response_format": asked}
        return parse_answer(answer_to(parse_chat(jcs(body)), plan_of([])).text, schema)


class Real:
    """Asks a model's API."""

    def __init__(self, upstream: Upstream, model: str) -> None:
        self._upstream = upstream
        self._model = model

    def ask(
        self,
        *,
        system: str,
        user: str,
        schema: dict[str, Any],
        name: str,
        max_tokens: int,
        temperature: Decimal = Decimal(0),
        seed: int | None = None,
    ) -> dict[str, Any]:
        return ask(
            self._upstream,
            model=self._model,
            messages=[ChatMessage("system", system), ChatMessage("user", user)],
            schema=schema,
            schema_name=name,
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
        ).answer


@pytest.fixture
def tools_for(sandboxes: Sandboxes) -> Callable[[Any], Tools]:  # noqa: F811 - the fixture
    return lambda asker: Tools(asker, sandboxes, lambda: None)


@pytest.fixture
def local_model(tmp_path: Path) -> Iterator[LocalServer]:
    cache = cache_folder(os.environ)
    if not is_present(QWEN_1_5B, cache):
        pytest.skip("the local model is not in the cache; `lucid up` fetches it")
    server = LocalServer(QWEN_1_5B, cache, home=Home(tmp_path))
    yield server
    server.stop()


def _tests(*pairs: tuple[str, str]) -> dict[str, Any]:
    return {"tests": [f"{call} == {expected}" for call, expected in pairs]}


def _lines(*lines: str) -> dict[str, Any]:
    return {"lines": list(lines)}


def _forward(submitted: Submitted, tools: Tools) -> tuple[tuple[Claim, ...], tuple[Verdict, ...]]:
    claims = extract(submitted, tools)
    verdicts = verify(submitted, claims, tools)
    assert [verdict.claim_id for verdict in verdicts] == [claim.id for claim in claims]
    for claim, verdict in zip(claims, verdicts, strict=True):
        assert Claim.from_json(claim.to_json()) == claim
        assert Verdict.from_json(verdict.to_json()) == verdict
        jcs([claim.to_json(), verdict.to_json()])
    return claims, verdicts


def _failed(verdicts: tuple[Verdict, ...]) -> list[Verdict]:
    return [verdict for verdict in verdicts if verdict.verdict is Ruling.FAIL]


@pytest.mark.parametrize(
    "submitted",
    [
        _PYTHON_SAMPLE,
        Submitted(_SCRIPT, "typescript", "Function should add two numbers"),
        Submitted(_SCRIPT, "javascript", None),
    ],
    ids=["python", "typescript", "javascript"],
)
def test_the_subtraction_is_found_by_execution_and_its_correction_passes(
    tools_for: Callable[[Any], Tools], submitted: Submitted
) -> None:
    tools = tools_for(Simulated())
    claims, verdicts = _forward(submitted, tools)
    assert [verdict.verdict for verdict in verdicts].count(Ruling.FAIL) >= 4
    failed = _failed(verdicts)[0]
    assert failed.evidence_kind is EvidenceKind.EXECUTED
    assert "a - b" in failed.evidence
    assert [entry["by"] for entry in failed.transcript] == ["code", "code", "reference", "reference"]
    remediations = remediate(submitted, claims, verdicts, tools)
    assert {one.claim_id for one in remediations} == {
        verdict.claim_id for verdict in verdicts if verdict.verdict in (Ruling.FAIL, Ruling.PARTIAL)
    }
    assert remediations[0].title == "Fix subtraction to addition"
    assert all(one.verified for one in remediations)
    assert Remediation.from_json(remediations[0].to_json()) == remediations[0]
    mended = Submitted(submitted.code.replace("a - b", "a + b", 1), submitted.language, submitted.context)
    _, verdicts = _forward(mended, tools)
    assert {verdict.verdict for verdict in verdicts} == {Ruling.PASS}


def test_a_lying_comment_reaches_no_model_and_changes_no_verdict(tools_for: Callable[[Any], Tools]) -> None:
    code = '# add returns the product\ndef add(a, b):\n    """Returns the product of a and b."""\n    return a + b  # a * b\n'
    asker = Script(
        tests=[_tests(("add(2, 3)", "5"), ("add(4, 6)", "10"), ("add(5, 5)", "10"))],
        reference=[_lines("def add(a, b):", "    return a + b")],
    )
    _, verdicts = _forward(Submitted(code, "python"), tools_for(asker))
    assert {verdict.verdict for verdict in verdicts} == {Ruling.PASS}
    assert not any("product" in text for _, text in asker.asked)


def test_a_wrong_hypothesis_is_outvoted_before_the_code_is_judged(tools_for: Callable[[Any], Tools]) -> None:
    asker = Script(
        tests=[_tests(("median([1, 2, 3])", "3"), ("median([5, 1, 9])", "5"), ("median([4, 4, 4])", "4"))],
        reference=[_lines(*_RIGHT_MEDIAN)],
    )
    claims, verdicts = _forward(Submitted("\n".join(_RIGHT_MEDIAN), "python", "Return the median."), tools_for(asker))
    assert claims[0].assertion == "median([1, 2, 3]) should return 2"
    assert {verdict.verdict for verdict in verdicts} == {Ruling.PASS}


def test_three_derivations_against_the_code_fail_it_and_the_body_is_never_shown_to_them(
    tools_for: Callable[[Any], Tools],
) -> None:
    asker = Script(
        tests=[_tests(("median([1, 2, 3, 4])", "2.5"), ("median([5, 1, 9])", "5"), ("median([3, 5, 4, 9])", "4.5"))],
        reference=[_lines(*_RIGHT_MEDIAN)],
    )
    _, verdicts = _forward(Submitted(_MEDIAN, "python", "Return the median."), tools_for(asker))
    assert [verdict.verdict for verdict in verdicts[:3]] == [Ruling.FAIL, Ruling.PASS, Ruling.FAIL]
    assert "returned 3" in verdicts[0].reasoning
    assert "2.5" in verdicts[0].reasoning
    assert verdicts[0].lines == (2, 2)
    shown = [text for name, text in asker.asked if name == "reference"]
    assert shown
    assert not any("sorted" in text or "2.5" in text for text in shown)


def test_calls_nobody_thought_of_count_where_the_references_agree_on_them(tools_for: Callable[[Any], Tools]) -> None:
    code = "def median(values):\n    n = len(values)\n    return values[n // 2] if n % 2 else (values[n // 2 - 1] + values[n // 2]) / 2\n"
    asker = Script(
        tests=[
            _tests(
                ("median([1, 2, 3])", "2"),
                ("median([1, 2, 3, 4, 5])", "3"),
                ("median([7])", "7"),
                ("median([2, 2])", "2"),
            )
        ],
        reference=[_lines(*_RIGHT_MEDIAN)],
    )
    _, verdicts = _forward(Submitted(code, "python", "Return the median."), tools_for(asker))
    assert [verdict.verdict for verdict in verdicts[:4]] == [Ruling.PASS] * 4
    assert Ruling.FAIL in {verdict.verdict for verdict in verdicts[4:]}
    assert asker.names.count("reference") == 3


def test_derivations_that_disagree_make_a_partial_that_shows_both_values(tools_for: Callable[[Any], Tools]) -> None:
    asker = Script(
        tests=[_tests(("median([1, 2, 3, 4])", "2.5"), ("median([5, 1, 9])", "5"), ("median([3, 5, 4])", "4"))],
        reference=[
            _lines(*_RIGHT_MEDIAN),
            _lines("def median(values):", "    return sorted(values)[len(values) // 2]"),
        ],
    )
    _, verdicts = _forward(Submitted(_MEDIAN, "python", "Return the median."), tools_for(asker))
    assert [verdict.verdict for verdict in verdicts[:3]] == [Ruling.PARTIAL, Ruling.PASS, Ruling.PASS]
    assert "returned 3" in verdicts[0].reasoning
    assert "return 2.5" in verdicts[0].reasoning


def test_an_example_in_the_context_is_ground_truth(tools_for: Callable[[Any], Tools]) -> None:
    asker = Script(
        tests=[_tests(("median([1, 2, 3, 4])", "3"), ("median([5, 1, 9])", "5"), ("median([3, 5, 4])", "4"))],
        reference=[_lines("def median(values):", "    return sorted(values)[len(values) // 2]")],
    )
    submitted = Submitted(_MEDIAN, "python", "The usual median: median([1, 2, 3, 4]) returns 2.5")
    claims, verdicts = _forward(submitted, tools_for(asker))
    assert claims[0].basis == "context"
    assert verdicts[0].verdict is Ruling.FAIL
    assert {verdict.verdict for verdict in verdicts[1:]} == {Ruling.PASS}


def test_code_that_depends_on_more_than_its_input_is_flaky(tools_for: Callable[[Any], Tools]) -> None:
    code = "import random\n\ndef pick(n):\n    return random.random() * n\n"
    asker = Script(
        tests=[_tests(("pick(10)", "5"), ("pick(20)", "5"), ("pick(30)", "5"))],
        reference=[_lines("def pick(n):", "    return 5")],
    )
    _, verdicts = _forward(Submitted(code, "python"), tools_for(asker))
    assert {verdict.verdict for verdict in verdicts} == {Ruling.PARTIAL}
    assert "second run was different" in verdicts[0].reasoning


def _codec(shift_there: int, shift_back: int) -> str:
    return (
        f"def encode(text):\n    return ''.join(chr(ord(one) + {shift_there}) for one in text)\n\n"
        f"def decode(text):\n    return ''.join(chr(ord(one) - {shift_back}) for one in text)\n"
    )


@pytest.mark.parametrize(
    ("code", "ruling"),
    [
        pytest.param(_codec(2, 1), Ruling.FAIL, id="the way back leads from the expected value"),
        pytest.param(_codec(2, 2), Ruling.PARTIAL, id="the way back leads from the given value"),
        pytest.param(_codec(2, 5), Ruling.PARTIAL, id="the way back leads nowhere"),
    ],
)
def test_a_round_trip_is_a_witness(tools_for: Callable[[Any], Tools], code: str, ruling: Ruling) -> None:
    claim = Claim(
        "CLAIM-001",
        Category.CORRECTNESS,
        Severity.CRITICAL,
        "`encode` should return 'bc' for `encode('ab')`.",
        "encode('ab') should return 'bc'",
        testable=True,
        function="encode",
        lines=(1, 2),
        probe=Probe("encode('ab')", expected="'bc'"),
        basis=Basis.MODEL,
        derivations=({"by": "model", "number": 0, "gives": "'bc'", "code": None},),
    )
    submitted = Submitted(code, "python", "Shift each letter by one.")
    tools = tools_for(Script(reference=[_lines("def other():", "    return 1")]))
    (verdict,) = verify(submitted, (claim,), tools)
    assert verdict.verdict is ruling
    assert [entry["by"] for entry in verdict.transcript].count("round trip") == 2


def test_a_list_that_hangs_on_the_order_of_a_set_is_flaky_and_the_set_is_not(
    tools_for: Callable[[Any], Tools],
) -> None:
    words = "'apple', 'pear', 'plum', 'fig', 'kiwi', 'lime', 'nut', 'date'"
    listed, held = (f"def unique(words):\n    return {kind}(set(words))\n" for kind in ("list", "set"))
    context = f"unique([{words}]) == {{{words}}}"
    asker = Script(
        tests=[_tests(("unique(['a'])", "{'a'}"))], reference=[_lines("def unique(words):", "    return set(words)")]
    )
    claims, verdicts = _forward(Submitted(listed, "python", context), tools_for(asker))
    assert (claims[0].basis, verdicts[0].verdict) == ("context", Ruling.PARTIAL)
    assert "second run was different" in verdicts[0].reasoning
    _, verdicts = _forward(Submitted(held, "python", context), tools_for(asker))
    assert verdicts[0].verdict is Ruling.PASS


def test_the_contexts_example_is_held_to_the_languages_own_equality(tools_for: Callable[[Any], Tools]) -> None:
    code = "def average(values):\n    return sum(values) / len(values)\n"
    asker = Script(
        tests=[_tests(("average([2, 4])", "3.0"))],
        reference=[_lines("def average(values):", "    return sum(values) / len(values)")],
    )
    claims, verdicts = _forward(Submitted(code, "python", "average([1, 2, 3]) == 2"), tools_for(asker))
    assert (claims[0].basis, verdicts[0].verdict) == ("context", Ruling.PASS)


@pytest.mark.parametrize("code", ["def add(a):\n    return a\n", "import os\ndef add(a, b):\n    os._exit(0)\n"])
def test_code_that_does_not_take_or_survive_the_contexts_example_fails_it(
    tools_for: Callable[[Any], Tools], code: str
) -> None:
    asker = Script(
        tests=[_tests(("add(2, 3)", "5"))],
        reference=[_lines("def add(a, b):", "    return a + b")],
        opinions=[{"opinions": [{"holds": "unsure", "reason": "it cannot be run"}]}],
    )
    claims, verdicts = _forward(Submitted(code, "python", "add(1, 2) == 3"), tools_for(asker))
    assert (claims[0].basis, verdicts[0].verdict) == ("context", Ruling.FAIL)


def test_code_that_does_not_load_fails_one_claim_and_is_judged_no_further(tools_for: Callable[[Any], Tools]) -> None:
    asker = Script(
        statements=[{"claims": [{"description": f"f does thing {number}"} for number in range(3)]}],
        opinions=[{"opinions": [{"holds": "unsure", "reason": "it is broken"}] * 3}],
    )
    _, verdicts = _forward(Submitted("def f(x:\n    return x\n", "python"), tools_for(asker))
    assert [verdict.verdict for verdict in verdicts][:2] == [Ruling.FAIL, Ruling.FAIL]
    assert {verdict.verdict for verdict in verdicts[2:]} == {Ruling.NOT_APPLICABLE}
    assert verdicts[-1].evidence_kind is EvidenceKind.OPINION
    assert (verdicts[-1].opinion or "").startswith("A model's opinion, not checked: unsure")
    assert "tests" not in asker.names


def test_a_language_that_cannot_be_run_is_parsed_and_its_claims_are_marked_opinions(
    tools_for: Callable[[Any], Tools],
) -> None:
    asker = Script(
        statements=[{"claims": [{"description": f"Add does thing {number}"} for number in range(3)]}],
        opinions=[{"opinions": [{"holds": "no", "reason": "it subtracts"}] * 3}],
    )
    code = "package a\n\nfunc Add(a int, b int) int { return a - b }\n"
    _, verdicts = _forward(Submitted(code, "go"), tools_for(asker))
    assert [verdict.verdict for verdict in verdicts] == [Ruling.PASS, *[Ruling.NOT_APPLICABLE] * 3]
    assert verdicts[0].evidence_kind is EvidenceKind.STATIC


def test_code_with_nothing_to_call_is_not_applicable_without_a_question(tools_for: Callable[[Any], Tools]) -> None:
    claims, verdicts = _forward(Submitted("x = 1\n", "python"), tools_for(Script()))
    assert [verdict.verdict for verdict in verdicts] == [Ruling.NOT_APPLICABLE]
    assert not claims[0].testable


def test_answers_without_one_usable_claim_fail_the_stage_after_a_second_question(
    tools_for: Callable[[Any], Tools],
) -> None:
    asker = Script(tests=[_tests(("other(1)", "1"))])
    with pytest.raises(StageFailed):
        extract(Submitted(_MEDIAN, "python"), tools_for(asker))
    assert asker.names == ["tests", "tests"]


def test_a_correction_that_mends_nothing_gives_way_to_a_reference_that_does(tools_for: Callable[[Any], Tools]) -> None:
    asker = Script(
        tests=[_tests(("median([1, 2, 3, 4])", "2.5"), ("median([5, 1, 9])", "5"), ("median([3, 5, 4, 9])", "4.5"))],
        reference=[_lines(*_RIGHT_MEDIAN)],
        remedy=[{"title": "Sort", "action": "modify", "description": "Sort it.", **_lines(*_MEDIAN.splitlines())}],
    )
    submitted, tools = Submitted(_MEDIAN, "python", "Return the median."), tools_for(asker)
    claims, verdicts = _forward(submitted, tools)
    remediations = remediate(submitted, claims, verdicts, tools)
    assert {one.verified for one in remediations} == {True}
    assert remediations[0].code_guidance == "\n".join(_RIGHT_MEDIAN)
    assert asker.names.count("remedy") == 1


def test_a_class_is_claimed_about_by_what_is_done_to_it_before(tools_for: Callable[[Any], Tools]) -> None:
    code = (
        "class Stack:\n    def __init__(self):\n        self.items = []\n    def push(self, item):\n        self.items.append(item)\n"
        "    def pop(self):\n        return self.items.pop(0)\n"
    )
    test = {"arguments": "", "calls": ["push(1)", "stack.push(2);", "pop() == 2"]}
    right = [line.replace("pop(0)", "pop()") for line in code.splitlines()]
    asker = Script(tests=[{"tests": [test]}], reference=[_lines(*right)])
    claims, verdicts = _forward(Submitted(code, "python"), tools_for(asker))
    assert claims[0].assertion == "subject = Stack(); subject.push(1); subject.push(2); subject.pop() should return 2"
    assert [verdict.verdict for verdict in verdicts] == [Ruling.FAIL]


@pytest.mark.model
@pytest.mark.skipif(
    "LUCID_SOAK" not in os.environ, reason="it takes the model minutes on a busy machine; set LUCID_SOAK"
)
def test_the_real_model_and_a_run_find_the_subtraction(
    tools_for: Callable[[Any], Tools], local_model: LocalServer
) -> None:
    upstream = Upstream(local_model.base_url, "", first_token_s=300.0, deadline_s=600.0, clock=SystemClock())
    try:
        tools = tools_for(Real(upstream, QWEN_1_5B.alias))
        _, verdicts = _forward(_PYTHON_SAMPLE, tools)
        assert _failed(verdicts)
        right = Submitted("def add(a, b):\n    return a + b\n", "python", _PYTHON_SAMPLE.context)
        _, verdicts = _forward(right, tools)
        assert not _failed(verdicts)
    finally:
        upstream.close()
