"""Hostile bodies, headers, targets, methods and framings on every route there is, over bare sockets.

Whatever comes: an answer that is no fault of ours, never HTML, in the shape of its door; then the connection serves the next request
or closes in good order. A route meets a share of the attacks here, and all of them where LUCID_SOAK is set.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import unquote_to_bytes

import pytest
from flask import Flask
from flask.testing import FlaskClient
from gevent import socket as gevent_socket
from gunicorn.config import Config
from gunicorn.http import get_parser
from werkzeug.exceptions import RequestTimeout

from devstack.supervisor import Stack
from tests.contract import hostile, hostile_framing
from tests.contract.document_comparison import operations
from tests.contract.raw_http import Reply, Wire
from web.documents import AGENT, GATEWAY, VERIFICATION
from web.pipelines.addresses import canonical
from web.problems import Door, door_of
from web.serving import ArrivingBody

IS_SOAK = bool(os.environ.get("LUCID_SOAK"))
NOT_BUILT_PAGE = (Path(__file__).resolve().parents[2] / "docs" / "not-built.md").read_text(encoding="utf-8")
HTML_PAGES = {"/docs"}
REFUSED_OUTSIDE = frozenset({400, 403, 408, 413, 414, 417, 431})
"""What is said before any route is known; 501 besides, to a transfer coding that nobody knows."""

sent = count(1)
"""Numbers the requests of this file."""

Attack = TypeVar("Attack")


@dataclass(frozen=True)
class Route:
    """One method at one address; `path` has plausible ids. `refusals`: the 5xx that it says it may answer."""

    method: str
    path: str
    is_built: bool
    refusals: frozenset[int]

    def share(self) -> int:
        """Return of how many attacks it meets one."""
        if IS_SOAK:
            return 1
        return 6 if self.is_built else 40


def routes_of(app: Flask, client: FlaskClient) -> list[Route]:
    declared = {
        (method.upper(), served.base + path): frozenset(int(code) for code in operation["responses"])
        for served in (AGENT, GATEWAY, VERIFICATION)
        for method, path, operation in operations(client.get(served.path).get_json())
    }
    not_built = set(re.findall(r"^\| ([A-Z]+) \| `([^`]+)` \|", NOT_BUILT_PAGE, re.MULTILINE))
    found = []
    for rule in app.url_map.iter_rules():
        address = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        path = re.sub(r"\{\w+\}", hostile.ID.decode(), address)
        for method in sorted((rule.methods or set()) - {"OPTIONS", "HEAD"}):
            is_built = (method, address) not in not_built
            refusals = declared.get((method, address), frozenset()) & {501, 503} if is_built else frozenset({501})
            found.append(Route(method, path, is_built, refusals))
    return found


class Talk:
    """Requests to one server, over one connection for as long as it lasts; every answer is held against the rules."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._wire = Wire(url)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wire.close()

    def ask(self, line: bytes, rest: bytes, *, host: bytes = b"a") -> tuple[Reply, bool]:
        """Send a whole request, `rest` being its further headers, the empty line and its body.

        Return the answer, and whether the application gave it rather than the server before it.
        """
        name = f"hostile-{next(sent)}"
        self._wire.send(line + b" HTTP/1.1\r\nHost: " + host + b"\r\nX-Request-Id: " + name.encode() + b"\r\n" + rest)
        reply = self._wire.reply(line.partition(b" ")[0].decode("latin-1"))
        assert reply is not None, "closed without an answer"
        is_ours = reply.headers["x-request-id"] == name
        assert is_ours or (reply.headers["connection"] == "close" and reply.status in REFUSED_OUTSIDE), reply
        if reply.headers["connection"] == "close":
            self._begin_anew()
        return reply, is_ours

    def break_off(self, content: bytes) -> list[Reply]:
        """Send `content` and nothing more; return every answer until the server closes, in good order."""
        next(sent)
        self._wire.send(content)
        self._wire.end()
        replies = list(iter(self._wire.reply, None))
        self._wire.close()
        self._wire = Wire(self._url)
        return replies

    def _begin_anew(self) -> None:
        assert self._wire.reply() is None, "an answer that nobody asked for"
        self._wire.close()
        self._wire = Wire(self._url)


@pytest.fixture(scope="module")
def routes(app: Flask) -> list[Route]:
    found = routes_of(app, app.test_client())
    assert any(route.is_built for route in found)
    return found


@pytest.fixture(scope="module", autouse=True)
def unharmed(stack: Stack, web_url: str) -> Iterator[None]:
    """Whatever this file sends leaves no fault in the log, ends no worker, and the service in good health."""
    before = len(stack.log("web"))
    yield
    with Talk(web_url) as talk:
        assert talk.ask(b"GET /health/live", b"\r\n")[0].status == 200
    print(f"{next(sent) - 1} hostile requests")  # with -s
    written = stack.log("web")[before:]
    for sign in ('"unhandled"', "Traceback", "Booting worker"):
        assert sign not in written, written[max(0, written.find(sign) - 500) :][:3000]


@pytest.fixture
def talk(web_url: str) -> Iterator[Talk]:
    with Talk(web_url) as talk:
        yield talk


def meetings(routes: list[Route], attacks: Collection[Attack]) -> Iterator[tuple[Route, Attack]]:
    """Pair routes and attacks. Which share a route meets turns from route to route, so that each attack meets several."""
    for turn, route in enumerate(routes):
        for index, attack in enumerate(attacks):
            if (index + turn) % route.share() == 0:
                yield route, attack


def check_answer(reply: Reply, *, path: bytes, refusals: Collection[int]) -> None:
    at = canonical("/" + unquote_to_bytes(path).decode(errors="replace").lstrip("/"))
    assert reply.status < 500 or reply.status in refusals, (path[:80], reply)
    if reply.status == 503 and at.startswith("/health"):
        return  # the report of what is down, which is what was asked for
    if reply.status == 503:
        assert int(reply.headers["retry-after"]) > 0
    is_html = "html" in reply.media_type or b"<html" in reply.body[:2000].lower()
    assert not is_html or (at in HTML_PAGES and reply.status == 200), (path[:80], reply)
    if reply.status >= 400 and reply.body:
        check_error(reply, door_of(at))


def check_error(reply: Reply, door: Door) -> None:
    assert reply.media_type in ("application/json", "application/problem+json"), reply
    body = reply.json()
    if reply.media_type == "application/problem+json":
        assert body["status"] == reply.status
        return
    match door:
        case Door.GATEWAY:
            assert body["success"] is False
            assert isinstance(body["message"], str)
            assert body["error"] == body["error_code"] == body["error_code"].upper()
        case Door.OPENAI:
            assert set(body["error"]) >= {"message", "type", "param", "code"}
            assert isinstance(body["error"]["message"], str)
        case Door.VERIFICATION:
            assert set(body["error"]) == {"code", "message"}
        case Door.AGENT:
            assert isinstance(body["error"], str)
            assert body["code"] == body["code"].lower()


def check_refusal(reply: Reply) -> None:
    """Hold an answer of the server itself, which knows no route, against the gateway's shape."""
    assert reply.status in REFUSED_OUTSIDE or reply.status == 501, reply
    assert reply.headers["connection"] == "close"
    assert reply.json()["request_id"] == reply.headers["x-request-id"]
    check_error(reply, Door.GATEWAY)


def check(talk: Talk, line: bytes, rest: bytes, *, refusals: Collection[int], host: bytes = b"a") -> Reply:
    reply, is_ours = talk.ask(line, rest, host=host)
    if is_ours:
        check_answer(reply, path=hostile.path_of(line.split(b" ")[1]), refusals=refusals)
    else:
        check_refusal(reply)
    return reply


def test_every_route_answers_what_it_declares_when_nothing_is_wrong(talk: Talk, routes: list[Route]) -> None:
    for route in routes:
        reply = check(talk, f"{route.method} {route.path}".encode(), hostile.sized(b"{}"), refusals=route.refusals)
        assert route.is_built or reply.status == 501, (route, reply)


def test_no_body_makes_any_route_fail(talk: Talk, routes: list[Route]) -> None:
    for route, (name, rest) in meetings(routes, hostile.MESSAGES.items()):
        reply = check(talk, f"{route.method} {route.path}".encode(), rest, refusals=route.refusals)
        assert reply.status != 413 or "mebibyte" in name


def test_no_header_makes_any_route_fail(talk: Talk, routes: list[Route]) -> None:
    for route, lines in meetings(routes, hostile.HEADERS.values()):
        check(talk, f"{route.method} {route.path}".encode(), lines + hostile.sized(b"{}"), refusals=route.refusals)


def test_no_host_makes_any_route_fail(talk: Talk, routes: list[Route]) -> None:
    for route, host in meetings(routes, hostile.HOSTS):
        line = f"{route.method} {route.path}".encode()
        check(talk, line, hostile.sized(b"{}"), refusals=route.refusals, host=host)


def test_no_target_makes_any_route_fail(talk: Talk, routes: list[Route]) -> None:
    """A target may name another route than the one it is made from: any refusal that a route declares is in order."""
    refusals = frozenset[int]().union(*(route.refusals for route in routes))
    for route, target in meetings(routes, hostile.TARGETS.values()):
        check(talk, route.method.encode() + b" " + target(route.path.encode()), hostile.sized(b"{}"), refusals=refusals)
    for strange in hostile.STRANGE_TARGETS:
        for method in (b"GET", b"POST", b"OPTIONS", b"CONNECT"):
            check(talk, method + b" " + strange, hostile.sized(b"{}"), refusals=refusals)


def test_no_method_makes_any_route_fail(talk: Talk, routes: list[Route]) -> None:
    of_path = {route.path: frozenset[int]() for route in routes}
    for route in routes:
        of_path[route.path] |= route.refusals
    for route, method in meetings(routes, hostile.METHODS):
        check(talk, method + b" " + route.path.encode(), hostile.sized(b"{}"), refusals=of_path[route.path])
    for method in hostile.BAD_METHODS:
        (reply,) = talk.break_off(method + b" /api/jobs HTTP/1.1\r\nHost: a\r\n\r\n")
        check_refusal(reply)


def test_no_header_overrides_the_method_or_the_address(talk: Talk, routes: list[Route]) -> None:
    lines = [line for name, line in hostile.HEADERS.items() if re.match(r"X-(HTTP-)?Method|X-(Original|Rewrite)", name)]
    assert len(lines) >= 5
    for route in routes:
        if route.is_built and route.method == "GET":
            plain, _ = talk.ask(b"GET " + route.path.encode(), b"\r\n")
            overridden, _ = talk.ask(b"GET " + route.path.encode(), b"".join(lines) + b"\r\n")
            assert (plain.status, plain.media_type) == (overridden.status, overridden.media_type), route


def test_no_broken_framing_makes_any_route_fail(talk: Talk, routes: list[Route]) -> None:
    """Answered at most once: a second answer would be taken for the next request's by whoever shares the connection."""
    for route, (name, rest) in meetings(routes, hostile_framing.BROKEN.items()):
        line = f"{route.method} {route.path} HTTP/1.1\r\nHost: a\r\nX-Request-Id: broken-1\r\n".encode()
        replies = talk.break_off(line + rest)
        assert len(replies) == 1, (route, name, replies)
        if replies[0].headers["x-request-id"] == "broken-1":
            check_answer(replies[0], path=route.path.encode(), refusals=route.refusals)
        else:
            check_refusal(replies[0])


@pytest.mark.parametrize("name", [name for name in hostile_framing.BROKEN if not name.startswith("a header")])
def test_no_job_comes_of_a_request_that_is_broken(talk: Talk, name: str) -> None:
    (reply,) = talk.break_off(b"POST /api/jobs HTTP/1.1\r\nHost: a\r\n" + hostile_framing.BROKEN[name])
    assert reply.status in REFUSED_OUTSIDE or (name.startswith("Transfer-Encoding") and reply.status == 501), reply


@pytest.mark.parametrize("content", hostile_framing.NO_REQUESTS.values(), ids=hostile_framing.NO_REQUESTS.keys())
def test_what_is_no_request_is_refused_and_the_connection_closed(talk: Talk, content: bytes) -> None:
    replies = talk.break_off(content)
    assert len(replies) <= 1
    for reply in replies:
        check_refusal(reply)


@pytest.mark.parametrize("way", [b"Connection: close\r\n", b""], ids=["closing", "staying"])
@pytest.mark.parametrize("line", [b"POST /api/jobs", b"POST /nothing/here", b"GET /api/healthz"])
def test_a_body_that_is_too_large_is_read_past_and_the_refusal_arrives(talk: Talk, line: bytes, way: bytes) -> None:
    """Closing on unread bytes resets the connection, and a reset can overtake the answer."""
    for rest in (hostile.sized(b"x" * 5 * hostile.MEGABYTE, way), way + hostile.chunked(b" " * 5 * hostile.MEGABYTE)):
        reply, is_ours = talk.ask(line, rest)
        assert is_ours
        assert reply.status in ({413, 404, 200} if b"Chunked" in rest or b"chunked" in rest else {413})
    assert talk.ask(b"GET /api/healthz", b"\r\n")[0].status == 200


def test_the_newest_version_that_is_spoken_is_the_one_that_is_answered(talk: Talk) -> None:
    (reply,) = talk.break_off(b"GET /api/healthz HTTP/1.9\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert reply.status == 200


def test_a_body_that_does_not_arrive_in_time_is_given_up() -> None:
    sender, receiver = gevent_socket.socketpair()
    with sender, receiver:
        sender.sendall(b"POST /api/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 25\r\n\r\n{")
        request = next(get_parser(Config(), receiver, ("127.0.0.1", 1)))
        body = ArrivingBody(request, seconds=0.05)
        with pytest.raises(RequestTimeout):
            body.read()
        assert request.should_close()
        assert body.discard(seconds=1) is False
