"""The settlement table's column of inference runs, cell by cell and on every billable route: row, usage and receipt are held to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from shared.inference.model import ROUTES, RunState
from shared.merkle.checkpoint import SignedCheckpoint
from shared.merkle.verify import verify_inclusion
from tests.e2e.event_stream import events_of, require_one_end
from tests.e2e.gateway_hand import CHAT, INFERENCE, Gateway, chat, request, unlike
from tests.e2e.patience import at_once, eventually

Cell = dict[str, Any]
Table = dict[str, Cell]
Producer = TypeVar("Producer", bound=Callable[..., None])

NOT_CREATED = "not_created"
ABSENT = {"policy_version": "1.0"}
TOKENS = 30
SLOW = f"[sim:tokens:{TOKENS}][sim:pace:0.1]"
PATIENCE_S = 60.0
VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "jcs_policy_hash.json").read_text(encoding="utf-8"))

PRODUCERS: dict[str, str] = {}


def produces(situation: str) -> Callable[[Producer], Producer]:
    """Name the cell that a test brings about, on every billable route."""

    def note(test: Producer) -> Producer:
        assert situation not in PRODUCERS, "one test a cell"
        PRODUCERS[situation] = test.__name__
        return test

    return note


@pytest.fixture(scope="module")
def table(_open_gateway: Gateway) -> Table:
    """The column as it is published."""
    published = _open_gateway.http.get("/v1/pricing/settlement").json()["table"]
    return {row["situation"]: row["inference"] for row in published if row["inference"]}


def test_every_published_cell_is_brought_about_by_a_test_here(table: Table) -> None:
    assert set(table) == set(PRODUCERS)
    assert all(callable(globals()[name]) for name in PRODUCERS.values())


def test_the_cells_states_are_those_of_runs_and_the_routes_are_all_that_bill(table: Table) -> None:
    assert {cell["ends_as"] for cell in table.values()} == {NOT_CREATED, "complete", "failed", "cancelled"}
    assert {cell["ends_as"] for cell in table.values()} - {NOT_CREATED} <= {str(state) for state in RunState}
    assert set(ROUTES.values()) == {INFERENCE, CHAT}


# -- what the codes mean


def require_cell(cell: Cell, gateway: Gateway, route: str, run_id: str, *, because: str, outcome: str = "") -> None:
    """The run ended as the cell says: in its row, its one usage row and its one receipt, which the log can be shown to hold."""
    usage = gateway.require_one_end(run_id, within_s=PATIENCE_S)
    assert gateway.state(run_id) == cell["ends_as"]
    assert (usage["route"], usage["outcome"]) == (route, outcome or cell["outcome"])
    if cell["counted"] == "no_tokens":
        assert (usage["tokens_in"], usage["tokens_out"]) == (0, 0)
    elif cell["counted"] == "what_was_generated":
        assert 0 < usage["tokens_out"] < TOKENS
    else:
        assert (cell["counted"], usage["tokens_out"]) == ("the_answer", TOKENS)
        assert usage["tokens_in"] > 0
    require_receipt(gateway, run_id, because=because)


def require_receipt(gateway: Gateway, run_id: str, *, because: str) -> None:
    """The run's receipt says why it ended and has the vectors' policy hash; it verifies, and a signed checkpoint includes it."""
    (receipt,) = gateway.receipts(run_id)
    assert (receipt["finish_reason"], receipt["policy_hash"]) == (because, hash_in_vectors(ABSENT))
    path = f"/v1/receipts/{run_id}"

    def proven() -> dict[str, Any] | None:
        answer = gateway.http.get(f"{path}/proof")
        return dict(answer.json()["proof"]) if answer.is_success else None

    proof = eventually(proven, what="an inclusion proof")
    verified = gateway.http.get(f"{path}/verify").json()
    assert (verified["hash_valid"], verified["signature_valid"], verified["inclusion_valid"]) == (True, True, True)
    verify_inclusion(
        leaf=bytes.fromhex(proof["leaf_hash"]),
        index=proof["leaf_index"],
        size=proof["tree_size"],
        proof=[bytes.fromhex(sibling) for sibling in proof["proof"]],
        root=SignedCheckpoint.parse(proof["checkpoint"]).checkpoint.root,
    )


def hash_in_vectors(policy: dict[str, Any]) -> str:
    found = [str(vector["sha256"]) for vector in VECTORS["vectors"] if json.loads(vector["input_json"]) == policy]
    return found[0]


def asked(route: str, text: str, **members: Any) -> dict[str, Any]:
    """Return the body of a request to either route."""
    return request(text, **members) if route == INFERENCE else chat(text, **members)


def ask(gateway: Gateway, route: str, text: str, **members: Any) -> httpx.Response:
    """Ask over a connection of its own, and wait."""
    with httpx.Client(base_url=gateway.url, headers=gateway.http.headers, timeout=90, trust_env=False) as http:
        return http.post(route, json=asked(route, text, **members))


def on_each_route(act: Callable[[str], str]) -> list[tuple[str, str]]:
    """Have `act` done on every billable route at once; answer each route with its run."""
    return at_once(*(lambda route=route: (route, act(route)) for route in ROUTES.values()))


def running(gateway: Gateway, trace: str) -> str:
    """Wait until the newest run with this trace id is worked on; return its id."""
    run_id = eventually(lambda: gateway.newest_run(trace_id=trace), what="a run", within_s=PATIENCE_S)
    eventually(lambda: gateway.state(run_id) == "running", what="a run at work", within_s=PATIENCE_S)
    return run_id


# -- the request is invalid, the work fails


@produces("request_invalid")
def test_an_invalid_request_leaves_no_run_no_usage_and_no_receipt(gateway: Gateway, table: Table) -> None:
    cell = table["request_invalid"]
    assert (cell["ends_as"], cell["outcome"], cell["counted"]) == (NOT_CREATED, None, "nothing")

    def rows() -> list[Any]:
        return [gateway.tables.one(f"SELECT count(*) FROM {name}") for name in ("runs", "usage", "receipts")]  # noqa: S608 - our own names

    before, mark = rows(), gateway.model.mark()
    for route in ROUTES.values():
        wrong: list[dict[str, Any]] = [
            {},
            asked(route, "x", temperature=3),
            asked(route, "x", policy={"policy_version": "1.0", "x": 1}),
            asked(route, "x", policy={**ABSENT, "allow_regions": ["moon"]}),
            {**asked(route, "x"), "model": "nothing"},
        ]
        answers = [gateway.http.post(route, json={**body, **way}) for body in wrong for way in ({}, {"stream": True})]
        assert {answer.status_code for answer in answers} <= {400, 404, 422}
    assert (rows(), gateway.model.mark()) == (before, mark)


@produces("work_fails")
def test_work_that_fails_bills_no_tokens(gateway: Gateway, table: Table) -> None:
    cell = table["work_fails"]

    def refused(route: str) -> str:
        answer = ask(gateway, route, "[sim:status:500]")
        assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
        return answer.headers["X-Run-ID"]

    def broken_off(route: str) -> str:
        """Some of the answer had been sent."""
        answer = ask(gateway, route, "[sim:tokens:30][sim:disconnect:5]", stream=True)
        assert answer.status_code == httpx.codes.OK
        assert not answer.text.endswith("[DONE]\n\n")
        return answer.headers["X-Run-ID"]

    for act in (refused, broken_off):
        for route, run_id in on_each_route(act):
            require_cell(cell, gateway, route, run_id, because="error")


def test_work_whose_time_runs_out_bills_no_tokens(gateway: Gateway, table: Table) -> None:
    policy = {**ABSENT, "latency": {"hard_timeout_ms": 500}}

    def cut(route: str) -> str:
        answer = ask(gateway, route, "[sim:hang]", policy=policy)
        assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
        return answer.headers["X-Run-ID"]

    for route, run_id in on_each_route(cut):
        usage = gateway.require_one_end(run_id)
        assert (gateway.state(run_id), usage["route"]) == (table["work_fails"]["ends_as"], route)
        assert (usage["outcome"], usage["tokens_in"], usage["tokens_out"]) == ("timed_out", 0, 0)
        assert [receipt["finish_reason"] for receipt in gateway.receipts(run_id)] == ["timeout"]


# -- the caller leaves, or cancels


@produces("caller_leaves")
def test_of_a_caller_who_leaves_what_was_generated_is_counted(gateway: Gateway, table: Table) -> None:
    def left(route: str) -> str:
        body = asked(route, SLOW, stream=True)
        with (
            httpx.Client(base_url=gateway.url, headers=gateway.http.headers, timeout=60, trust_env=False) as http,
            http.stream("POST", route, json=body) as answer,
        ):
            events = events_of(answer)
            for _ in range(4):
                next(events)
            return answer.headers["X-Run-ID"]

    for route, run_id in on_each_route(left):
        require_cell(table["caller_leaves"], gateway, route, run_id, because="disconnected")


@produces("caller_cancels")
def test_of_a_run_that_is_cancelled_what_was_generated_is_counted(gateway: Gateway, table: Table) -> None:
    def cancelled(route: str) -> str:
        placed = gateway.http.post(route, json=asked(route, SLOW, stream=True), headers={"Prefer": "respond-async"})
        run_id = placed.headers["X-Run-ID"]
        with httpx.Client(base_url=gateway.url, headers=gateway.http.headers, timeout=60, trust_env=False) as http:
            with http.stream("GET", f"/v1/runs/{run_id}/events") as answer:
                events = events_of(answer)
                read = [next(events) for _ in range(3)]
                http.post(f"/v1/runs/{run_id}/cancel").raise_for_status()
                read += list(events)
        assert require_one_end(read).is_fault
        return run_id

    for route, run_id in on_each_route(cancelled):
        require_cell(table["caller_cancels"], gateway, route, run_id, because="cancelled")


# -- the worker dies


@produces("worker_dies")
def test_a_run_whose_worker_dies_is_done_again_and_counted_once(gateway: Gateway, table: Table) -> None:
    traces = {route: unlike("dies") for route in ROUTES.values()}

    def kill() -> tuple[str, str]:
        for trace in traces.values():
            running(gateway, trace)
        gateway.stack.process("worker-inference").kill()
        return "", ""

    def answered(route: str) -> tuple[str, str]:
        answer = ask(gateway, route, SLOW, trace_id=traces[route])
        assert answer.status_code == httpx.codes.OK, answer.text
        return route, answer.headers["X-Run-ID"]

    _, *ended = at_once(kill, *(lambda route=route: answered(route) for route in traces))
    for route, run_id in ended:
        require_cell(table["worker_dies"], gateway, route, run_id, because="stop")
        moves = gateway.tables.rows(
            "SELECT events.name FROM events JOIN runs ON owner_kind = 'run' AND owner_id = runs.id WHERE run_id = %(run)s ORDER BY seq",
            run=run_id,
        )
        assert [move["name"] for move in moves] == ["created", "started", "restarted", "completed"]


@produces("worker_dies_mid_stream")
def test_a_stream_whose_worker_dies_ends_in_an_error_and_bills_no_tokens(gateway: Gateway, table: Table) -> None:
    body = {route: asked(route, SLOW, stream=True) for route in ROUTES.values()}
    with (
        httpx.Client(base_url=gateway.url, headers=gateway.http.headers, timeout=60, trust_env=False) as http,
        http.stream("POST", INFERENCE, json=body[INFERENCE]) as inference,
        http.stream("POST", CHAT, json=body[CHAT]) as completions,
    ):
        streams = {INFERENCE: (inference, events_of(inference)), CHAT: (completions, events_of(completions))}
        read = {route: [next(events) for _ in range(3)] for route, (_, events) in streams.items()}
        gateway.stack.process("worker-inference").kill()
        for route, (_, events) in streams.items():
            read[route] += list(events)
        runs = {route: answer.headers["X-Run-ID"] for route, (answer, _) in streams.items()}
    for route, run_id in runs.items():
        assert require_one_end(read[route]).is_fault
        require_cell(table["worker_dies_mid_stream"], gateway, route, run_id, because="interrupted")
        assert gateway.tables.one("SELECT error_code FROM runs WHERE run_id = %(run)s", run=run_id) == "INTERRUPTED"


# -- and where nothing goes wrong


@pytest.mark.parametrize("stream", [False, True])
def test_a_complete_run_counts_its_answer_once(gateway: Gateway, stream: bool) -> None:
    complete = {"ends_as": "complete", "outcome": "complete", "counted": "the_answer"}

    def done(route: str) -> str:
        answer = ask(gateway, route, f"[sim:tokens:{TOKENS}]", stream=stream, policy=ABSENT)
        assert answer.status_code == httpx.codes.OK, answer.text
        return answer.headers["X-Run-ID"]

    for route, run_id in on_each_route(done):
        require_cell(complete, gateway, route, run_id, because="stop")
