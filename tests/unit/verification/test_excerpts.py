"""What a model is shown of texts that are longer than its share, and that what fits is shown as it is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.verification import prompts, reverse_prompts
from shared.verification.excerpts import excerpt, listed, shown_code
from shared.verification.forward import extract
from shared.verification.items import Submitted, Task
from shared.verification.tools import Tools
from shared.verification.units import MOST_SHOWN_CHARS, units

_FILLING = "Nobody needs to know this sentence, which is here to take room. "
_RULE = "Every `amount` is rounded half up. "


def _described(user: str) -> str:
    return user.partition("Description: ")[2].partition("\nCode:")[0].partition("\nSignature:")[0]


def test_what_fits_is_shown_as_it_is() -> None:
    unit = units("def total(amount):\n    return amount\n", "python")[0]
    for context in ("Short.", "x" * 1_200, "ü" * 1_200, "名" * 1_200, "  padded  "):
        _, user = prompts.tests(unit, language="python", context=context, most=4)
        assert _described(user) == context.strip()
    assert excerpt("a. b. c.", 8, ["c"]) == "a. b. c."


def test_a_rule_far_down_is_shown_to_every_stage_that_reads_the_context() -> None:
    context = _FILLING * 60 + _RULE + _FILLING * 60
    code = "def total(amount):\n    return amount\n"
    unit = units(code, "python")[0]
    asked = [
        prompts.tests(unit, language="python", context=context, most=4),
        prompts.reference(unit, language="python", context=context, calls=(), number=0),
        prompts.remedy(unit, ["it fails"], language="python", context=context),
    ]
    for _, user in asked:
        shown = _described(user)
        assert len(shown) <= 2_400
        assert shown.startswith(_FILLING)
        assert f"… {_RULE}" in shown
        assert shown.endswith("…")


def test_a_rule_about_a_word_of_the_name_is_shown_too() -> None:
    context = _FILLING * 60 + "Rounding goes half up. " + _FILLING * 60
    unit = units("def round_price(x):\n    return x\n", "python")[0]
    assert "Rounding goes half up." in prompts.tests(unit, language="python", context=context, most=4)[1]


def test_of_code_that_cannot_be_run_the_functions_in_it_are_what_counts() -> None:
    context = _FILLING * 60 + "Total rounds half up. " + _FILLING * 60
    code = "package a\n\nfunc Total(x int) int { return x }\n"
    assert "Total rounds half up." in prompts.statements(code, language="go", context=context)[1]
    assert "Total rounds half up." in prompts.opinions(code, ["It rounds."], language="go", context=context)[1]


def test_a_doctest_stays_with_its_value() -> None:
    text = _FILLING * 10 + "\n>>> total(1)\n7\n\n" + _FILLING * 10
    assert ">>> total(1)\n7\n" in excerpt(text, 300, ["total"])


def test_one_endless_sentence_is_cut_between_words() -> None:
    text = "word " * 2_000
    shown = excerpt(text, 1_000, ["nothing"])
    assert 800 < len(shown) <= 1_000
    assert set(shown.split()) == {"word", "…"}


def test_scripts_that_take_more_tokens_get_fewer_characters() -> None:
    unit = units("def total(amount):\n    return amount\n", "python")[0]
    _, user = prompts.tests(unit, language="python", context="名前。" * 2_000, most=4)
    assert len(_described(user)) <= 1_201


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="ab .\n>!?;", max_size=400), st.integers(20, 200))
def test_an_excerpt_keeps_to_its_share_and_to_the_order(text: str, most: int) -> None:
    shown = excerpt(text, most, ["ab", "aab"], is_end_kept=most % 2 == 0)
    assert len(shown) <= max(most, len(text) if len(text) <= most else 0)
    place = 0
    for part in shown.split("…"):
        found = text.find(part.strip(), place)
        assert found >= 0
        place = found


def test_of_a_long_task_beginning_end_and_what_names_the_function_are_shown() -> None:
    body = "".join(f"Sentence {number} takes room in this task. " for number in range(200))
    task = Task(
        f"Write `to_cents`. {body}If empty, to_cents gives 0. {body}Return an integer.",
        "python",
        body * 2 + "to_cents rounds up.",
    )
    _, user = reverse_prompts.interface(task)
    for kept in (
        "Write `to_cents`. Sentence 0 ",
        "If empty, to_cents gives 0.",
        "Return an integer.",
        "to_cents rounds up.",
    ):
        assert kept in user
    assert len(user) <= reverse_prompts.MOST_TASK_CHARS + reverse_prompts.MOST_CONTEXT_CHARS + 40


def _go(functions: int, length: int = 20) -> str:
    body = "".join(f"\tx = x + {number}\n" for number in range(length))
    return "package a\n\n" + "".join(
        f"func F{number}(x int) int {{\n{body}\treturn x\n}}\n\n" for number in range(functions)
    )


def test_code_that_fits_is_shown_as_it_is() -> None:
    assert shown_code("package a\n\n\n", "go", 2_600).text == "package a\n\n\n"
    assert shown_code(_go(3), "go", 2_600).passed_over == ()
    assert shown_code("", "go", 2_600).text == ""


def test_long_code_is_cut_between_functions_and_the_others_are_named() -> None:
    shown = shown_code(_go(30), "go", 2_600)
    assert len(shown.text) <= 2_600
    assert shown.text.rstrip().endswith("}")
    seen = shown.text.count("func ")
    assert shown.passed_over == tuple(f"F{number}" for number in range(seen, 30))


def test_what_comes_before_the_first_function_does_not_take_its_place() -> None:
    imports = "package a\n\n// A licence.\n" + "// Words.\n" * 400 + "import (\n" + '\t"fmt"\n' * 100 + ")\n\n"
    shown = shown_code(imports + _go(4, 150).removeprefix("package a\n"), "go", 2_600)
    assert "func F0" in shown.text
    assert "F3" in shown.passed_over


def test_comments_and_blank_lines_take_no_room_where_it_is_short() -> None:
    code = "package a\n\n" + "// Words.\n\n" * 400 + _go(2).removeprefix("package a\n")
    shown = shown_code(code, "go", 2_600)
    assert shown.text.count("func ") == 2
    assert shown.passed_over == ()


def test_of_code_without_functions_the_lines_are_named() -> None:
    code = "\n" + "say something nice\n" * 400
    shown = shown_code(code, "cobol", 2_600)
    last = 1 + shown.text.count("\n")
    assert shown.passed_over == (f"lines {last + 1} to 401",)
    assert shown_code("x" * 9_000, "cobol", 2_600).passed_over == ("the rest of line 1",)


def test_a_long_list_of_names_says_how_many_more_there_are() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed([f"f{number}" for number in range(25)]).endswith("f19 and 5 more")


def test_a_long_class_is_shown_with_whole_methods_and_a_long_function_with_whole_lines() -> None:
    body = "".join(f"        x = x + {number}\n" for number in range(20))
    methods = "".join(f"    def m{number}(self, x):\n{body}        return x\n" for number in range(12))
    unit = units(f"class A:\n{methods}", "python")[0]
    assert len(unit.shown) <= MOST_SHOWN_CHARS
    assert unit.shown.endswith("        return x\n…")
    long = units("def f(x):\n" + "    x = x + 1\n" * 400 + "    return x\n", "python")[0]
    assert len(long.shown) <= MOST_SHOWN_CHARS
    assert long.shown.endswith("    x = x + 1\n…")


class _Asker:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def ask(self, *, user: str, **_: Any) -> dict[str, Any]:
        self.asked.append(user)
        return {"claims": [{"description": f"F{number} adds."} for number in range(3)]}


@pytest.mark.parametrize(("functions", "is_cut"), [(3, False), (30, True)])
def test_what_was_not_looked_at_is_a_claim_of_its_own(functions: int, is_cut: bool) -> None:
    asker = _Asker()
    claims = extract(Submitted(_go(functions), "go"), Tools(asker, None, lambda: None))  # type: ignore[arg-type]
    told = [claim.description for claim in claims if claim.description.startswith("Not looked at")]
    assert len(asker.asked) == 1
    assert bool(told) == is_cut
    if is_cut:
        assert told[0].startswith("Not looked at, or not wholly, as one question holds 2,600 characters: F")
        assert "F29" in told[0] or "more" in told[0]
