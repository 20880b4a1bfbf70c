"""`workers/chains.py` against the tasks that Celery knows and the steps that the product names."""

from __future__ import annotations

import ast
import importlib
from collections import Counter

import pytest

from config.celery import CELERY
from config.queues import QUEUES
from config.schedule import TICKS
from shared.agent.model import JOB, JobStep
from tests.architecture.source_tree import ROOT, module_of, name_of, python_files, tree_of
from workers import chains
from workers.app import CANARY, app

LINKS = [(kind, link) for kind, lines in chains.CHAINS.items() for links in lines for link in links]
STEPS = {f"{kind}.{link.step}" for kind, link in LINKS}


def tasks_of_ours() -> set[str]:
    for module in CELERY["imports"]:
        importlib.import_module(module)
    return {name for name, task in app.tasks.items() if type(task).__module__.split(".")[0] == "workers"}


def steps_named_in_shared() -> set[str]:
    """Every `StepRef(kind, …, name)` whose two names can be read off; a variable in their place says nothing."""
    named = set()
    for path in python_files("shared"):
        names = vars(importlib.import_module(module_of(path)))
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "StepRef":
                named.update(_read_off(node, names))
    return named


def test_a_step_stands_in_one_chain_only() -> None:
    assert [step for step, times in Counter(f"{kind}.{link.step}" for kind, link in LINKS).items() if times > 1] == []


def test_every_step_has_a_task_and_every_task_is_a_step_a_tick_or_the_canary() -> None:
    assert tasks_of_ours() == STEPS | {f"tick.{tick.name}" for tick in TICKS} | {CANARY}


def test_every_step_that_the_product_names_is_in_a_chain_and_the_other_way_round() -> None:
    assert steps_named_in_shared() == STEPS


def test_the_steps_of_a_job_are_those_of_its_chains() -> None:
    assert {f"{JOB}.{step}" for step in JobStep} == {step for step in STEPS if step.startswith(f"{JOB}.")}


def test_every_link_goes_to_a_queue_that_exists() -> None:
    assert {link.queue for _, link in LINKS} <= set(QUEUES)


def test_the_page_of_chains_tells_every_step_in_words() -> None:
    assert [step for step in STEPS if step not in (chains.__doc__ or "")] == []


def test_a_stalled_step_is_rung_where_it_stalled_never_at_the_head() -> None:
    for kind, lines in chains.CHAINS.items():
        for links in lines:
            for position, link in enumerate(links):
                assert chains.remaining(kind, link.step) == links[position:]


def test_a_step_that_no_chain_has_is_refused() -> None:
    with pytest.raises(LookupError):
        chains.remaining("job", "invent")


def test_a_task_holds_no_decision() -> None:
    branching = (ast.If, ast.IfExp, ast.For, ast.While, ast.Try, ast.Match, ast.BoolOp)
    for path in sorted((ROOT / "workers/tasks").glob("*.py")):
        if path.name == "ticks.py":
            continue  # a tick asks whether its row is due
        assert not any(isinstance(node, branching) for node in ast.walk(tree_of(path))), name_of(path)


def _read_off(call: ast.Call, names: dict[str, object]) -> set[str]:
    kind, _, step = call.args
    try:
        return {f"{_value(kind, names)}.{_value(step, names)}"}
    except LookupError:
        return set()


def _value(expression: ast.expr, names: dict[str, object]) -> object:
    if isinstance(expression, ast.Constant):
        return expression.value
    if isinstance(expression, ast.Name):
        return names[expression.id]
    if isinstance(expression, ast.Attribute) and isinstance(expression.value, ast.Name):
        found: object = getattr(names[expression.value.id], expression.attr)
        return found
    raise LookupError
