"""Logs tell what happened to a request, and nothing that anybody could act on."""

from __future__ import annotations

import json
import uuid
from typing import Any

import httpx
import pytest

from tests.e2e.gateway_hand import INFERENCE, Gateway, request, unlike
from tests.e2e.market import Market
from tests.e2e.patience import eventually

REQUEST_ID = "X-Request-Id"


def lines(text: str) -> list[dict[str, Any]]:
    """Return the log's JSON lines; Celery's banner is none."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_an_answer_carries_the_id_that_its_log_line_has(market: Market) -> None:
    given = f"trace-{uuid.uuid4().hex[:12]}"
    answer = market.api.get("/api/jobs/job_" + "0" * 32, headers={REQUEST_ID: given})
    assert answer.headers[REQUEST_ID] == given
    assert answer.json()["request_id"] == given

    def logged() -> list[dict[str, Any]]:
        return [line for line in lines(market.stack.log("web")) if line.get("cid") == given]

    (line,) = eventually(logged, what="the log line")
    assert (line["route"], line["status"]) == ("/api/jobs/<id>", 404)


def test_the_id_of_a_request_reaches_the_log_of_the_last_worker_of_its_chain(market: Market) -> None:
    """A look settles the payment, which has the work done, which leaves a receipt, which the sequencer integrates."""
    for name in ("invoices", "beat"):
        market.stack.process(name).stop(keep_down=True)
    order = market.accepted()
    market.wallet.pay(order.work_request())
    trace = f"trace-{uuid.uuid4().hex[:12]}"

    def looked() -> bool:
        answer = market.api.get(f"/api/jobs/{order.id}", headers={REQUEST_ID: trace})
        return bool(answer.json()["state"] == "complete")

    eventually(looked, what="a complete job")

    def integrated() -> bool:
        return any(
            line["event"] == "log_integrated" and line.get("cid") == trace
            for line in lines(market.stack.log("worker-tick"))
        )

    eventually(integrated, what="the request's id in the sequencer's log")


def test_what_was_given_up_is_logged_with_its_correlation_id(market: Market) -> None:
    order = market.order()
    market.model.fault("status:400", match=order.mark, times=None)
    order.pay_evaluation()
    order.reach("failed")
    step = market.ledger.rows(
        "SELECT cid FROM steps WHERE name = 'evaluate' AND owner_id = %(id)s", id=market.ledger.row_id(order.id)
    )[0]
    given_up = [line for line in lines(market.stack.log("worker-llm")) if line["event"] == "step_given_up"]
    assert step["cid"]
    assert step["cid"] in [line.get("cid") for line in given_up]


@pytest.mark.parametrize("place", ["path", "query", "request id", "idempotency key", "body", "user agent"])
def test_ids_and_invoices_stay_out_of_the_logs_wherever_a_caller_puts_them(market: Market, place: str) -> None:
    order = market.order()
    for secret in (order.id, order.eval_request):
        for call in (f"/api/jobs/{secret}", f"/v1/receipts/{secret}", f"/{secret}"):
            path = "/api/jobs"
            headers: dict[str, str] = {}
            body: dict[str, object] = {"request": "Say something short."}
            match place:
                case "path":
                    path = call
                case "query":
                    path = f"/api/jobs?job={secret}"
                case "request id":
                    headers = {REQUEST_ID: secret}
                case "idempotency key":
                    headers = {"Idempotency-Key": secret}
                case "user agent":
                    headers = {"User-Agent": secret}
                case _:
                    body = {"request": 7, secret: secret}
            method = "GET" if place == "path" else "POST"
            answer = market.api.request(method, path, headers=headers, json=body if method == "POST" else None)
            assert answer.status_code != httpx.codes.INTERNAL_SERVER_ERROR
    market.require_discretion()


def test_a_whole_life_leaves_no_id_no_invoice_and_no_secret_in_any_log(market: Market) -> None:
    order = market.accepted()
    order.pay_work()
    order.reach("complete")
    logs = market.logs()
    assert "/api/jobs/<id>" in logs["web"]
    assert "log_integrated" in logs["worker-tick"]
    market.require_discretion()
    hidden = order.id.removeprefix("job_")
    assert not [name for name, text in logs.items() if hidden in text]
    assert not [name for name, text in logs.items() if order.mark in text], "what a customer asks is his own"


def name_everywhere(market: Market, secret: str) -> None:
    """Put what is another's wherever a caller can."""
    for path in (f"/v1/runs/{secret}", f"/v1/runs?before={secret}", f"/v1/receipts/{secret}", f"/{secret}"):
        assert market.api.get(path).status_code < httpx.codes.INTERNAL_SERVER_ERROR
    body = {secret: secret, **request("Hi.", trace_id=secret, request_id=secret, policy={secret: 1})}
    headers = {REQUEST_ID: secret, "User-Agent": secret, "Idempotency-Key": secret, "Last-Event-ID": secret}
    assert market.api.post(INFERENCE, json=body, headers=headers).status_code < httpx.codes.INTERNAL_SERVER_ERROR


def test_a_run_leaves_no_input_no_key_and_no_id_in_any_log(market: Market, gateway: Gateway) -> None:
    """Whole, failed, streamed and broken off; and with its caller's key where it does not belong."""
    mark = unlike("What I ask is my own").replace(" ", "-")
    for fault, stream in (("", False), ("[sim:status:500]", False), ("", True), ("[sim:disconnect:3]", True)):
        answer = gateway.http.post(INFERENCE, json=request(f"{mark} {fault}", stream=stream))
        gateway.require_one_end(answer.headers["X-Run-ID"])
    run_id, key = answer.headers["X-Run-ID"], gateway.key
    gateway.http.get(f"/v1/runs/{run_id}").raise_for_status()
    name_everywhere(market, key)
    logs = market.logs()
    assert INFERENCE in logs["web"]
    assert "run_ended" in logs["worker-inference"]
    hidden = {"input": mark, "run id": run_id.removeprefix("run_"), "key": key.rpartition("_")[2]}
    assert [(name, what) for name in logs for what, text in hidden.items() if text in logs[name]] == []


def test_a_run_id_stays_out_of_the_logs_wherever_a_caller_puts_it(market: Market, gateway: Gateway) -> None:
    run_id = gateway.ask().json()["run_id"]
    name_everywhere(market, run_id)
    hidden = run_id.removeprefix("run_")
    assert [name for name, text in market.logs().items() if hidden in text] == []
