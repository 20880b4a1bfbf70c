"""The settlement table's column of verifications, cell by cell: the run's row, its month's figures and its receipt are held to it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import httpx
import pytest

from devstack.supervisor import Stack
from shared.verification.model import VerificationState
from tests.e2e.model_hand import ModelHand
from tests.e2e.patience import eventually
from tests.e2e.pipelines_hand import FORWARD, REVERSE, RUNS, Customer, customer_of

Cell = dict[str, str]
Table = dict[str, Cell]
Producer = TypeVar("Producer", bound=Callable[..., None])

NOT_CREATED = "not_created"
CONTEXT = "Function should add two numbers"
SLOW = "pace:0.1"

PRODUCERS: dict[str, str] = {}


def produces(situation: str) -> Callable[[Producer], Producer]:
    """Name the cell that a test brings about."""

    def note(test: Producer) -> Producer:
        assert situation not in PRODUCERS, "one test a cell"
        PRODUCERS[situation] = test.__name__
        return test

    return note


@pytest.fixture
def customer(stack: Stack) -> Iterator[Customer]:
    """A new tenant, so that its month is its own; every process runs again after each test."""
    with customer_of(stack) as made:
        yield made
    for process in stack.processes.values():
        process.start()


@pytest.fixture
def model(stack: Stack) -> Iterator[ModelHand]:
    """The simulated model's faults, forgotten in the end."""
    hand = ModelHand(stack.endpoints["sim_llm"])
    yield hand
    hand.heal()
    hand.close()


@pytest.fixture(scope="module")
def table(stack: Stack) -> Table:
    """The column as it is published."""
    published = httpx.get(f"{stack.endpoints['web']}/v1/pricing/settlement", trust_env=False).json()["table"]
    return {row["situation"]: row["verification"] for row in published if row["verification"]}


def test_every_published_cell_is_brought_about_by_a_test_here(table: Table) -> None:
    assert set(table) == set(PRODUCERS)
    assert {cell["ends_as"] for cell in table.values()} <= {NOT_CREATED, *(str(state) for state in VerificationState)}


def code_of(name: str) -> str:
    return f"def {name}(a, b):\n    return a - b\n"


def unlike() -> str:
    """Return a function's name that no other has."""
    return f"add_{uuid.uuid4().hex}"


def require_cell(cell: Cell, customer: Customer, run_id: str) -> dict[str, Any]:
    """The run ended as the cell says, and its unit of the month with it: one was taken, and kept or given back."""
    run = customer.ended(run_id)
    assert run["state"] == cell["ends_as"]
    assert customer.used() == {"kept": 1, "given_back": 0}[cell["unit"]]
    units = customer.tables.rows(
        "SELECT given_back_at IS NULL AS kept FROM quota_units JOIN verifications USING (tenant, mode)"
        " WHERE request_id = %(run)s",
        run=run_id,
    )
    assert units == [{"kept": cell["unit"] == "kept"}]
    receipts = customer.tables.one(
        "SELECT count(*) FROM receipts JOIN verifications ON owner_kind = pipeline AND owner_id = verifications.id"
        " WHERE request_id = %(run)s",
        run=run_id,
    )
    assert receipts == (0 if cell["ends_as"] == "failed" else 1)
    return run


@produces("request_invalid")
def test_an_invalid_request_takes_no_verification(customer: Customer, table: Table) -> None:
    wrong: list[tuple[str, Any]] = [
        *((FORWARD, body) for body in ({}, {"code": ""}, {"code": 7}, {"code": "x" * 100_001}, [])),
        *((REVERSE, body) for body in ({"task": " "}, {"task": "x", "language": ""})),
    ]
    answers = [customer.http.post(path, json=body) for path, body in wrong]
    assert {answer.status_code for answer in answers} == {httpx.codes.BAD_REQUEST}
    cell = table["request_invalid"]
    assert (cell["ends_as"], cell["unit"], customer.used()) == (NOT_CREATED, "not_taken", 0)
    assert customer.http.get(RUNS).json()["runs"] == []


@produces("work_fails")
def test_a_verification_that_fails_is_given_back(customer: Customer, model: ModelHand, table: Table) -> None:
    name = unlike()
    model.fault("status:400", match=name, times=None)
    answer = customer.forward(code_of(name), language="python", context=CONTEXT)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "upstream_error")
    require_cell(table["work_fails"], customer, answer.json()["request_id"])


@produces("caller_leaves")
def test_of_a_caller_who_leaves_the_verification_goes_on_and_is_kept(
    customer: Customer, model: ModelHand, table: Table
) -> None:
    name = unlike()
    model.fault(SLOW, match=name)
    with pytest.raises(httpx.ReadTimeout):
        customer.http.post(FORWARD, json={"code": code_of(name), "language": "python", "context": CONTEXT}, timeout=1)
    (run,) = customer.http.get(RUNS).json()["runs"]
    assert require_cell(table["caller_leaves"], customer, run["request_id"])["result"]["claims"]["count"] > 0


@produces("caller_cancels")
def test_of_a_verification_that_is_cancelled_the_unit_is_kept(
    customer: Customer, model: ModelHand, table: Table
) -> None:
    name = unlike()
    model.fault(SLOW, match=name, times=None)
    run_id = customer.placed(code_of(name), language="python", context=CONTEXT)
    eventually(lambda: customer.run(run_id)["state"] == "running", what="a run at work")
    customer.http.post(f"{RUNS}/{run_id}/cancel").raise_for_status()
    require_cell(table["caller_cancels"], customer, run_id)


@produces("worker_dies")
def test_a_verification_whose_worker_dies_is_done_again_and_taken_once(
    customer: Customer, model: ModelHand, table: Table
) -> None:
    name, mark = unlike(), model.mark()
    model.fault(SLOW, match=name)
    run_id = customer.placed(code_of(name), language="python", context=CONTEXT)
    eventually(lambda: "running" in model.outcomes(since=mark), what="a model at work")
    customer.stack.process("worker-verification").kill()
    run = require_cell(table["worker_dies"], customer, run_id)
    stages = [stage["stage"] for stage in run["usage"]["stages"] if stage["state"] == "done"]
    assert stages == ["extract", "verify", "remediate"]
