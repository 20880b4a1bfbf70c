"""Door two with everything behind it, on the simulated model: code in, claims that were run out; a task in, code that was run out."""

from __future__ import annotations

import json
import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from flask.testing import FlaskClient

from config.settings import Settings
from devstack.supervisor import Stack
from shared.access.model import Mode, Tier
from shared.bootstrap import Role, build
from tests.contract.hostile_code import hostile_texts
from tests.e2e.model_hand import ModelHand
from tests.e2e.pipelines_hand import CONTEXT, FORWARD, RUNS, Customer, customer_of, events_of, example, new_key, told_by
from web.app import create_app
from web.limits import limits_of

IS_SOAK = bool(os.environ.get("LUCID_SOAK"))
ECHOED = 400 if IS_SOAK else 4
SUBTRACTING = {
    "python": "def add(a, b):\n    return a - b\n",
    "javascript": "function add(a, b) { return a - b; }",
    "typescript": "function add(a: number, b: number): number { return a - b; }",
}
ADDING = {language: code.replace("-", "+") for language, code in SUBTRACTING.items()}


@pytest.fixture(scope="module")
def _customer(stack: Stack) -> Iterator[Customer]:
    with customer_of(stack) as customer:
        yield customer


@pytest.fixture
def customer(stack: Stack, _customer: Customer) -> Iterator[Customer]:
    """A customer with a key for tests; every process runs again after each test."""
    yield replace(_customer, key=rekeyed(_customer, stack))
    for process in stack.processes.values():
        process.start()


def rekeyed(customer: Customer, stack: Stack) -> str:
    """Have a customer call with a new key, of a new tenant: no minute's limit is met, and the month is untouched."""
    key = new_key(stack, mode=Mode.TEST)
    customer.http.headers["Authorization"] = f"Bearer {key}"
    return key


@pytest.fixture
def healed(customer: Customer) -> Iterator[ModelHand]:
    """The simulated model's faults, forgotten in the end."""
    hand = ModelHand(customer.stack.endpoints["sim_llm"])
    yield hand
    hand.heal()
    hand.close()


# -- the page's own examples


@pytest.mark.parametrize("mode", list(Mode))
def test_the_pages_python_example_finds_the_subtraction(customer: Customer, tmp_path: Path, mode: Mode) -> None:
    script = tmp_path / "example.py"
    script.write_text(example("python", customer, key=new_key(customer.stack, mode=mode)), encoding="utf-8")
    lines = told_by([sys.executable, str(script)]).splitlines()
    assert lines[0].startswith("Claims: ")
    passed, total = lines[1].removeprefix("Passed: ").split("/")
    assert int(passed) < int(total) == int(lines[0].removeprefix("Claims: "))
    assert [line for line in lines[2:] if line.startswith("  Fix: ")]


def test_the_pages_node_example_finds_the_subtraction(customer: Customer, tmp_path: Path) -> None:
    if not shutil.which("node"):
        pytest.skip("node is not on PATH")
    script = tmp_path / "example.mjs"
    script.write_text(example("node", customer, key=customer.key), encoding="utf-8")
    lines = told_by(["node", str(script)]).splitlines()
    passed, total = lines[0].removesuffix(" claims passed").split("/")
    assert int(passed) < int(total)
    assert [line for line in lines[1:] if line.startswith("Fix: ")]


def test_the_pages_curl_examples_are_answered_as_the_page_says(customer: Customer) -> None:
    if not shutil.which("curl"):
        pytest.skip("curl is not on PATH")
    verified = customer.true("forward", json.loads(told_by(["sh", "-c", example("curl", customer, key=customer.key)])))
    assert verified["code"] == "function add(a, b) { return a - b; }"
    assert verified["verification"]["failed"] >= 1
    text = told_by(["sh", "-c", example("curl reverse", customer, key=customer.key)])
    assert customer.true("reverse", json.loads(text))["task"].startswith("Write a rate limiter")


# -- verdicts


@pytest.mark.parametrize("language", SUBTRACTING)
def test_the_subtraction_is_found_by_running_it_and_the_sum_gets_no_fail(customer: Customer, language: str) -> None:
    body = customer.verified(SUBTRACTING[language], language=language, context=CONTEXT)
    failed = [item for item in body["verification"]["items"] if item["verdict"] == "FAIL"]
    assert failed
    assert {item["evidence_kind"] for item in failed} == {"executed"}
    assert all("a - b" in item["evidence"] for item in failed)
    assert {item["claimId"] for item in failed} <= {item["claimId"] for item in body["remediation"]["items"]}
    body = customer.verified(ADDING[language], language=language, context=CONTEXT)
    assert body["verification"]["failed"] == 0
    assert body["verification"]["passed"] > 0


def test_code_comes_back_byte_for_byte(customer: Customer) -> None:
    def echoed(numbered: tuple[int, str]) -> None:
        number, code = numbered
        if number % 40 == 39:
            rekeyed(customer, customer.stack)
        answer = customer.forward(code, language=("python", "typescript", "rust", "cobol")[number % 4])
        assert answer.status_code == httpx.codes.OK, (code, answer.text)
        assert customer.true("forward", answer.json())["code"] == code

    with ThreadPoolExecutor(4) as crowd:
        list(crowd.map(echoed, enumerate(hostile_texts(ECHOED))))


def test_generated_code_is_held_against_its_specifications(customer: Customer) -> None:
    body = customer.generated("Write a function add(a, b) that returns the sum of two numbers", language="python")
    assert body["verification"]["satisfied"] > 0
    assert any(item["evidence_kind"] == "executed" for item in body["verification"]["items"])
    assert "def " in body["code"]


# -- runs


def test_a_run_that_nobody_waits_for_tells_its_progress_and_its_result(customer: Customer) -> None:
    run_id = customer.placed(SUBTRACTING["python"], language="python", context=CONTEXT)
    stream = customer.http.get(f"{RUNS}/{run_id}/events")
    assert stream.headers["Content-Type"].startswith("text/event-stream")
    told = events_of(stream.text)
    assert told[-1] == (None, None, "[DONE]")
    numbers = [number for number, _, _ in told[:-1]]
    assert numbers == list(range(1, len(numbers) + 1))
    names = [name for _, name, _ in told[:-1]]
    assert (names[0], names[-1]) == ("created", "completed")
    assert [data["stage"] for _, name, data in told[:-1] if name == "stage_done"] == ["extract", "verify", "remediate"]
    resumed = customer.http.get(f"{RUNS}/{run_id}/events", headers={"Last-Event-ID": str(numbers[-2])})
    assert events_of(resumed.text) == told[-2:]

    run = customer.ended(run_id)
    assert (run["state"], run["asked"]) == ("complete", {"code": SUBTRACTING["python"], "context": CONTEXT})
    result = customer.true("forward", run["result"])
    assert result["request_id"] == run_id
    assert result["receipt_id"] == run["receipt_id"]
    assert {stage["stage"] for stage in run["usage"]["stages"]} == {"extract", "verify", "remediate"}
    assert set(run["salts"]) >= {"input", "request"}


def test_the_same_idempotency_key_gets_the_same_verification_charged_once(customer: Customer) -> None:
    key = {"Idempotency-Key": f"verify-{uuid.uuid4().hex}"}
    first = customer.forward(SUBTRACTING["python"], headers=key, language="python")
    again = customer.forward(SUBTRACTING["python"], headers=key, language="python")
    assert first.status_code == httpx.codes.OK
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.text == first.text
    assert customer.used() == 1


def test_findings_come_as_sarif_where_that_is_asked_for(customer: Customer) -> None:
    accepting = {"Accept": "application/sarif+json"}
    answer = customer.forward(SUBTRACTING["python"], headers=accepting, language="python", context=CONTEXT)
    assert answer.headers["Content-Type"].startswith("application/sarif+json")
    log = answer.json()
    assert (log["version"], len(log["runs"])) == ("2.1.0", 1)
    assert any(result["level"] == "error" for result in log["runs"][0]["results"])
    run_id = answer.headers["Location"].rpartition("/")[2]
    again = customer.http.get(f"{RUNS}/{run_id}/sarif")
    assert again.json() == log
    plain = customer.forward(ADDING["python"], headers={"Accept": "*/*"}, language="python", context=CONTEXT)
    assert plain.headers["Content-Type"].startswith("application/json")


def test_a_run_is_cancelled_by_hand_and_keeps_its_unit(customer: Customer) -> None:
    customer.stack.processes["worker-verification"].stop()
    run_id = customer.placed(SUBTRACTING["python"], language="python")
    cancelled = customer.http.post(f"{RUNS}/{run_id}/cancel")
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert customer.http.post(f"{RUNS}/{run_id}/cancel").json()["ended_at"] == cancelled.json()["ended_at"]
    assert events_of(customer.http.get(f"{RUNS}/{run_id}/events").text)[-1][2]["error"]["code"] == "cancelled"
    assert customer.run(run_id)["receipt_id"]
    assert customer.used() == 1


# -- faults


@pytest.mark.parametrize("fault", ["garbage_content", "status:400"])
def test_what_the_model_gets_wrong_is_500_with_nothing_of_its_own_given_back_and_resumable(
    customer: Customer, healed: ModelHand, fault: str
) -> None:
    name = f"add_{uuid.uuid4().hex}"
    code = f"def {name}(a, b):\n    return a - b\n"
    healed.fault(fault, match=name, times=None)
    answer = customer.forward(code, language="python", context=CONTEXT)
    assert answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR
    body = answer.json()
    assert set(body) == {"error", "request_id"}
    assert body["error"]["code"] == "upstream_error"
    assert int(answer.headers["Retry-After"]) > 0
    for leak in ("127.0.0.1", "sim", "Traceback", "status", name):
        assert leak not in body["error"]["message"], body
    assert customer.used() == 0
    run = customer.run(body["request_id"])
    assert (run["state"], run["error"]) == ("failed", body["error"])
    assert "receipt_id" not in run
    assert answer.headers["Location"] == f"{RUNS}/{run['request_id']}"

    healed.heal()
    resumed = customer.http.post(f"{RUNS}/{run['request_id']}/resume")
    assert resumed.status_code == httpx.codes.ACCEPTED, resumed.text
    assert customer.ended(run["request_id"])["state"] == "complete"
    assert customer.used() == 1


def test_a_repetition_under_its_key_has_a_failed_run_go_on_though_nobody_waited_for_it(
    customer: Customer, healed: ModelHand
) -> None:
    name = f"add_{uuid.uuid4().hex}"
    code = f"def {name}(a, b):\n    return a - b\n"
    headers = {"Idempotency-Key": f"again-{uuid.uuid4().hex}", "Prefer": "respond-async"}
    healed.fault("status:400", match=name, times=None)
    run_id = customer.forward(code, language="python", headers=headers).json()["request_id"]
    assert customer.ended(run_id)["state"] == "failed"
    assert customer.used() == 0
    healed.heal()
    again = customer.forward(code, language="python", headers=headers)
    assert (again.status_code, again.json()["request_id"], again.json()["state"]) == (202, run_id, "queued")
    assert again.headers["Idempotent-Replayed"] == "true"
    assert customer.ended(run_id)["state"] == "complete"
    waited = customer.forward(code, language="python", headers={"Idempotency-Key": headers["Idempotency-Key"]})
    assert (waited.status_code, waited.json()["request_id"]) == (200, run_id)
    assert customer.used() == 1


@contextmanager
def impatient(stack: Stack) -> Iterator[FlaskClient]:
    """An application of the stack that waits for a run no longer than a moment."""
    container = build(replace(Settings.load(stack.environment), sync_wait_s=0.2), Role.WEB)
    app = create_app(container)
    yield app.test_client()
    limits_of(app).close()
    container.database.close()
    container.bus.close()


def test_a_run_that_takes_longer_than_a_call_may_goes_on_at_its_address(customer: Customer) -> None:
    headers = {"Authorization": f"Bearer {customer.key}", "Idempotency-Key": f"slow-{uuid.uuid4().hex}"}
    body = {"code": SUBTRACTING["python"], "language": "python"}
    worker = customer.stack.processes["worker-verification"]
    worker.stop()
    with impatient(customer.stack) as client:
        answers = [client.post(FORWARD, json=body, headers=headers) for _ in range(2)]
    told = answers[0].get_json()
    assert [answer.status_code for answer in answers] == [202, 202]
    assert told["state"] == "queued"
    assert answers[1].get_json()["request_id"] == told["request_id"]
    assert answers[0].headers["Location"] == f"{RUNS}/{told['request_id']}"
    assert "Preference-Applied" not in answers[0].headers
    worker.start()
    answer = customer.forward(**body, headers={"Idempotency-Key": headers["Idempotency-Key"]})  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["request_id"]) == (200, told["request_id"]), answer.text
    assert customer.used() == 1


def test_the_last_verification_of_the_month_is_taken_by_one_of_many(stack: Stack) -> None:
    with customer_of(stack, tier=Tier.FREE) as customer:
        tenant = customer.tables.one("SELECT tenant FROM api_keys ORDER BY id DESC LIMIT 1")
        assert customer.used() == 0
        container = build(Settings.load(stack.environment), Role.CLI)
        try:
            principal = container.api_keys.identify(customer.key)
            with container.database.transaction() as tx:
                for _ in range(99):
                    container.quotas.take(tx, principal, kind="forward")
        finally:
            container.database.close()
        with ThreadPoolExecutor(4) as crowd:
            asked = [crowd.submit(customer.forward, ADDING["python"], language="python") for _ in range(4)]
            answers = [one.result() for one in asked]
        assert sorted(answer.status_code for answer in answers) == [200, 429, 429, 429], tenant
        refused = [answer for answer in answers if answer.status_code == httpx.codes.TOO_MANY_REQUESTS]
        assert {answer.json()["error"]["code"] for answer in refused} == {"quota_exceeded"}
        assert all(int(answer.headers["Retry-After"]) > 0 for answer in refused)
        assert customer.used() == 100
