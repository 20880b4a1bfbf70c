"""Three hundred streams at once, each at ten tokens a second, through two inference workers: all complete, in order, each ended once."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest
from celery import Celery

from devstack.sim_model.answers import answer_to
from devstack.sim_model.chat import parse_chat
from devstack.sim_model.faults import FaultPlan
from tests.e2e.event_stream import require_one_end, text_of
from tests.e2e.gateway_hand import INFERENCE, MODEL, Gateway, open_gateway
from tests.e2e.market import running_stack
from tests.e2e.patience import eventually
from tests.e2e.second_process import second_process
from tests.e2e.stream_crowd import listen, most_at_once

STREAMS = 300
PACE_S = 0.1
IS_SOAK = bool(os.environ.get("LUCID_SOAK"))
TOKENS = 600 if IS_SOAK else 20
WORKER = "worker-inference"
AS_SHIPPED = {"LEASE_S": "30", "RESCUE_AFTER_S": "30", "LLM_FIRST_TOKEN_S": "60", "LLM_DEADLINE_S": "180"}
COUNTED = """
SELECT count(*) FILTER (WHERE runs.state = 'complete') AS complete,
       count(DISTINCT usage.id) AS billed, count(DISTINCT receipts.id) AS receipts
  FROM runs LEFT JOIN usage ON usage.owner_kind = 'run' AND usage.owner_id = runs.id AND usage.outcome = 'complete'
       LEFT JOIN receipts ON receipts.owner_kind = 'run' AND receipts.owner_id = runs.id
 WHERE runs.run_id = ANY(%(runs)s)
"""


@pytest.fixture(scope="module")
def wide_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A stack with the times that ship, and a second inference worker: together they have a thread for each stream."""
    with (
        running_stack(tmp_path_factory.mktemp("wide"), **AS_SHIPPED) as stack,
        second_process(stack.environment, WORKER),
        open_gateway(stack) as gateway,
    ):
        await_workers(stack.environment["REDIS_URL"], count=2)
        yield gateway


def await_workers(broker: str, *, count: int) -> None:
    with Celery("asking", broker=broker) as asking:

        def answering() -> bool:
            names = {name for reply in asking.control.ping(timeout=1.0) for name in reply}
            return sum(name.startswith("inference") for name in names) == count

        eventually(answering, what=f"{count} inference workers", within_s=60)


def test_three_hundred_streams_at_once_are_complete_and_in_order(wide_gateway: Gateway) -> None:
    prompts = [f"Say {number}. [sim:tokens:{TOKENS}][sim:pace:{PACE_S}]" for number in range(STREAMS)]
    bodies = [{"model": MODEL, "prompt": prompt, "stream": True} for prompt in prompts]
    heard = listen(wide_gateway.url + INFERENCE, wide_gateway.key, bodies)
    runs = []
    for prompt, answer in zip(prompts, heard, strict=True):
        events = answer.events
        runs.append(events[0].json["run_id"])
        assert require_one_end(events).is_done
        assert text_of(events) == wanted(prompt), "a token is missing, doubled or out of its place"
    if IS_SOAK:
        assert most_at_once(heard) == STREAMS
    every = {"complete": STREAMS, "billed": STREAMS, "receipts": STREAMS}
    assert wide_gateway.tables.rows(COUNTED, runs=runs) == [every], (
        "the last event is sent when the end is written down"
    )


def wanted(prompt: str) -> str:
    """What the simulated model says to a prompt."""
    asked = {"model": MODEL, "messages": [{"role": "user", "content": prompt}]}
    return answer_to(parse_chat(json.dumps(asked).encode()), FaultPlan(tokens=TOKENS)).text
