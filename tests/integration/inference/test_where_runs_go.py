"""Which node does a run: the best, another where the policy allows, the same again where that may help; and none at all."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from shared.access.model import Mode
from shared.catalog.matching import NoCompatibleCompute
from shared.catalog.policy import InvalidPolicy
from shared.inference.model import NotAsked, RunState
from shared.inference.planning import ModelNotFound
from shared.kernel.errors import LucidError, Unavailable
from tests.integration.inference.engine_bench import EngineBench

NO_FALLBACK = {"attestation": {"fallback_allowed": False}}


def calls(bench: EngineBench, marks: tuple[int, int]) -> tuple[int, int]:
    """Return how often each model was asked since `marks`."""
    return bench.sim.requests()["last"] - marks[0], bench.spare.requests()["last"] - marks[1]


def marks(bench: EngineBench) -> tuple[int, int]:
    return bench.sim.requests()["last"], bench.spare.requests()["last"]


@pytest.mark.parametrize(
    ("fault", "asked"),
    [
        ("status:500", (3, 1)),
        ("status:429:0", (3, 1)),
        ("drop", (3, 1)),
        ("status:401", (1, 1)),
        ("garbage_json", (1, 1)),
    ],
)
@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
def test_a_failing_node_is_replaced_before_the_first_token(
    bench: EngineBench, fault: str, asked: tuple[int, int], is_streamed: bool
) -> None:
    bench.sim.fault(fault, times=None, match=f"only here {fault} {is_streamed}")
    before = marks(bench)
    run = bench.ask(f"only here {fault} {is_streamed}", stream=is_streamed)
    view = bench.done(run)
    assert calls(bench, before) == asked
    assert view.run.state is RunState.COMPLETE
    assert view.end is not None
    assert view.end.used_fallback
    primary, spare = (node.passport_id for node in run.plan.nodes)
    assert view.end.compute_passport_id == spare
    assert view.end.fallback_reason is not None
    assert view.end.fallback_reason.startswith(primary)


def test_no_other_node_is_tried_where_the_policy_forbids_it(bench: EngineBench) -> None:
    bench.sim.fault("status:500", times=None, match="stay here")
    before = marks(bench)
    view = bench.done(bench.ask("stay here", policy=NO_FALLBACK))
    assert calls(bench, before) == (3, 0)
    assert view.run.state is RunState.FAILED


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
def test_no_other_node_is_tried_after_the_first_token(bench: EngineBench, is_streamed: bool) -> None:
    bench.sim.fault("disconnect:2", times=None, match=f"broken off {is_streamed}")
    before = marks(bench)
    view = bench.done(bench.ask(f"broken off {is_streamed}", stream=is_streamed))
    assert calls(bench, before) == (1, 0)
    assert view.end is not None
    assert view.end.error_code == "CONNECTION"


def test_a_node_that_fails_once_is_asked_again(bench: EngineBench) -> None:
    bench.sim.fault("status:503:0", times=1, match="once only")
    before = marks(bench)
    view = bench.done(bench.ask("once only"))
    assert calls(bench, before) == (2, 0)
    assert view.end is not None
    assert not view.end.used_fallback


def test_a_busy_node_is_left_for_as_long_as_it_asks(bench: EngineBench) -> None:
    bench.sim.fault("status:429:1", times=1, match="busy for a second")
    began = time.monotonic()
    view = bench.done(bench.ask("busy for a second", policy=NO_FALLBACK))
    assert view.run.state is RunState.COMPLETE
    assert 1.0 <= time.monotonic() - began < 2.5


def test_a_node_that_asks_for_more_than_there_is_time_is_given_up(bench: EngineBench) -> None:
    bench.sim.fault("status:429:3", times=None, match="busy for long")
    began = time.monotonic()
    policy = {**NO_FALLBACK, "latency": {"hard_timeout_ms": 1500}}
    view = bench.done(bench.ask("busy for long", policy=policy))
    assert time.monotonic() - began < 1.0
    assert view.end is not None
    assert view.end.error_code == "RATE_LIMIT"


def test_a_pause_between_tries_ends_when_the_run_is_cancelled(bench: EngineBench) -> None:
    bench.sim.fault("status:429:5", times=None, match="wait and cancel")
    run = bench.ask("wait and cancel", policy=NO_FALLBACK)
    mark = bench.sim.requests()["last"]
    worker = bench.start(run)
    bench.await_call(mark)
    assert bench.desk.runs.cancel(run.run_id, tenant=run.tenant).run.state is RunState.CANCELLED
    worker.join(1)
    assert not worker.is_alive()


def test_a_node_that_is_silent_is_left_for_another(bench: EngineBench) -> None:
    bench.sim.fault("hang", times=None, match="silent here")
    view = bench.done(bench.ask("silent here"))
    assert view.run.state is RunState.COMPLETE
    assert view.end is not None
    assert view.end.fallback_reason is not None
    assert view.end.fallback_reason.endswith("TIMEOUT")
    faults = bench.row("SELECT * FROM node_faults WHERE passport_id = %s", view.run.plan.nodes[0].passport_id)
    assert faults["code"] == "TIMEOUT"


def test_a_named_node_is_the_only_one(bench: EngineBench) -> None:
    spare = bench.ask().plan.nodes[1].passport_id
    before = marks(bench)
    run = bench.ask(compute_passport_id=spare)
    assert [node.passport_id for node in run.plan.nodes] == [spare]
    view = bench.done(run)
    assert calls(bench, before) == (0, 1)
    assert view.end is not None
    assert view.end.compute_passport_id == spare


def test_a_model_is_named_by_id_or_name(bench: EngineBench) -> None:
    by_name = bench.ask(model="sim-small")
    known = by_name.model_passport_id
    assert {bench.ask(model=name).model_passport_id for name in (known, f"passport:{known}")} == {known}


@pytest.mark.parametrize(
    ("asked", "error", "code"),
    [
        ({"model": "nobody's"}, ModelNotFound, "MODEL_NOT_FOUND"),
        ({"policy": {"nonsense": 1}}, InvalidPolicy, "INVALID_POLICY"),
        ({"policy": {"allow_regions": ["moon"]}}, NoCompatibleCompute, "NO_COMPATIBLE_COMPUTE"),
        ({"compute_passport_id": "passport_" + "0" * 32}, NoCompatibleCompute, "NO_COMPATIBLE_COMPUTE"),
        ({"options": {"top_k": 3}}, NotAsked, "VALIDATION_ERROR"),
        ({"options": {"logprobs": True}, "policy": {"privacy": {"redact_pii": True}}}, NotAsked, "VALIDATION_ERROR"),
        ({"text": "a\x00b"}, NotAsked, "VALIDATION_ERROR"),
        ({"text": "a\ud800b"}, NotAsked, "VALIDATION_ERROR"),
    ],
)
def test_what_is_wrong_is_found_before_there_is_a_run(
    bench: EngineBench, asked: dict[str, Any], error: type[LucidError], code: str
) -> None:
    count = "SELECT count(*) AS runs, coalesce(max(id), 0) AS newest FROM runs"
    before = bench.row(count)
    with pytest.raises(error) as raised:
        bench.ask(**asked)
    assert raised.value.code == code
    assert bench.row(count) == before


def test_a_test_key_runs_on_the_simulated_model_alone(bench: EngineBench) -> None:
    live, test = bench.ask(), bench.ask(mode=Mode.TEST)
    shared = {node.passport_id for node in live.plan.nodes} & {node.passport_id for node in test.plan.nodes}
    assert shared == set()
    assert bench.done(test).run.state is RunState.COMPLETE
    assert bench.usage(test)["mode"] == "test"


def test_a_test_key_is_told_where_there_is_no_simulated_model(make_bench: Callable[..., EngineBench]) -> None:
    bench = make_bench(SIM_OPENAI_BASE_URL="")
    with pytest.raises(Unavailable, match="SIM_OPENAI_BASE_URL"):
        bench.ask(mode=Mode.TEST)
