"""API keys over HTTP: who is let in, in which order one is refused, how calls are counted, what administrators may do."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import count
from time import monotonic
from typing import Any
from uuid import uuid4

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from config.settings import Settings
from devstack.supervisor import Stack
from shared.access.keys import key_text
from shared.access.model import IssuedKey, Mode, Scope, Tier
from shared.bootstrap import Container, Role, build
from tests.contract.conftest import ADMIN_KEY
from tests.contract.test_credentials import MALFORMED
from web.app import create_app
from web.auth import caller, principal
from web.body import Fields
from web.door import Answers, Operations
from web.limits import limits_of

OPEN, CLOSED = "/v1/tests/open", "/v1/tests/closed"
KEYS = "/v1/admin/keys"
MINE = {"mode": "test", "label": "of a test"}

_strangers = count(1)
Opened = Callable[..., FlaskClient]


def stranger() -> dict[str, str]:
    """Return an address that nobody called from."""
    third, fourth = divmod(next(_strangers), 250)
    return {"REMOTE_ADDR": f"198.18.{third}.{fourth + 1}"}


def bearer(issued: IssuedKey | str) -> dict[str, str]:
    return {"Authorization": f"Bearer {issued if isinstance(issued, str) else issued.text}"}


def admin() -> dict[str, str]:
    return {"X-Admin-Key": ADMIN_KEY}


@contextmanager
def application(settings: Settings) -> Iterator[FlaskClient]:
    """An application of these settings, with an address that takes calls without a key and one that does not."""
    container = build(settings, Role.WEB)
    app = create_app(container)
    operations = Operations("Tests", __name__)

    @operations.post(OPEN, "tests_open", Answers(None), guard=caller(Scope.INFERENCE, anonymous=True), body=Fields)
    def call_open(body: dict[str, Any]) -> dict[str, Any]:
        """Tell who calls"""
        return {"tenant": principal().tenant, "mode": str(principal().mode), "nonce": uuid4().hex}

    @operations.get(CLOSED, "tests_closed", Answers(None), guard=caller(Scope.VERIFICATION, anonymous=False))
    def call_closed() -> dict[str, Any]:
        """Tell who calls"""
        return {"tenant": principal().tenant}

    app.register_blueprint(operations)
    yield app.test_client()
    limits_of(app).close()
    container.database.close()


@pytest.fixture
def opened(stack: Stack) -> Iterator[Opened]:
    """Open applications with some settings changed."""
    made: list[Any] = []

    def with_settings(**changed: Any) -> FlaskClient:
        context = application(replace(Settings.load(stack.environment), **changed))
        made.append(context)
        return context.__enter__()

    yield with_settings
    for context in made:
        context.__exit__(None, None, None)


@pytest.fixture
def issue(container: Container) -> Callable[..., IssuedKey]:
    def made(*scopes: Scope, mode: Mode = Mode.LIVE, tenant: str | None = None) -> IssuedKey:
        return container.api_keys.create(
            mode=mode, tier=Tier.FREE, scopes=scopes or (Scope.INFERENCE, Scope.VERIFICATION), tenant=tenant
        )

    return made


Issue = Callable[..., IssuedKey]


def code_of(answer: TestResponse) -> str:
    return str(answer.get_json()["error_code"])


# -- who is let in


def test_a_key_lets_its_tenant_in_at_the_addresses_of_its_scopes(opened: Opened, issue: Issue) -> None:
    client, key = opened(), issue()
    answer = client.post(OPEN, json={}, headers=bearer(key))
    assert (answer.status_code, answer.get_json()["tenant"]) == (200, key.record.tenant)
    assert client.get(CLOSED, headers=bearer(key)).get_json() == {"tenant": key.record.tenant}
    assert client.get(CLOSED, headers={"Authorization": f"  bearer   {key.text} "}).status_code == 200


def test_a_call_without_a_key_is_anonymous_only_where_address_and_operator_allow_it(opened: Opened) -> None:
    allowing, forbidding = opened(anonymous_calls=True), opened(anonymous_calls=False)
    assert allowing.post(OPEN, json={}, environ_overrides=stranger()).get_json()["tenant"] == "anonymous"
    for refused in (
        allowing.get(CLOSED),
        forbidding.post(OPEN, json={}),
        forbidding.get(CLOSED),
        allowing.get(KEYS),
    ):
        assert (refused.status_code, code_of(refused)) == (401, "UNAUTHORIZED")
        assert refused.headers["WWW-Authenticate"].startswith("Bearer")


def test_whatever_is_shown_and_is_no_key_is_401_even_where_nothing_needs_to_be_shown(opened: Opened) -> None:
    client = opened(anonymous_calls=True)
    invented = key_text(Mode.LIVE, b"\x07" * 28)
    for header in (*MALFORMED, f"Bearer {invented}", f"Bearer {invented[:-1]}", f"Basic {invented}", invented):
        for answer in (
            client.post(OPEN, json={}, environ_overrides={"HTTP_AUTHORIZATION": header}),
            client.get(KEYS, environ_overrides={"HTTP_AUTHORIZATION": header}),
        ):
            assert (answer.status_code, code_of(answer)) == (401, "INVALID_API_KEY"), header
            assert answer.headers["WWW-Authenticate"]


def test_two_credentials_in_one_call_are_none(opened: Opened, issue: Issue) -> None:
    client, key = opened(), issue()
    twice = [("Authorization", f"Bearer {key.text}"), ("Authorization", f"Bearer {key.text}")]
    assert client.get(CLOSED, headers=twice).status_code == 401
    for wrong in ("", "x", ADMIN_KEY[:-1], ADMIN_KEY + "x", "\xe9", f"{ADMIN_KEY},{ADMIN_KEY}"):
        assert client.get(CLOSED, headers={**bearer(key), "X-Admin-Key": wrong}).status_code == 401


def test_without_a_setting_no_admin_key_opens_anything(opened: Opened) -> None:
    client = opened(admin_key="")
    for shown in ("", ADMIN_KEY):
        assert client.get(KEYS, headers={"X-Admin-Key": shown}).status_code == 401


def test_a_revoked_key_is_refused_at_once_by_every_process(
    opened: Opened, issue: Issue, container: Container, web_url: str
) -> None:
    clients, key = (opened(), opened()), issue(Scope.ADMIN, Scope.VERIFICATION)
    assert all(client.get(CLOSED, headers=bearer(key)).status_code == 200 for client in clients)
    container.api_keys.revoke(key.record.key_id)
    assert all(client.get(CLOSED, headers=bearer(key)).status_code == 401 for client in clients)
    assert status_over_http(web_url, KEYS, bearer(key)) == 401


def test_an_address_that_no_key_opens_does_not_look_at_one(opened: Opened) -> None:
    client = opened(anonymous_calls=False)
    for path in ("/v1/epochs/stats", "/v1/trust", "/health/live", "/openapi.json"):
        assert client.get(path, headers={"Authorization": "Bearer nonsense"}).status_code == 200


# -- the order of refusals


def test_refusals_come_in_the_order_401_403_429_and_then_the_body(opened: Opened, issue: Issue) -> None:
    client = opened(key_per_minute=1)
    broken = {"data": "{", "content_type": "application/json"}
    wrong_scope, good = issue(Scope.VERIFICATION), issue(Scope.INFERENCE)
    assert client.post(OPEN, headers=bearer("lk_live_x"), **broken).status_code == 401
    for _ in range(3):
        answer = client.post(OPEN, headers=bearer(wrong_scope), **broken)
        assert (answer.status_code, code_of(answer)) == (403, "FORBIDDEN")
    assert client.post(OPEN, headers=bearer(good), **broken).status_code == 400
    assert client.post(OPEN, headers=bearer(good), **broken).status_code == 429


def test_no_scope_implies_another(opened: Opened, issue: Issue) -> None:
    client = opened()
    for scope, opens in ((Scope.INFERENCE, OPEN), (Scope.VERIFICATION, CLOSED), (Scope.ADMIN, KEYS)):
        key = issue(scope)
        for path in (OPEN, CLOSED, KEYS):
            answer = client.open(
                path, method="POST" if path == OPEN else "GET", json={} if path == OPEN else None, headers=bearer(key)
            )
            assert answer.status_code == (200 if path == opens else 403), (scope, path)


# -- counting


def test_every_answer_of_a_limited_address_tells_how_its_caller_stands(opened: Opened, issue: Issue) -> None:
    client, key, lesser = opened(key_per_minute=3), issue(), issue(Scope.ADMIN)
    answers = [client.post(OPEN, json={}, headers=bearer(key)) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert {answer.headers["RateLimit-Policy"] for answer in answers} == {'"key";q=3;w=60'}
    standings = [dict(part.split("=") for part in answer.headers["RateLimit"].split(";")[1:]) for answer in answers]
    assert [standing["r"] for standing in standings] == ["2", "1", "0", "0", "0"]
    assert all(0 < int(standing["t"]) <= 60 for standing in standings)
    assert answers[-1].headers["Retry-After"] == standings[-1]["t"]
    assert code_of(answers[-1]) == "RATE_LIMITED"
    refused = client.post(OPEN, json={}, headers=bearer(lesser))
    assert (refused.status_code, refused.headers["RateLimit"]) == (403, '"key";r=3;t=60')
    unknown = client.post(OPEN, json={}, headers=bearer("nonsense"))
    assert (unknown.status_code, unknown.headers["RateLimit-Policy"]) == (401, '"key";q=3;w=60')


def test_a_page_may_read_these_headers(opened: Opened, issue: Issue) -> None:
    answer = opened().post(OPEN, json={}, headers={**bearer(issue()), "Origin": "https://page.example"})
    exposed = {name.strip() for name in answer.headers["Access-Control-Expose-Headers"].split(",")}
    assert {"RateLimit", "RateLimit-Policy", "Retry-After", "WWW-Authenticate"} <= exposed


def test_keys_are_counted_one_by_one_and_anonymous_callers_by_address(opened: Opened, issue: Issue) -> None:
    client = opened(key_per_minute=1, anonymous_per_minute=2, anonymous_calls=True)
    tenant = issue().record.tenant
    for key in (issue(tenant=tenant), issue(tenant=tenant)):
        assert [client.get(CLOSED, headers=bearer(key)).status_code for _ in range(2)] == [200, 429]
    for where in (stranger(), stranger()):
        answers = [client.post(OPEN, json={}, environ_overrides=where) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[-1].headers["RateLimit-Policy"] == '"address";q=2;w=60'


def test_all_web_processes_count_together(opened: Opened, issue: Issue) -> None:
    key, clients = issue(), [opened(key_per_minute=4) for _ in range(2)]
    statuses = [clients[turn % 2].get(CLOSED, headers=bearer(key)).status_code for turn in range(6)]
    assert statuses == [200] * 4 + [429] * 2


@pytest.mark.parametrize("is_listening", [False, True], ids=["refusing", "silent"])
def test_without_redis_a_process_counts_on_by_itself_and_nobody_waits_long(
    opened: Opened, issue: Issue, is_listening: bool
) -> None:
    with closing(socket.socket()) as dead:
        dead.bind(("127.0.0.1", 0))
        if is_listening:
            dead.listen()
        client = opened(key_per_minute=3, redis_events_url=f"redis://127.0.0.1:{dead.getsockname()[1]}/1")
        key, began = issue(), monotonic()
        answers = [client.get(CLOSED, headers=bearer(key)) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert answers[-1].headers["Retry-After"]
        assert monotonic() - began < 3


# -- what a key's calls leave


def test_an_idempotency_key_belongs_to_tenant_and_mode_or_to_an_address(opened: Opened, issue: Issue) -> None:
    client = opened(anonymous_calls=True)
    tenant, name = issue().record.tenant, {"Idempotency-Key": uuid4().hex}
    own = [issue(tenant=tenant), issue(tenant=tenant), issue(tenant=tenant, mode=Mode.TEST), issue()]
    told = [client.post(OPEN, json={}, headers={**bearer(key), **name}).get_json()["nonce"] for key in own]
    assert told[0] == told[1]
    here, there = stranger(), stranger()
    told += [client.post(OPEN, json={}, headers=name, environ_overrides=at).get_json()["nonce"] for at in (here, there)]
    assert len(set(told)) == 5
    again = client.post(OPEN, json={}, headers=name, environ_overrides=here)
    assert (again.get_json()["nonce"], again.headers["Idempotent-Replayed"]) == (told[4], "true")


def test_a_keys_last_use_is_noted_once_a_minute(container: Container, issue: Issue) -> None:
    key = issue()
    assert key.record.last_used_at is None
    container.api_keys.identify(key.text)
    first = container.api_keys.get(key.record.key_id).last_used_at
    container.api_keys.identify(key.text)
    assert first is not None
    assert container.api_keys.get(key.record.key_id).last_used_at == first
    with container.database.transaction() as tx:
        tx.run(
            "UPDATE api_keys SET last_used_at = now() - interval '61 seconds' WHERE id = %(id)s", {"id": key.record.id}
        )
    container.api_keys.identify(key.text)
    noted = container.api_keys.get(key.record.key_id).last_used_at
    assert noted is not None
    assert noted > first


def test_a_key_in_use_is_not_waited_for(container: Container, issue: Issue) -> None:
    key = issue()
    with container.database.transaction() as tx:
        tx.one("SELECT 1 FROM api_keys WHERE id = %(id)s FOR UPDATE", {"id": key.record.id})
        assert container.api_keys.identify(key.text).key_id == key.record.key_id


def test_no_table_holds_the_text_of_a_key(client: FlaskClient, container: Container) -> None:
    header = {**admin(), "Idempotency-Key": uuid4().hex}
    text = client.post(KEYS, json=MINE, headers=header).get_json()["key"]
    with container.database.transaction() as tx:
        for table in ("api_keys", "idempotency_keys"):
            held = tx.one(
                f"SELECT count(*) AS held FROM {table} AS kept WHERE kept::text LIKE %(like)s",  # noqa: S608
                {"like": f"%{text[8:]}%"},
            )
            assert held == {"held": 0}, table


# -- administrators


def test_an_administrator_makes_lists_rotates_and_revokes_keys(client: FlaskClient, issue: Issue) -> None:
    for header in (admin(), bearer(issue(Scope.ADMIN))):
        made = client.post(KEYS, json=MINE, headers=header)
        assert made.status_code == 201
        told = made.get_json()
        assert (told["tier"], told["scopes"], told["mode"]) == ("free", ["inference", "verification"], "test")
        assert told["key"].startswith("lk_test_")
        listed = client.get(KEYS, query_string={"tenant": told["tenant"]}, headers=header).get_json()["keys"]
        assert [key["id"] for key in listed] == [told["id"]]
        assert "key" not in listed[0]
        rotated = client.post(f"{KEYS}/{told['id']}/rotate", headers=header)
        assert rotated.status_code == 201
        successor = rotated.get_json()
        assert (successor["tenant"], successor["rotated_from"]) == (told["tenant"], told["id"])
        assert successor["key"] != told["key"]
        assert client.post(f"{KEYS}/{told['id']}/rotate", headers=header).status_code == 409
        ended = [client.delete(f"{KEYS}/{successor['id']}", headers=header).get_json() for _ in range(2)]
        assert ended[0] == ended[1]
        assert ended[0]["revoked_at"]


def test_of_two_that_rotate_a_key_at_once_one_is_refused_and_one_key_is_valid(
    container: Container, issue: Issue
) -> None:
    key = issue()
    successor = container.api_keys.rotate(key.record.key_id)
    with pytest.raises(Exception, match="revoked"):
        container.api_keys.rotate(key.record.key_id)
    with pytest.raises(Exception, match="not valid"):
        container.api_keys.identify(key.text)
    assert container.api_keys.identify(successor.text).tenant == key.record.tenant
    valid = [one for one in container.api_keys.listing(tenant=key.record.tenant) if one.revoked_at is None]
    assert [one.key_id for one in valid] == [successor.record.key_id]


def test_a_repeated_creation_makes_no_second_key_and_tells_no_secret_again(client: FlaskClient) -> None:
    header = {**admin(), "Idempotency-Key": uuid4().hex}
    first, again = (client.post(KEYS, json=MINE, headers=header) for _ in range(2))
    told = first.get_json()
    assert again.get_json() == {name: told[name] for name in told if name != "key"}
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    listed = client.get(KEYS, query_string={"tenant": told["tenant"]}, headers=admin()).get_json()["keys"]
    assert len(listed) == 1


def test_a_test_key_administers_test_keys_only(client: FlaskClient, issue: Issue) -> None:
    tester, live, other = issue(Scope.ADMIN, mode=Mode.TEST), issue(), issue(mode=Mode.TEST)
    header = bearer(tester)
    assert client.post(KEYS, json={"mode": "live"}, headers=header).status_code == 403
    assert client.post(f"{KEYS}/{live.record.key_id}/rotate", headers=header).status_code == 403
    assert client.delete(f"{KEYS}/{live.record.key_id}", headers=header).status_code == 403
    assert client.delete(f"{KEYS}/{other.record.key_id}", headers=header).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"mode": "other"},
        {**MINE, "scopes": []},
        {**MINE, "scopes": ["everything"]},
        {**MINE, "tier": "gold"},
        {**MINE, "tenant": "anonymous"},
        {**MINE, "tenant": "a b"},
        {**MINE, "tenant": "x" * 65},
        {**MINE, "label": "x" * 201},
        {**MINE, "label": "two\nlines"},
        {**MINE, "label": 7},
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(client: FlaskClient, body: dict[str, Any]) -> None:
    answer = client.post(KEYS, json=body, headers=admin())
    assert answer.status_code == 400
    assert answer.get_json()["details"]["field"]


def test_an_unknown_key_is_404(client: FlaskClient) -> None:
    for address in ("key_" + "0" * 32, "x", "%00"):
        assert client.delete(f"{KEYS}/{address}", headers=admin()).status_code == 404
        assert client.post(f"{KEYS}/{address}/rotate", headers=admin()).status_code == 404


def status_over_http(url: str, path: str, headers: dict[str, str]) -> int:
    import httpx

    return httpx.get(url + path, headers=headers, timeout=10, trust_env=False).status_code
