"""What a policy forbids does not happen: no call where no node is allowed, and no trace of an input that was not to be stored."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest
import redis

from config.queues import INFERENCE as INFERENCE_QUEUE
from config.settings import Settings
from tests.e2e.event_stream import events_of, require_one_end
from tests.e2e.gateway_hand import CHAT, INFERENCE, Gateway, chat, request
from tests.e2e.patience import eventually

V = {"policy_version": "1.0"}
FORBIDDING: dict[str, tuple[dict[str, Any], str]] = {
    "allow_regions": ({"allow_regions": ["nowhere"]}, "REGION_NOT_ALLOWED"),
    "residency_required": ({"residency_required": True}, "RESIDENCY_REQUIRED_NOT_SUPPORTED"),
    "attestation_required": ({"attestation": {"attestation_required": True}}, "ATTESTATION_REQUIRED_NOT_SUPPORTED"),
    "require_cc_on": ({"attestation": {"require_cc_on": True}}, "CC_ON_REQUIRED_NOT_SUPPORTED"),
    "max_price_per_1k_tokens_usd": ({"cost": {"max_price_per_1k_tokens_usd": 0}}, "COST_BUDGET_EXCEEDED"),
    "spot_only": ({"cost": {"spot_only": True}}, "SPOT_ONLY_NOT_SUPPORTED"),
}
STORE_NOTHING = {**V, "privacy": {"store_inputs": False}}


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("demand", FORBIDDING)
def test_where_no_node_is_allowed_nothing_is_asked_of_any(gateway: Gateway, demand: str, streams: bool) -> None:
    assert gateway.ask().status_code == httpx.codes.OK, "without the policy it would run"
    members, reason = FORBIDDING[demand]
    policy = {**V, **members}
    asked = gateway.model.mark()
    runs = gateway.tables.one("SELECT count(*) FROM runs")
    plain = gateway.ask(policy=policy, stream=streams)
    told = plain.json()
    assert (plain.status_code, told["error_code"]) == (422, "NO_COMPATIBLE_COMPUTE")
    assert told["details"]["rejected"], "no node is explained"
    assert all(reason in node["reasons"] for node in told["details"]["rejected"])
    openai = gateway.http.post(CHAT, json=chat("Hi.", policy=policy, stream=streams))
    assert (openai.status_code, openai.json()["error"]["code"]) == (422, "no_compatible_compute")
    assert gateway.model.mark() == asked
    assert gateway.tables.one("SELECT count(*) FROM runs") == runs


def test_an_input_that_is_not_to_be_stored_is_nowhere_while_it_runs_and_after(gateway: Gateway) -> None:
    mark = f"marker{uuid.uuid4().hex}"
    slow = request(f"{mark} [sim:total:2]", policy=STORE_NOTHING, stream=True)
    with gateway.http.stream("POST", INFERENCE, json=slow) as answer:
        events = events_of(answer)
        first = next(events)
        assert traces(gateway, mark) == [], "while it runs"
        require_one_end([first, *events])
    for path, body, status in (
        (INFERENCE, request(mark, policy=STORE_NOTHING), 200),
        (INFERENCE, request(f"{mark} [sim:status:400]", policy=STORE_NOTHING), 503),
        (INFERENCE, request(f"{mark} [sim:disconnect:3]", policy=STORE_NOTHING), 503),
        (INFERENCE, request(mark, policy={**STORE_NOTHING, "allow_regions": ["nowhere"]}), 422),
        (CHAT, chat(mark, policy=STORE_NOTHING, user=mark), 200),
        (CHAT, chat(mark, policy=STORE_NOTHING, max_tokens="many"), 400),
    ):
        answer = gateway.http.post(path, json=body, headers={"Idempotency-Key": uuid.uuid4().hex})
        assert answer.status_code == status, answer.text
    assert traces(gateway, mark) == [], "when all has ended"


def test_an_input_that_is_not_to_be_stored_does_not_travel_with_its_task(gateway: Gateway) -> None:
    mark = f"marker{uuid.uuid4().hex}"
    gateway.stack.process("worker-inference").stop(keep_down=True)
    body = request(mark, policy=STORE_NOTHING)
    run_id = gateway.http.post(INFERENCE, json=body, headers={"Prefer": "respond-async"}).json()["run"]["run_id"]
    with broker(gateway) as courier:
        eventually(lambda: courier.llen(INFERENCE_QUEUE.name), what="a task that waits for its worker")
    assert traces(gateway, mark) == [], "while it waits"
    gateway.stack.process("worker-inference").start()
    assert gateway.require_one_end(run_id)["outcome"] == "complete"
    assert traces(gateway, mark) == [], "when it has ended"


def test_an_input_that_may_be_stored_is_found_where_these_tests_look(gateway: Gateway) -> None:
    mark = f"marker{uuid.uuid4().hex}"
    run_id = gateway.ask(mark).json()["run_id"]
    gateway.require_one_end(run_id)
    assert "table runs" in traces(gateway, mark)
    with broker(gateway) as courier:
        courier.rpush("a list of these tests", f"{{{mark}}}")
        assert [place for place in traces(gateway, mark) if place.startswith("redis")] != []
        courier.delete("a list of these tests")


def test_the_events_are_on_the_brokers_server(gateway: Gateway) -> None:
    """Or else these tests would have to look there as well."""
    settings = Settings.load(gateway.stack.environment)
    assert urlsplit(settings.redis_url).netloc == urlsplit(settings.redis_events_url).netloc


def test_a_run_ends_when_the_policys_time_is_up(gateway: Gateway) -> None:
    policy = {**V, "latency": {"hard_timeout_ms": 800}}
    answer = gateway.ask("[sim:total:6]", policy=policy)
    told = answer.json()
    assert (answer.status_code, told["error_code"]) == (503, "TIMEOUT")
    assert 700 <= told["total_latency_ms"] < 2500
    usage = gateway.require_one_end(told["run_id"])
    assert usage["outcome"] == "timed_out"
    eventually(
        lambda: "running" not in gateway.model.outcomes(since=gateway.model.mark() - 1), what="a closed connection"
    )


# -- where a text could be


def traces(gateway: Gateway, mark: str) -> list[str]:
    """Return every place that holds `mark`: a table's row (bytes too), a key of Redis, a file of the stack, logs among them."""
    return [*_tables(gateway, mark), *_keys(gateway, mark), *_files(gateway, mark)]


def _tables(gateway: Gateway, mark: str) -> Iterator[str]:
    names = gateway.tables.rows(
        "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
    )
    for name in (row["name"] for row in names):
        looked = f'SELECT count(*) FROM "{name}" AS kept WHERE kept::text LIKE %(plain)s OR kept::text LIKE %(hex)s'  # noqa: S608
        if gateway.tables.one(looked, plain=f"%{mark}%", hex=f"%{mark.encode().hex()}%"):
            yield f"table {name}"


def _keys(gateway: Gateway, mark: str) -> Iterator[str]:
    """Look into every database of the server that the broker and the events are on."""
    with broker(gateway) as found:
        databases = range(int(found.config_get("databases")["databases"]))
    for number in databases:
        with broker(gateway, database=number) as courier:
            for key in courier.scan_iter(count=1000):
                if mark.encode() in key + _held(courier, key):
                    yield f"redis {number} {key!r}"


def _held(courier: redis.Redis, key: bytes) -> bytes:
    readers = {
        b"string": lambda: courier.get(key),
        b"list": lambda: courier.lrange(key, 0, -1),
        b"set": lambda: courier.smembers(key),
        b"zset": lambda: courier.zrange(key, 0, -1),
        b"hash": lambda: courier.hgetall(key),
        b"stream": lambda: courier.xrange(key),
        b"none": lambda: b"",
    }
    return repr(readers[courier.type(key)]()).encode()


def _files(gateway: Gateway, mark: str) -> Iterator[str]:
    """Look into every file of the stack's home: logs, and whatever the stores write, journals too."""
    for path in gateway.stack.home.folder.rglob("*"):
        try:
            held = path.read_bytes() if path.is_file() else b""
        except OSError:  # gone since, as a store's own files may be
            continue
        if mark.encode() in held:
            yield f"file {path.name}"


def broker(gateway: Gateway, *, database: int = 0) -> redis.Redis:
    url = urlsplit(gateway.stack.environment["REDIS_URL"])
    return redis.Redis.from_url(urlunsplit(url._replace(path=f"/{database}")))
