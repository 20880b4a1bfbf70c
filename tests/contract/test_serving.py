"""The web process itself, over sockets: gunicorn, gevent, and what never reaches the application."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import httpx
import psycopg
import pytest

from devstack.supervisor import Stack

GARBAGE = {
    "no HTTP": (b"HELLO\r\n\r\n", 400),
    "a header that is none": (b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400),
    "an endless line": (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "endless headers": (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", 431),
    "an unknown coding": (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: foo\r\n\r\n", 501),
    "raw bytes in the path": (b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 400),
}


@pytest.mark.parametrize(("sent", "status"), GARBAGE.values(), ids=GARBAGE.keys())
def test_what_is_no_request_is_answered_in_json(web_url: str, sent: bytes, status: int) -> None:
    host, port = web_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(sent)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split()[1] == str(status).encode(), head
    assert b"application/json" in head
    assert b"<html" not in body.lower()


def test_the_server_names_no_version(web_url: str) -> None:
    assert httpx.get(f"{web_url}/api/healthz").headers["Server"] == "gunicorn"


def chunks() -> Iterator[bytes]:
    yield b'{"request": "'
    for _ in range(20):
        yield b"x" * 65_536
    yield b'"}'


def test_a_body_without_a_length_is_bounded_too(web_url: str) -> None:
    answer = httpx.post(f"{web_url}/api/jobs", content=chunks(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert answer.json()["code"] == "request_too_large"


def test_requests_that_wait_for_the_database_hold_up_nobody(stack: Stack, web_url: str) -> None:
    """Eight calls wait on a lock, in both processes; where the driver blocked its process, nothing else would answer."""
    job = httpx.post(f"{web_url}/api/jobs", json={"request": "Say hello."}).headers["Location"]
    with (
        psycopg.connect(stack.environment["DATABASE_URL"]) as connection,
        ThreadPoolExecutor(max_workers=8) as crowd,
    ):
        connection.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
        waiting = [crowd.submit(httpx.get, web_url + job, timeout=20) for _ in range(8)]
        with psycopg.connect(stack.environment["DATABASE_URL"], autocommit=True) as other:
            while other.execute("SELECT count(*) >= 8 FROM pg_locks WHERE NOT granted").fetchone() != (True,):
                assert not any(call.done() for call in waiting)
        began = monotonic()
        for _ in range(10):
            assert httpx.get(f"{web_url}/health/live", timeout=2).status_code == 200
        assert monotonic() - began < 2
        connection.rollback()
        assert {call.result().status_code for call in waiting} == {200}


def test_a_waiting_creation_is_woken_by_the_announcement(web_url: str) -> None:
    """Without the bus a waiter looks again once a second; at least one of five answers sooner."""
    took = []
    for _ in range(5):
        began = monotonic()
        assert httpx.post(f"{web_url}/api/jobs", json={"request": "Say hello."}).status_code == 201
        took.append(monotonic() - began)
    assert min(took) < 0.9


def test_the_log_holds_routes_and_no_ids(stack: Stack, web_url: str) -> None:
    created = httpx.post(f"{web_url}/api/jobs", json={"request": "Say hello."}, headers={"X-Request-Id": "trace-log-1"})
    httpx.get(web_url + created.headers["Location"], headers={"X-Request-Id": "trace-log-2"})
    written = stack.log("web")
    assert created.json()["jobId"] not in written
    assert created.json()["evalInvoice"]["paymentRequest"] not in written
    assert '"route": "/api/jobs/<id>"' in written
    assert '"cid": "trace-log-2"' in written
