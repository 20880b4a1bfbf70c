"""What the campaign does to the arena. Each fault is over when its function returns, or ends by itself."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

import httpx
import psycopg
import redis
from celery import Celery

from tests.campaign.arena import Arena
from tests.campaign.deaths import children
from tests.e2e.market import PROCESSES, QUICK
from tests.e2e.patience import eventually
from tests.e2e.second_process import second_process
from workers.chains import CHAINS, Link

Fault = Callable[[Arena, Random], None]

PARTS = ("postgres", "valkey", "lightning", "witness", "sim-model")
NUMBERED = {"job": "jobs", "invoice": "invoices", "request": "session_requests", "payout": "payouts", "run": "runs"}
LONGER_THAN_A_LEASE_S = float(QUICK["LEASE_S"]) + 1.5
WORKER_START_S = 3.0
_STORE_BACK_S = 30.0


def kill(name: str) -> Fault:
    """Return the fault that SIGKILLs a process; its supervisor starts it again."""
    return lambda arena, _: arena.process(name).kill()


def kill_a_web_worker(arena: Arena, random: Random) -> None:
    """SIGKILL one of the processes that gunicorn has forked."""
    pid = arena.process("web").await_running()
    with contextlib.suppress(ProcessLookupError):
        os.kill(random.choice(children(pid)), signal.SIGKILL)


def terminate_group(name: str) -> Fault:
    """Return the fault that sends SIGTERM to a whole process group, as platforms do when they restart a container."""
    return lambda arena, _: _signal_group(arena, name, signal.SIGTERM)


def terminate_everything(arena: Arena, _: Random) -> None:
    """SIGTERM to every group of the application at once: a deployment."""
    for name in PROCESSES:
        _signal_group(arena, name, signal.SIGTERM)


def freeze(name: str) -> Fault:
    """Return the fault that stops a process for longer than a lease and lets it go on: a zombie that believes in its lease."""

    def frozen(arena: Arena, _: Random) -> None:
        with _stopped(arena, name):
            threading.Event().wait(LONGER_THAN_A_LEASE_S)

    return frozen


def freeze_and_relieve(name: str) -> Fault:
    """Return the same fault for a worker, with another worker of its kind that takes its steps over meanwhile."""

    def frozen(arena: Arena, _: Random) -> None:
        with another(arena, name):
            with _stopped(arena, name):
                threading.Event().wait(LONGER_THAN_A_LEASE_S + WORKER_START_S)
            threading.Event().wait(1.0)

    return frozen


def flush_the_broker(arena: Arena, _: Random) -> None:
    """Empty Valkey: every queue, every binding, every announcement."""
    with broker(arena) as client:
        client.flushall()


def pause_the_broker(arena: Arena, _: Random) -> None:
    """Have Valkey answer nobody for three seconds."""
    with broker(arena) as client:
        client.client_pause(3000)
    threading.Event().wait(3.0)


def fill_the_broker(arena: Arena, _: Random) -> None:
    """Have Valkey refuse every write for three seconds, for want of memory."""
    with broker(arena) as client:
        client.config_set("maxmemory", "1")
    threading.Event().wait(3.0)
    with broker(arena) as client:
        client.config_set("maxmemory", "0")


def cut_every_session(arena: Arena, _: Random) -> None:
    """End every other session of the database, in the midst of whatever it does."""
    with database(arena) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )


def reset_the_database_wire(arena: Arena, _: Random) -> None:
    """Reset every connection to the database: whoever committed just now does not know whether he did."""
    arena.database_wire.reset()


def reset_the_broker_wire(arena: Arena, _: Random) -> None:
    """Reset every connection to Valkey."""
    arena.broker_wire.reset()


def half_open_broker(arena: Arena, _: Random) -> None:
    """Have every present connection to Valkey swallow what is sent, without an error and without an end."""
    arena.broker_wire.swallow()


def half_open_database(arena: Arena, _: Random) -> None:
    """Have every present connection to the database swallow what is sent, without an error and without an end."""
    arena.database_wire.swallow()


def ring_everything_again(arena: Arena, _: Random) -> None:
    """Put every step that has to do with money or a run into the outbox twice more, in random order, done or not."""
    with database(arena) as connection:
        connection.execute(
            """INSERT INTO outbox (topic, payload, cid)
               SELECT owner_kind || '.' || name, jsonb_build_object('id', owner_id), cid FROM steps, generate_series(1, 2)
                WHERE owner_kind IN ('job', 'invoice', 'request', 'payout', 'anchor', 'run') AND created_at > now() - interval '1 minute'
                ORDER BY random() LIMIT 300"""
        )


def ring_out_of_turn(arena: Arena, random: Random) -> None:
    """Send the workers every link of the chains of what is newest, in random order, past the outbox."""
    calls: list[tuple[str, Link, int]] = []
    with database(arena) as connection:
        for kind, table in NUMBERED.items():
            newest = connection.execute(f"SELECT id FROM {table} ORDER BY id DESC LIMIT 8".encode()).fetchall()  # noqa: S608 - our own names
            calls += [(kind, link, int(row[0])) for row in newest for links in CHAINS[kind] for link in links]
    random.shuffle(calls)
    with Celery("campaign", broker=arena.parts.endpoints["redis_url"], set_as_current=False) as courier:
        for kind, link, owner in calls:
            courier.send_task(f"{kind}.{link.step}", args=(owner,), queue=link.queue.name)


def disturb_payments(fault: str, **more: float) -> Fault:
    """Return the fault that has the merchant's node misbehave over the next two payments that it is to send."""

    def disturbed(arena: Arena, _: Random) -> None:
        body = {"node": "lnd", "method": "SendPaymentV2", "fault": fault, "times": 2, **more}
        with contextlib.suppress(httpx.HTTPError):  # the nodes are on their way back
            httpx.post(f"{arena.endpoints['lightning_control']}/faults", json=body, timeout=5, trust_env=False)

    return disturbed


def second_scheduler(arena: Arena, _: Random) -> None:
    """Run another beat beside the first for a while."""
    with another(arena, "beat"):
        threading.Event().wait(8.0)


KILLS: dict[str, Fault] = {
    **{f"kill {name}": kill(name) for name in (*PROCESSES, *PARTS)},
    "kill a web worker": kill_a_web_worker,
}
OTHERS: dict[str, Fault] = {
    "SIGTERM to the group of worker-llm": terminate_group("worker-llm"),
    "SIGTERM to the group of worker-inference": terminate_group("worker-inference"),
    "SIGTERM to the group of worker-money": terminate_group("worker-money"),
    "SIGTERM to the group of worker-payout": terminate_group("worker-payout"),
    "SIGTERM to all groups": terminate_everything,
    "SIGSTOP worker-llm": freeze_and_relieve("worker-llm"),
    "SIGSTOP worker-inference": freeze_and_relieve("worker-inference"),
    "SIGSTOP worker-money": freeze_and_relieve("worker-money"),
    "SIGSTOP worker-payout": freeze_and_relieve("worker-payout"),
    "SIGSTOP relay": freeze("relay"),
    "payments cut in flight": disturb_payments("drop_stream", seconds=2.0),
    "payments handed over in vain": disturb_payments("unavailable"),
    "payments whose answer is lost": disturb_payments("drop_after_settle"),
    "broker flushed": flush_the_broker,
    "broker paused": pause_the_broker,
    "broker full": fill_the_broker,
    "broker connections reset": reset_the_broker_wire,
    "broker connections half-open": half_open_broker,
    "database sessions cut": cut_every_session,
    "database connections reset": reset_the_database_wire,
    "database connections half-open": half_open_database,
    "messages repeated and mixed": ring_everything_again,
    "messages out of turn": ring_out_of_turn,
    "second scheduler": second_scheduler,
}
FAULTS = KILLS | OTHERS


@contextmanager
def another(arena: Arena, name: str, **more: str) -> Iterator[None]:
    """Run a second process of a Procfile line beside the first, with `more` variables, and kill it in the end."""
    with second_process(arena.application.environment | more, name):
        yield


@contextmanager
def broker(arena: Arena) -> Iterator[redis.Redis]:
    """Connect to Valkey past the wire, as soon as it is there."""
    client = redis.Redis.from_url(arena.parts.endpoints["redis_url"], socket_timeout=10)

    def answers() -> bool:
        with contextlib.suppress(redis.RedisError):
            return bool(client.ping())
        return False

    with contextlib.closing(client):
        eventually(answers, what="a broker", within_s=_STORE_BACK_S)
        yield client


@contextmanager
def database(arena: Arena) -> Iterator[psycopg.Connection]:
    """Connect to the database past the wire, as soon as it is there."""

    def connected() -> psycopg.Connection | None:
        with contextlib.suppress(psycopg.OperationalError):
            return psycopg.connect(arena.parts.endpoints["database_url"], autocommit=True, connect_timeout=5)
        return None

    with eventually(connected, what="a database", within_s=_STORE_BACK_S) as connection:
        yield connection


def _signal_group(arena: Arena, name: str, number: signal.Signals) -> None:
    pid = arena.process(name).await_running()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


@contextmanager
def _stopped(arena: Arena, name: str) -> Iterator[None]:
    pid = arena.process(name).await_running()
    _send(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        _send(pid, signal.SIGCONT)


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
