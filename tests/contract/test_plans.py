"""Keys for whoever asks, plans, their invoices and a month's figures, over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
from flask.testing import FlaskClient

from config.settings import Settings
from devstack.supervisor import Stack
from shared.access.keys import is_well_formed
from shared.access.model import IssuedKey, Mode, Scope, Tier
from shared.bootstrap import Container, Role, build
from tests.contract.conftest import ADMIN_KEY
from tests.contract.pipelines_caller import BASE, FORWARD, refusal
from web.app import create_app
from web.limits import limits_of

KEYS, PLANS, USAGE = f"{BASE}/keys", f"{BASE}/plans", f"{BASE}/usage"
ASKED = {"email": "somebody@example.org", "name": "of a test"}
PER_MINUTE = {Tier.FREE: 5, Tier.PRO: 20, Tier.TEAM: 60}
_strangers = count(1)

Opened = Callable[..., FlaskClient]


def stranger() -> dict[str, str]:
    """Return an address that nobody called from."""
    third, fourth = divmod(next(_strangers), 250)
    return {"REMOTE_ADDR": f"198.19.{third}.{fourth + 1}"}


def bearer(key: IssuedKey | str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key if isinstance(key, str) else key.text}"}


@contextmanager
def application(settings: Settings) -> Iterator[FlaskClient]:
    container = build(settings, Role.WEB)
    app = create_app(container)
    yield app.test_client()
    limits_of(app).close()
    container.database.close()


@pytest.fixture
def opened(stack: Stack) -> Iterator[Opened]:
    """Open applications with some settings changed."""
    with ExitStack() as open_ones:
        yield lambda **changed: open_ones.enter_context(
            application(replace(Settings.load(stack.environment), **changed))
        )


@pytest.fixture
def issue(container: Container) -> Callable[..., IssuedKey]:
    def made(mode: Mode = Mode.LIVE, *scopes: Scope, tier: Tier = Tier.FREE, tenant: str | None = None) -> IssuedKey:
        return container.api_keys.create(mode=mode, tier=tier, scopes=scopes or (Scope.VERIFICATION,), tenant=tenant)

    return made


Issue = Callable[..., IssuedKey]


def signed_up(client: FlaskClient, *, where: dict[str, str] | None = None, **members: Any) -> dict[str, Any]:
    """Return the answer to somebody who makes himself a key."""
    answer = client.post(KEYS, json={**ASKED, **members}, environ_overrides=where or stranger())
    assert answer.status_code == 201, answer.get_data(as_text=True)
    return dict(answer.get_json())


# -- keys for whoever asks


def test_whoever_asks_gets_a_free_key_that_opens_the_pipelines_and_nothing_else(client: FlaskClient) -> None:
    told = signed_up(client)
    assert is_well_formed(told["key"])
    assert (told["key"][:12], told["key_prefix"][:8]) == (told["key_prefix"], "lk_live_")
    assert (told["tier"], told["mode"], told["email"], told["name"]) == ("free", "live", ASKED["email"], ASKED["name"])
    assert told["request_id"]
    assert client.get(USAGE, headers=bearer(told["key"])).status_code == 200
    assert client.get("/v1/passports", headers=bearer(told["key"])).status_code == 403
    assert client.get("/v1/admin/keys", headers=bearer(told["key"])).status_code == 403
    assert signed_up(client, mode="test")["key"].startswith("lk_test_")


def test_each_who_asks_without_a_key_is_a_tenant_of_his_own(client: FlaskClient) -> None:
    one, other = signed_up(client), signed_up(client)
    for own, foreign in ((one, other), (other, one)):
        listed = client.get(KEYS, headers=bearer(own["key"])).get_json()["keys"]
        assert [key["id"] for key in listed] == [own["id"]]
        for method, path in (("DELETE", f"{KEYS}/{foreign['id']}"), ("POST", f"{KEYS}/{foreign['id']}/rotate")):
            assert refusal(client.open(path, method=method, headers=bearer(own["key"])))[:2] == (404, "not_found")


def test_only_the_free_tier_can_be_had_for_nothing(client: FlaskClient) -> None:
    for tier in ("pro", "team"):
        answer = client.post(KEYS, json={**ASKED, "tier": tier}, environ_overrides=stranger())
        assert refusal(answer)[:2] == (403, "forbidden")
    assert signed_up(client, tier="free")["tier"] == "free"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "Missing required field: email"),
        ({"email": "a@b.c"}, "Missing required field: name"),
        ({**ASKED, "email": " "}, "Missing required field: email"),
        ({**ASKED, "email": 7}, "Field email must be a string"),
        *(
            ({**ASKED, "email": wrong}, "Field email must be an e-mail address")
            for wrong in ("a", "a@", "@b.c", "a@b", "a@b.", "a@.c", "a@b@c.d", "a b@c.d", "a@b.c\n", "a\u202eb@c.d")
        ),
        ({**ASKED, "email": f"{'a' * 251}@b.c"}, "Field email must have at most 254 characters"),
        ({**ASKED, "name": "n" * 101}, "Field name must have 1 to 100 printable characters"),
        ({**ASKED, "name": "a\tb"}, "Field name must have 1 to 100 printable characters"),
        ({**ASKED, "tier": "gold"}, "Field tier must be one of free, pro, team"),
        ({**ASKED, "mode": None}, "Field mode must be one of live, test"),
    ],
)
def test_what_is_wrong_with_a_request_for_a_key_is_said(client: FlaskClient, body: Any, message: str) -> None:
    answer = client.post(KEYS, json=body, environ_overrides=stranger())
    assert refusal(answer) == (400, "invalid_request", message)


def test_an_address_makes_few_keys_an_hour_and_what_is_refused_does_not_count(opened: Opened) -> None:
    client, where = opened(signups_per_address_hour=3), stranger()
    for _ in range(5):
        assert client.post(KEYS, json={}, environ_overrides=where).status_code == 400
    answers = [client.post(KEYS, json=ASKED, environ_overrides=where) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [201, 201, 201, 429, 429]
    assert refusal(answers[-1])[1] == "rate_limited"
    assert 3500 < int(answers[-1].headers["Retry-After"]) <= 3600
    assert answers[0].headers["RateLimit-Policy"] == '"signup";q=3;w=3600'
    assert client.post(KEYS, json=ASKED, environ_overrides=stranger()).status_code == 201
    closed = opened(signups_per_address_hour=0)
    assert refusal(closed.post(KEYS, json=ASKED, environ_overrides=stranger()))[:2] == (403, "forbidden")


def test_a_key_is_told_once_and_kept_nowhere(client: FlaskClient, container: Container) -> None:
    headers, where = {"Idempotency-Key": uuid4().hex}, stranger()
    first, again = (client.post(KEYS, json=ASKED, headers=headers, environ_overrides=where) for _ in range(2))
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    told = first.get_json()
    assert again.get_json() == {name: value for name, value in told.items() if name != "key"}
    with container.database.transaction() as tx:
        for table in ("api_keys", "idempotency_keys"):
            held = tx.one(
                f"SELECT count(*) AS held FROM {table} AS kept WHERE kept::text LIKE %(like)s",  # noqa: S608
                {"like": f"%{told['key'][14:]}%"},
            )
            assert held == {"held": 0}, table


def test_with_a_key_another_of_the_same_tenant_is_made(client: FlaskClient) -> None:
    first = signed_up(client)
    body = {**ASKED, "name": "for tests", "mode": "test"}
    second = client.post(KEYS, json=body, headers=bearer(first["key"]), environ_overrides=stranger()).get_json()
    listed = client.get(KEYS, headers=bearer(second["key"])).get_json()["keys"]
    assert [key["name"] for key in listed] == ["for tests", ASKED["name"]]
    assert not any("key" in key for key in listed)
    bad = client.post(KEYS, json=ASKED, headers=bearer("lk_live_x"), environ_overrides=stranger())
    assert refusal(bad)[:2] == (401, "unauthorized")


def test_no_key_is_handed_out_that_no_model_would_answer_to(opened: Opened) -> None:
    client = opened(sim_openai_base_url="")
    answer = client.post(KEYS, json={**ASKED, "mode": "test"}, environ_overrides=stranger())
    assert refusal(answer)[:2] == (409, "no_test_mode")
    assert client.post(KEYS, json=ASKED, environ_overrides=stranger()).status_code == 201


def test_a_tenant_has_twenty_valid_keys_at_most(opened: Opened) -> None:
    client, where = opened(signups_per_address_hour=1000), stranger()
    first = signed_up(client, where=where)
    statuses = [
        client.post(KEYS, json=ASKED, headers=bearer(first["key"]), environ_overrides=where).status_code
        for _ in range(20)
    ]
    assert statuses == [201] * 19 + [409]


def test_a_key_is_rotated_and_revoked_by_its_tenant(client: FlaskClient) -> None:
    first = signed_up(client)
    rotated = client.post(f"{KEYS}/{first['id']}/rotate", headers=bearer(first["key"]))
    assert rotated.status_code == 201
    second = rotated.get_json()
    assert (second["rotated_from"], second["email"], second["name"]) == (first["id"], first["email"], first["name"])
    assert client.get(USAGE, headers=bearer(first["key"])).status_code == 200, "a lost answer would lock its tenant out"
    again = client.post(f"{KEYS}/{first['id']}/rotate", headers=bearer(first["key"]))
    assert refusal(again)[:2] == (409, "key_revoked")
    client.delete(f"{KEYS}/{first['id']}", headers=bearer(second["key"]))
    assert client.get(USAGE, headers=bearer(first["key"])).status_code == 401
    ended = client.delete(f"{KEYS}/{second['id']}", headers=bearer(second["key"]))
    assert (ended.status_code, bool(ended.get_json()["revoked_at"])) == (200, True)
    assert client.get(USAGE, headers=bearer(second["key"])).status_code == 401


def test_a_revoked_key_stays_so_where_the_clock_is_put_back(client: FlaskClient, container: Container) -> None:
    first = signed_up(client)
    container.api_keys.revoke(first["id"])
    with container.database.transaction() as tx:
        tx.run("UPDATE api_keys SET revoked_at = now() + interval '1 hour' WHERE key_id = %(id)s", {"id": first["id"]})
    assert client.get(USAGE, headers=bearer(first["key"])).status_code == 401


def test_a_tenant_with_twenty_keys_can_still_rotate_one_and_recover_from_an_answer_that_was_lost(
    opened: Opened,
) -> None:
    client, where = opened(signups_per_address_hour=1000), stranger()
    first = signed_up(client, where=where)
    for _ in range(19):
        client.post(KEYS, json=ASKED, headers=bearer(first["key"]), environ_overrides=where)
    lost = client.post(f"{KEYS}/{first['id']}/rotate", headers=bearer(first["key"])).get_json()
    again = client.post(f"{KEYS}/{lost['id']}/rotate", headers=bearer(first["key"]))
    assert again.status_code == 201
    assert client.get(USAGE, headers=bearer(again.get_json()["key"])).status_code == 200


def test_no_more_than_twenty_keys_run_out_at_a_time(client: FlaskClient) -> None:
    last = signed_up(client)
    for _ in range(20):
        rotated = client.post(f"{KEYS}/{last['id']}/rotate", headers=bearer(last["key"]))
        assert rotated.status_code == 201
        last = rotated.get_json()
    refused = client.post(f"{KEYS}/{last['id']}/rotate", headers=bearer(last["key"]))
    assert refusal(refused)[:2] == (409, "too_many_keys")
    assert client.get(USAGE, headers=bearer(last["key"])).status_code == 200


def test_no_key_makes_or_changes_one_that_opens_more_than_itself(client: FlaskClient, issue: Issue) -> None:
    tenant = f"tenant-{uuid4().hex}"
    test, live = issue(Mode.TEST, tenant=tenant), issue(tenant=tenant)
    admin = issue(Mode.LIVE, Scope.VERIFICATION, Scope.ADMIN, tenant=tenant)
    made = client.post(KEYS, json=ASKED, headers=bearer(test), environ_overrides=stranger())
    assert refusal(made)[:2] == (403, "forbidden")
    for shown, changed in ((test, live), (live, admin)):
        key_id = changed.record.key_id
        for method, path in (("DELETE", f"{KEYS}/{key_id}"), ("POST", f"{KEYS}/{key_id}/rotate")):
            assert refusal(client.open(path, method=method, headers=bearer(shown)))[:2] == (403, "forbidden")
    team = issue(tenant=tenant, tier=Tier.TEAM)
    refused = client.post(f"{KEYS}/{team.record.key_id}/rotate", headers=bearer(live))
    assert refusal(refused)[:2] == (403, "forbidden")
    assert client.delete(f"{KEYS}/{live.record.key_id}", headers=bearer(admin)).status_code == 200


def test_what_is_about_a_tenant_needs_a_key_of_the_right_scope(client: FlaskClient, issue: Issue) -> None:
    absent = f"plan_{'0' * 32}"
    for method, path in (
        ("GET", KEYS),
        ("DELETE", f"{KEYS}/key_{'0' * 32}"),
        ("POST", f"{KEYS}/key_{'0' * 32}/rotate"),
        ("GET", USAGE),
        ("POST", f"{PLANS}/pro/invoice"),
        ("GET", f"{PLANS}/invoices/{absent}"),
        ("POST", f"{PLANS}/invoices/{absent}/refund"),
    ):
        assert refusal(client.open(path, method=method, data=b"{"))[:2] == (401, "unauthorized"), path
        other = client.open(path, method=method, data=b"{", headers=bearer(issue(Mode.LIVE, Scope.INFERENCE)))
        assert refusal(other)[:2] == (403, "forbidden"), path


# -- plans and their invoices


def test_the_plans_are_told_to_everybody(client: FlaskClient) -> None:
    told = client.get(PLANS).get_json()["plans"]
    assert told == [
        {
            "tier": tier,
            "name": tier.capitalize(),
            "price_usd": price,
            "verifications_per_month": month,
            "requests_per_minute": minute,
            "days": 30 if price else None,
        }
        for tier, price, month, minute in (("free", 0, 100, 5), ("pro", 49, 1000, 20), ("team", 149, 5000, 60))
    ]


def test_an_invoice_for_a_plan_has_its_price_locked(client: FlaskClient, issue: Issue) -> None:
    key = issue()
    answer = client.post(f"{PLANS}/pro/invoice", headers=bearer(key))
    assert answer.status_code == 201, answer.get_data(as_text=True)
    told = answer.get_json()
    assert (told["state"], told["tier"], told["price_usd"], told["btc_price_usd"]) == (
        "awaiting_payment",
        "pro",
        49,
        100_000,
    )
    assert (told["amount_sats"], told["payment_request"][:7], len(told["payment_hash"])) == (49_000, "lnbcrt4", 64)
    assert (told["bought"], told["paid_at"], told["owed_back_sats"]) == (None, None, 0)
    looked = client.get(answer.headers["Location"], headers=bearer(key))
    assert {**looked.get_json(), "request_id": told["request_id"]} == told
    other = client.get(answer.headers["Location"], headers=bearer(issue()))
    assert refusal(other)[:2] == (404, "not_found")
    refund = client.post(f"{answer.headers['Location']}/refund", json={"invoice": "x"}, headers=bearer(key))
    assert refusal(refund)[:2] == (409, "nothing_owed")


def test_a_tenants_invoices_are_listed_newest_first_and_page_by_page(client: FlaskClient, issue: Issue) -> None:
    key = issue()
    asked = [client.post(f"{PLANS}/{tier}/invoice", headers=bearer(key)).get_json() for tier in ("pro", "team", "pro")]
    wanted = [{name: value for name, value in one.items() if name != "request_id"} for one in reversed(asked)]
    whole = client.get(f"{PLANS}/invoices", headers=bearer(key)).get_json()
    assert (whole["invoices"], "next_before" in whole) == (wanted, False)
    first = client.get(f"{PLANS}/invoices?limit=2", headers=bearer(key)).get_json()
    rest = client.get(f"{PLANS}/invoices?limit=2&before={first['next_before']}", headers=bearer(key)).get_json()
    assert (first["invoices"] + rest["invoices"], "next_before" in rest) == (wanted, False)
    stranger = issue()
    assert client.get(f"{PLANS}/invoices", headers=bearer(stranger)).get_json()["invoices"] == []
    elsewhere = client.get(f"{PLANS}/invoices?before={asked[0]['id']}", headers=bearer(stranger))
    assert refusal(elsewhere)[:2] == (404, "not_found")
    assert refusal(client.get(f"{PLANS}/invoices?limit=0", headers=bearer(key)))[:2] == (400, "invalid_request")
    assert refusal(client.get(f"{PLANS}/invoices", headers=bearer(issue(Mode.TEST))))[:2] == (403, "forbidden")


def test_what_cannot_be_bought_is_refused(client: FlaskClient, issue: Issue) -> None:
    for key, tier, expected in (
        (issue(Mode.TEST), "pro", (403, "forbidden")),
        (issue(), "free", (409, "plan_not_sold")),
        (issue(), "gold", (404, "not_found")),
    ):
        assert refusal(client.post(f"{PLANS}/{tier}/invoice", headers=bearer(key)))[:2] == expected


def test_one_idempotency_key_is_one_invoice(client: FlaskClient, issue: Issue) -> None:
    headers = {**bearer(issue()), "Idempotency-Key": uuid4().hex}
    first, again = (client.post(f"{PLANS}/team/invoice", headers=headers) for _ in range(2))
    assert first.get_json() | {"request_id": ""} == again.get_json() | {"request_id": ""}
    assert again.headers["Idempotent-Replayed"] == "true"


def test_a_repetition_under_a_key_shows_the_invoice_as_it_then_stands(
    client: FlaskClient, issue: Issue, container: Container
) -> None:
    headers = {**bearer(issue()), "Idempotency-Key": uuid4().hex}
    first = client.post(f"{PLANS}/team/invoice", headers=headers).get_json()
    with container.database.transaction() as tx:
        expired = "UPDATE plan_purchases SET state = 'expired' WHERE public_id = %(id)s"
        assert tx.run(expired, {"id": first["id"]}) == 1
    again = client.post(f"{PLANS}/team/invoice", headers=headers).get_json()
    assert (again["id"] != first["id"], again["state"]) == (True, "awaiting_payment")


# -- how much, how often


def test_a_months_figures_are_told(client: FlaskClient, issue: Issue, container: Container) -> None:
    tenant = f"tenant-{uuid4().hex}"
    live, test = issue(tenant=tenant), issue(Mode.TEST, tenant=tenant)
    holder = container.api_keys.identify(live.text)
    with container.database.transaction() as tx:
        units = [container.quotas.take(tx, holder, kind=kind).unit for kind in ("forward", "forward", "reverse")]
        container.quotas.record_tokens(tx, units[0], tokens_in=1200, tokens_out=34)
        container.quotas.give_back(tx, units[1])
    told = client.get(USAGE, headers=bearer(live)).get_json()
    now = datetime.now(UTC)  # noqa: TID251 - what the test expects
    assert told["period"] == now.strftime("%Y-%m")
    pool = told["verifications"]
    assert (pool["limit"], pool["used"], pool["remaining"]) == (100, 2, 98)
    assert datetime.fromisoformat(pool["resets_at"]) > now
    assert (told["forward"], told["reverse"]) == ({"count": 1, "limit": 100}, {"count": 1, "limit": 100})
    assert (told["total_input_tokens"], told["total_output_tokens"]) == (1200, 34)
    assert (told["tier"], told["mode"], told["requests_per_minute"], told["paid_plans"]) == ("free", "live", 5, [])
    assert client.get(USAGE, headers=bearer(test)).get_json()["verifications"]["used"] == 0
    assert client.get(USAGE, headers={"X-Admin-Key": ADMIN_KEY}).get_json()["tier"] == "team"


@pytest.mark.parametrize("tier", list(Tier))
def test_a_minutes_limit_is_the_plans_and_exact(client: FlaskClient, issue: Issue, tier: Tier) -> None:
    """Calls that are refused for what they ask count as well; looking does not."""
    key, other = issue(tier=tier), issue(tier=tier)
    allowed = PER_MINUTE[tier]
    answers = [client.post(FORWARD, json={}, headers=bearer(key)) for _ in range(allowed + 3)]
    assert [answer.status_code for answer in answers] == [400] * allowed + [429] * 3
    assert refusal(answers[-1]) == (
        429,
        "rate_limited",
        f"Rate limit exceeded. {allowed} requests/minute for {tier.capitalize()} tier.",
    )
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
    assert answers[0].headers["RateLimit-Policy"] == f'"plan";q={allowed};w=60'
    for same in ("/api/v1/forward/", "/api/v1/forward?x=1", "/API/v1/Forward", "/api/v1/reverse"):
        assert client.post(same, json={}, headers=bearer(key)).status_code == 429, same
    assert client.get(USAGE, headers=bearer(key)).status_code == 200
    assert client.post(FORWARD, json={}, headers=bearer(other)).status_code == 400
