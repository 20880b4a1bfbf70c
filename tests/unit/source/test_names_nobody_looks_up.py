"""A name that is not defined matters where Python looks it up; where it does not, the code runs."""

from __future__ import annotations

import pytest

from shared.source.checks import findings


@pytest.mark.parametrize(
    "code",
    [
        'def total(items: "list[Item]") -> float:\n    return 1.0\n',
        "from __future__ import annotations\ndef total(items: list[Item]) -> Price:\n    return 1.0\n",
        "def total(items):\n    first: Item = items[0]\n    return first\n",
        'from typing import cast\ndef total(items):\n    return cast("Item", items)\n',
    ],
)
def test_an_undefined_name_that_is_only_an_annotation_is_a_note(code: str) -> None:
    exec(compile(code, "code", "exec"), {})  # noqa: S102 - it loads
    assert {(one.rule, one.severity) for one in findings(code, "python")} == {("pyflakes/undefined-name", "low")}


@pytest.mark.parametrize(
    "code",
    [
        "def total(items: Item):\n    return 1.0\n",
        "first: Item = 1\n",
        "def total():\n    class A:\n        first: Item = 1\n    return A\n",
        "def total(items):\n    return f'the {items} of {Item}'\n",
        "from __future__ import annotations\ndef total(items: int = Item):\n    return items\n",
    ],
)
def test_one_that_is_looked_up_is_a_fault(code: str) -> None:
    assert [(one.rule, one.severity) for one in findings(code, "python")] == [("pyflakes/undefined-name", "high")]
