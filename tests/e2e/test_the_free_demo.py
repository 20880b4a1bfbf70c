"""The free demo, over HTTP against three web processes: what counts, for whom, and what it costs nobody."""

from __future__ import annotations

import itertools
import os
import uuid
from collections.abc import Iterator

import httpx
import psycopg
import pytest
import redis

from config.settings import Settings
from devstack.supervisor import Stack
from shared.agent.demo.client import WINDOW_S, CallCounter
from shared.bootstrap import Role, build
from shared.events.client import connect
from shared.kernel.errors import TooMany
from shared.kernel.ids import Ids
from tests.e2e.ledger_reader import LedgerReader
from tests.e2e.market import QUICK
from tests.e2e.model_hand import ModelHand
from tests.e2e.patience import at_once, eventually

LIMIT = 5
_addresses = itertools.count(1)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack behind one trusted proxy, so that each test may be somebody else."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    settings = {"TRUSTED_PROXIES": "1", "WEB_CONCURRENCY": "3", "MAX_REQUEST_CHARS": "200", "SYNC_WAIT_S": "20"}
    environment = {**kept, **QUICK, **settings, "PORT": "0"}
    home = tmp_path_factory.mktemp("demo")
    with Stack(home, environment, real_model=False, processes=("web", "relay", "worker-llm")) as running:
        yield running


@pytest.fixture
def ledger(stack: Stack) -> Iterator[LedgerReader]:
    reader = LedgerReader(stack.endpoints["database_url"])
    yield reader
    reader.close()


@pytest.fixture
def model(stack: Stack) -> Iterator[ModelHand]:
    hand = ModelHand(stack.endpoints["sim_llm"])
    yield hand
    hand.heal()
    hand.close()


@pytest.fixture
def events_redis(stack: Stack) -> Iterator[redis.Redis]:
    client = connect(stack.endpoints["redis_url"].rpartition("/")[0] + "/1")
    yield client
    client.close()


class Caller:
    """Somebody with an address of his own."""

    def __init__(self, stack: Stack) -> None:
        self.address = f"198.51.100.{next(_addresses)}"
        self._url = f"{stack.endpoints['web']}/api/demo"

    def ask(self, text: str = "Say something short.", *, mark: str = "") -> httpx.Response:
        """Ask over a connection of its own, so that any of the web processes may answer."""
        return self.get({"request": f"{text} ({mark or uuid.uuid4().hex})"})

    def get(self, parameters: dict[str, str]) -> httpx.Response:
        headers = {"X-Forwarded-For": self.address}
        return httpx.get(self._url, params=parameters, headers=headers, timeout=40, trust_env=False)


@pytest.fixture
def caller(stack: Stack) -> Caller:
    return Caller(stack)


def test_the_agent_answers_for_nothing_and_leaves_no_trace_in_the_books(caller: Caller, ledger: LedgerReader) -> None:
    before = ledger.counts()
    answer = caller.ask()
    assert answer.status_code == httpx.codes.OK, answer.text
    assert set(answer.json()) == {"result"}
    assert answer.json()["result"].startswith("Simulated answer")
    assert answer.headers["Cache-Control"] == "no-store"
    after = ledger.counts()
    assert {name: after[name] - before[name] for name in ("jobs", "invoices", "entries", "receipts", "debts")} == (
        dict.fromkeys(("jobs", "invoices", "entries", "receipts", "debts"), 0)
    )


def test_five_calls_an_hour_from_one_address_then_429_until_the_oldest_leaves(stack: Stack, caller: Caller) -> None:
    assert [caller.ask().status_code for _ in range(LIMIT)] == [200] * LIMIT
    refused = caller.ask()
    assert refused.status_code == httpx.codes.TOO_MANY_REQUESTS
    assert refused.json()["code"] == "rate_limited"
    assert "5 calls an hour" in refused.json()["error"]
    assert WINDOW_S - 120 < int(refused.headers["Retry-After"]) <= WINDOW_S
    assert Caller(stack).ask().status_code == httpx.codes.OK


def test_the_limit_holds_when_many_ask_several_processes_at_once(stack: Stack, caller: Caller) -> None:
    statuses = [answer.status_code for answer in at_once(*[caller.ask] * 16)]
    assert sorted(statuses) == [200] * LIMIT + [429] * (16 - LIMIT)


def test_what_is_not_admissible_is_refused_before_it_is_counted(caller: Caller) -> None:
    for parameters in ({}, {"request": ""}, {"request": "  \n"}, {"request": "x" * 201}, {"request": "a\x00b"}):
        answer = caller.get(parameters)
        assert answer.status_code == httpx.codes.BAD_REQUEST, (parameters, answer.text)
    assert "character limit of 200" in caller.get({"request": "x" * 201}).json()["error"]
    assert [caller.ask().status_code for _ in range(LIMIT + 1)] == [200] * LIMIT + [429]
    assert caller.get({"request": ""}).status_code == httpx.codes.BAD_REQUEST


def test_a_refusal_is_a_400_with_the_reason_and_counts(caller: Caller, ledger: LedgerReader) -> None:
    mark = uuid.uuid4().hex
    refused = caller.ask("[sim:refuse] Book me a flight.", mark=mark)
    assert refused.status_code == httpx.codes.BAD_REQUEST, refused.text
    assert refused.json()["code"] == "refused"
    (row,) = ledger.rows("SELECT id, state, reason FROM demos WHERE request LIKE %(mark)s", mark=f"%{mark}%")
    assert (row["state"], row["reason"]) == ("rejected", refused.json()["error"])
    moves = ledger.rows(
        "SELECT from_state, to_state FROM events WHERE owner_kind = 'demo' AND owner_id = %(id)s ORDER BY seq",
        id=row["id"],
    )
    assert [tuple(move.values()) for move in moves] == [("", "evaluating"), ("evaluating", "rejected")]
    assert [caller.ask().status_code for _ in range(LIMIT)] == [200] * (LIMIT - 1) + [429]


@pytest.mark.parametrize("fault", ["status:400", "garbage_content"])
def test_a_model_that_fails_is_a_500_that_says_when_to_come_back(
    caller: Caller, model: ModelHand, ledger: LedgerReader, fault: str
) -> None:
    mark = uuid.uuid4().hex
    model.fault(fault, match=mark, times=None)
    failed = caller.ask(mark=mark)
    assert failed.status_code == httpx.codes.INTERNAL_SERVER_ERROR
    assert failed.json()["code"] == "demo_failed"
    assert int(failed.headers["Retry-After"]) > 0
    assert ledger.one("SELECT state FROM demos WHERE request LIKE %(mark)s", mark=f"%{mark}%") == "failed"


def test_an_hour_later_the_calls_have_left_one_by_one(caller: Caller, events_redis: redis.Redis) -> None:
    counter = CallCounter(events_redis, Ids(), limit=2, limit_in_all=1000)
    who = uuid.uuid4().bytes
    key = f"lucid:demo:{who.hex()}"
    first = counter.count(who)
    events_redis.zincrby(key, -1_800_000, first)  # as if half an hour had passed
    counter.count(who)
    with pytest.raises(TooMany) as caught:
        counter.count(who)
    assert 1795 <= caught.value.retry_after_s <= 1800
    events_redis.zincrby(key, -1_800_000, first)
    third = counter.count(who)
    with pytest.raises(TooMany) as caught:
        counter.count(who)
    assert 3595 <= caught.value.retry_after_s <= 3600
    counter.give_back(who, third)
    counter.count(who)
    assert 0 < events_redis.pttl(key) <= WINDOW_S * 1000


def test_a_limit_of_none_gives_nothing_away(events_redis: redis.Redis) -> None:
    with pytest.raises(TooMany) as caught:
        CallCounter(events_redis, Ids(), limit=0, limit_in_all=1000).count(uuid.uuid4().bytes)
    assert caught.value.retry_after_s == WINDOW_S


def test_all_addresses_together_have_a_bound_too(events_redis: redis.Redis) -> None:
    so_far = int(events_redis.zcard("lucid:demo-in-all"))
    counter = CallCounter(events_redis, Ids(), limit=5, limit_in_all=so_far + 2)
    who = uuid.uuid4().bytes
    counter.count(uuid.uuid4().bytes)
    mark = counter.count(who)
    with pytest.raises(TooMany, match="are used up") as caught:
        counter.count(uuid.uuid4().bytes)
    assert 0 < caught.value.retry_after_s <= WINDOW_S
    counter.give_back(who, mark)
    counter.count(uuid.uuid4().bytes)


def test_redis_holds_no_address(caller: Caller, events_redis: redis.Redis) -> None:
    caller.ask()
    keys = [key.decode() for key in events_redis.scan_iter("lucid:demo:*")]
    assert keys
    assert not any(caller.address in key for key in keys)


def test_a_call_is_forgotten_after_a_day(stack: Stack, caller: Caller, ledger: LedgerReader) -> None:
    old, young = uuid.uuid4().hex, uuid.uuid4().hex
    for mark in (old, young):
        assert caller.ask(mark=mark).status_code == httpx.codes.OK
    find = "SELECT id FROM demos WHERE request LIKE %(mark)s"
    (row_id, kept_id) = (ledger.one(find, mark=f"%{mark}%") for mark in (old, young))
    with psycopg.connect(stack.endpoints["database_url"]) as connection:
        for table, column, time in (("demos", "id", "created_at"), ("events", "owner_id", "at")):
            age = f"UPDATE {table} SET {time} = {time} - interval '25 h' WHERE {column} = %s"  # noqa: S608 - our own names
            connection.execute(age.encode(), (row_id,))
    container = build(Settings.load(stack.environment), Role.CLI)
    with container.database.transaction() as tx:
        container.demos.prune(tx)
    container.database.close()
    container.redis_events.close()
    events = "SELECT count(*) FROM events WHERE owner_kind = 'demo' AND owner_id = %(id)s"
    assert (ledger.rows(find, mark=f"%{old}%"), ledger.one(events, id=row_id)) == ([], 0)
    assert (len(ledger.rows(find, mark=f"%{young}%")), ledger.one(events, id=kept_id)) == (1, 3)


def test_where_nobody_can_count_nothing_is_free(stack: Stack, caller: Caller, ledger: LedgerReader) -> None:
    before = ledger.one("SELECT count(*) FROM demos")
    stack.process("valkey").stop()
    try:
        answer = caller.ask()
    finally:
        stack.process("valkey").start()
    assert answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR
    assert int(answer.headers["Retry-After"]) > 0
    assert ledger.one("SELECT count(*) FROM demos") == before
    eventually(lambda: Caller(stack).ask().status_code == httpx.codes.OK, what="a free call", within_s=60)
