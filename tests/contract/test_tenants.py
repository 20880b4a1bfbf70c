"""Two tenants, each with rows of every kind: whatever one of them, or nobody, calls, the other's rows neither show nor change.

The routes come from the application. One that no table below places fails a test, so nobody can add a route and forget whose rows it
shows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from shared.access.model import Mode, Scope, Tier
from shared.bootstrap import Container
from tests.e2e.patience import eventually
from web.problems import Door, door_of

PUBLIC = {
    "docs",
    "document.gateway",
    "llms",
    "lucid_check_database_health",
    "lucid_check_liveness",
    "lucid_check_nango_health",
    "lucid_check_readiness",
    "lucid_check_redis_health",
    "lucid_check_system_health",
    "lucid_get_anchoring_health",
    "lucid_get_checkpoint",
    "lucid_get_detailed_health",
    "lucid_get_epoch_stats",
    "lucid_get_mmr_root",
    "lucid_get_receipt",
    "lucid_get_receipt_bundle",
    "lucid_get_receipt_proof",
    "lucid_get_settlement_table",
    "lucid_get_signer_pubkey",
    "lucid_get_tile",
    "lucid_get_trust",
    "lucid_list_epochs_ready",
    "lucid_verify_receipt",
    "lucid_verify_receipt_by_hash",
    "metrics",
}
"""Answer everybody alike, and look at no credential; `metrics` at the token of its own setting."""


@dataclass(frozen=True)
class Named:
    """An operation whose address, query or body names a row: `<kind>` stands for the id of one."""

    address: str = ""
    body: Mapping[str, Any] | None = None
    query: str = ""
    has_read: bool = False
    """Its owner gets 200 and the row."""


ADMINISTRATION = {
    "lucid_create_api_key": Named(body={}),
    "lucid_list_api_keys": Named(),
    "lucid_revoke_api_key": Named("key"),
    "lucid_rotate_api_key": Named("key"),
}
"""The operator's: all tenants' keys, for the scope admin alone."""

INPUT = {"model_passport_id": "<model>", "prompt": "x", "compute_passport_id": "<compute>"}
WALLETS = {"compute_wallet": "w" * 32, "config": {"compute_bp": 10_000}}

NAMING = {
    "lucid_get_passport": Named("model", has_read=True),
    "lucid_update_passport": Named("model", {"name": "taken over"}),
    "lucid_delete_passport": Named("model"),
    "lucid_update_passport_pricing": Named("compute", {"price_per_request": 1}),
    "lucid_update_passport_endpoints": Named("compute", {"inference_url": "http://127.0.0.1:9/thief/v1"}),
    "lucid_heartbeat": Named(body={"compute_passport_id": "<compute>", "status": "down"}),
    "lucid_get_health": Named("compute", has_read=True),
    "lucid_get_node_history": Named("compute", has_read=True),
    "lucid_get_model": Named("model", has_read=True),
    "lucid_run_inference": Named(body=INPUT),
    "lucid_chat_completions": Named(body={"model": "<model>", "messages": [{"role": "user", "content": "x"}]}),
    "lucid_get_run": Named("run", has_read=True),
    "lucid_watch_run": Named("run"),
    "lucid_cancel_run": Named("run"),
    "lucid_get_payout": Named("split", has_read=True),
    "lucid_verify_payout": Named("split", has_read=True),
    "lucid_payout_from_receipt": Named(
        body={"run_id": "<claim>", "tokens_in": 3, "tokens_out": 4, "price_per_1k_tokens_lamports": "9", **WALLETS}
    ),
    "lucid_get_epoch": Named("epoch", has_read=True),
    "lucid_verify_epoch": Named("epoch", has_read=True),
    "lucid_get_epoch_transaction": Named("epoch"),
    "lucid_retry_epoch": Named("epoch"),
    "lucid_commit_epoch_root": Named(body={"epoch_id": "<epoch>"}),
    "lucid_commit_epoch_roots_batch": Named(body={"epoch_ids": ["<epoch>"]}),
    "lucid_get_current_epoch": Named(query="project_id=<project>", has_read=True),
    "lucid_list_epochs": Named(query="project_id=<project>", has_read=True),
}
"""A stranger is answered as if there were no such row."""


@dataclass(frozen=True)
class Own:
    """An operation on the caller's own rows. `has_own`: its owner finds a row of this kind in the answer."""

    body: Mapping[str, Any] | None = None
    has_own: str = ""


OWNING = {
    "lucid_list_passports": Own(has_own="model"),
    "lucid_get_passport_stats": Own(),
    "lucid_search_models": Own(has_own="model"),
    "lucid_search_compute": Own(has_own="compute"),
    "lucid_search_tools": Own(),
    "lucid_list_tools": Own(),
    "lucid_list_datasets": Own(),
    "lucid_list_agent_passports": Own(),
    "lucid_list_runs": Own(has_own="run"),
    "lucid_match": Own(),
    "lucid_match_explain": Own(),
    "lucid_route": Own(),
    "lucid_create_passport": Own(),
    "lucid_create_receipt": Own(),
    "lucid_create_epoch": Own(),
    "lucid_calculate_payout": Own(),
}
"""What it shows is of the caller's rows and the operator's; what it makes is the caller's."""

NOT_THERE = {
    "model": "passport_" + "0" * 32,
    "compute": "passport_" + "1" * 32,
    "run": "run_" + "0" * 32,
    "split": "split-nobody-knows",
    "claim": "claim-nobody-knows",
    "epoch": "epoch_" + "0" * 32,
    "project": "project-nobody-knows",
    "key": "key_" + "0" * 32,
}
"""Ids of no row. What a stranger is told of them is what he must be told of another's."""

HOLDING = (
    *("passports", "heartbeats", "heartbeat_history", "runs", "run_frames", "usage"),
    *("claims", "receipts", "project_epochs", "splits", "api_keys"),
)


@dataclass
class Tenant:
    """A tenant, the key it calls with, and the ids of its rows by kind. `mark` stands in every text that it wrote."""

    name: str
    headers: dict[str, str]
    mark: str
    ids: dict[str, str] = field(default_factory=dict)

    def traces(self) -> list[str]:
        """Return what nobody else may be shown."""
        return [self.mark, self.name, *self.ids.values()]


@dataclass(frozen=True)
class Route:
    """One method at one address of the gateway, by the name of its operation."""

    name: str
    method: str
    rule: str

    def path(self, row_id: str) -> str:
        """Return the address, with `row_id` in place of its parameter."""
        return re.sub(r"<[^>]+>", row_id, self.rule)


# -- routes


def routes_of(app: Flask) -> list[Route]:
    """Return every built route of the gateway."""
    return [
        Route(_name(app, rule.endpoint), method, rule.rule)
        for rule in app.url_map.iter_rules()
        if door_of(rule.rule) in (Door.GATEWAY, Door.OPENAI) and not rule.endpoint.startswith("not_built.")
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    ]


def _name(app: Flask, endpoint: str) -> str:
    first, _, rest = endpoint.partition(".")
    return rest if first in app.blueprints else endpoint


@pytest.fixture(scope="module")
def routes(app: Flask) -> dict[str, Route]:
    return {route.name: route for route in routes_of(app)}


def test_every_route_of_the_gateway_has_its_place_in_these_tables(app: Flask, routes: dict[str, Route]) -> None:
    placed = [PUBLIC, set(ADMINISTRATION), set(NAMING), set(OWNING)]
    assert len(set().union(*placed)) == sum(map(len, placed)), "a route has two places"
    assert set(routes) - set().union(*placed) == set(), "whose rows does it show, and whose does it change?"
    assert len(routes) == len(routes_of(app)), "two routes of one name"


# -- rows


@pytest.fixture(scope="module")
def tenants(app: Flask, container: Container, routes: dict[str, Route]) -> tuple[Tenant, Tenant]:
    client = app.test_client()
    first, second = (_tenant(container) for _ in range(2))
    for tenant in (first, second):
        _furnish(tenant, client, routes)
    for tenant in (first, second):
        eventually(partial(_is_at_rest, tenant, client), what="the end of a run whose node is away")
    return first, second


def _is_at_rest(tenant: Tenant, client: FlaskClient) -> bool:
    """Tell whether nothing of the tenant's moves any more."""
    told = client.get(f"/v1/runs/{tenant.ids.get('run')}", headers=tenant.headers).get_json()
    return "run" not in told or told["run"]["state"] not in ("queued", "running")


def _tenant(container: Container) -> Tenant:
    name, mark = f"tenant-{uuid4().hex}", f"mark-{uuid4().hex}"
    issued = container.api_keys.create(mode=Mode.LIVE, tier=Tier.FREE, scopes=list(Scope), tenant=name, label=mark)
    return Tenant(name, {"Authorization": f"Bearer {issued.text}"}, mark)


def _furnish(tenant: Tenant, client: FlaskClient, routes: Mapping[str, Route]) -> None:
    """Make rows of every kind that this version has."""

    def made(operation: str, body: dict[str, Any], **headers: str) -> dict[str, Any]:
        if operation not in routes:
            return {}
        answer = client.post(routes[operation].rule, json=body, headers={**tenant.headers, **headers})
        assert answer.status_code < 300, (operation, answer.get_data(as_text=True))
        return dict(answer.get_json())

    def keep(kind: str, found: Any) -> None:
        if found:
            tenant.ids[kind] = str(found)

    mark, about = tenant.mark, {"owner": f"0x{uuid4().hex}00000000", "description": tenant.mark, "tags": [tenant.mark]}
    model = {"schema_version": "1.0", "model_passport_id": f"model-{mark}", "format": "api", "api_model_id": mark}
    keep(
        "model",
        made(
            "lucid_create_passport",
            {**about, "type": "model", "name": f"m-{mark}", "metadata": {**model, "runtime_recommended": "openai"}},
        ).get("passport_id"),
    )
    compute = {
        "schema_version": "1.0",
        "compute_passport_id": f"compute-{mark}",
        "provider_type": "cloud",
        "regions": [mark],
        "hardware": {"gpu": "none", "vram_gb": 0},
        "runtimes": [{"name": "openai"}],
        "endpoints": {"inference_url": f"http://127.0.0.1:9/{mark}/v1"},
    }
    keep(
        "compute",
        made("lucid_create_passport", {**about, "type": "compute", "name": f"c-{mark}", "metadata": compute}).get(
            "passport_id"
        ),
    )
    if "compute" in tenant.ids:
        made("lucid_heartbeat", {"compute_passport_id": tenant.ids["compute"], "status": "healthy"})
    asked = {
        "model_passport_id": tenant.ids.get("model"),
        "prompt": mark,
        "compute_passport_id": tenant.ids.get("compute"),
    }
    keep("run", made("lucid_run_inference", asked, Prefer="respond-async").get("run", {}).get("run_id"))
    split = {"run_id": f"split-{mark}", "total_amount_lamports": "1000", **WALLETS}
    keep("split", made("lucid_calculate_payout", split).get("payout", {}).get("run_id"))
    claim = {
        "run_id": f"claim-{mark}",
        "model_passport_id": f"m-{mark}",
        "compute_passport_id": f"c-{mark}",
        "policy_hash": "0" * 64,
        "runtime": "openai",
        "tokens_in": 3,
        "tokens_out": 4,
        "ttft_ms": 5,
    }
    keep("claim", made("lucid_create_receipt", claim) and f"claim-{mark}")
    epoch = made("lucid_create_epoch", {"project_id": f"project-{mark}"}).get("epoch", {})
    keep("epoch", epoch.get("epoch_id"))
    keep("project", epoch and f"project-{mark}")


# -- calls


Caller = Mapping[str, str]


def _filled(value: Any, ids: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {name: _filled(member, ids) for name, member in value.items()}
    if isinstance(value, list):
        return [_filled(member, ids) for member in value]
    return re.sub(r"<(\w+)>", lambda kind: ids[kind[1]], value) if isinstance(value, str) else value


def _kinds(named: Named) -> set[str]:
    return {named.address} - {""} | set(re.findall(r"<(\w+)>", f"{named.body} {named.query}"))


def _name_row(client: FlaskClient, route: Route, named: Named, ids: Mapping[str, str], headers: Caller) -> TestResponse:
    return client.open(
        route.path(ids.get(named.address, "")),
        method=route.method,
        query_string=_filled(named.query, ids),
        json=None if named.body is None else _filled(named.body, ids),
        headers=dict(headers),
    )


def _told(answer: TestResponse, ids: Mapping[str, str]) -> tuple[int, str]:
    """Return status and text, without the ids that the caller named himself and the number of the request."""
    text = answer.get_data(as_text=True)
    for kind, row_id in ids.items():
        text = text.replace(row_id, f"<{kind}>")
    return answer.status_code, re.sub(r'"request_id": ?"[^"]*"', "", text)


@pytest.fixture
def unchanged(container: Container, tenants: tuple[Tenant, Tenant]) -> Iterator[None]:
    """Whatever a test does, the first tenant's rows are in the end what they were."""
    before = _rows(container, tenants[0])
    assert before
    yield
    assert before - _rows(container, tenants[0]) == set()


def _rows(container: Container, tenant: Tenant) -> set[str]:
    """Return every row that holds one of the tenant's texts or ids. When a key was last used is nobody's doing but its holder's."""
    like = [f"%{trace}%" for trace in tenant.traces()]
    with container.database.transaction() as tx:
        return {
            f"{table} {row['row']}"
            for table in HOLDING
            for row in tx.all(
                f"""SELECT (to_jsonb(kept) - 'last_used_at')::text AS row FROM {table} AS kept
                     WHERE to_jsonb(kept)::text LIKE ANY(%(like)s)""",  # noqa: S608 - names of this file
                {"like": like},
            )
        }


def strangers(tenants: tuple[Tenant, Tenant]) -> list[Caller]:
    """Return who the first tenant's rows are none of the business of: another tenant, and nobody."""
    return [tenants[1].headers, {}]


# -- claims


def test_both_tenants_have_rows_of_every_kind_that_a_route_names(
    routes: dict[str, Route], tenants: tuple[Tenant, Tenant]
) -> None:
    named = {kind for name, how in NAMING.items() if name in routes for kind in _kinds(how)}
    for tenant in tenants:
        assert named - set(tenant.ids) == set()
    assert set(tenants[0].ids.values()).isdisjoint(tenants[1].ids.values())


@pytest.mark.usefixtures("unchanged")
def test_a_strangers_row_is_answered_as_one_that_is_not_there(
    client: FlaskClient, routes: dict[str, Route], tenants: tuple[Tenant, Tenant]
) -> None:
    owner = tenants[0]
    for name, named in NAMING.items():
        for headers in strangers(tenants) if name in routes else ():
            there = _name_row(client, routes[name], named, owner.ids, headers)
            nowhere = _name_row(client, routes[name], named, NOT_THERE, headers)
            assert _told(there, owner.ids) == _told(nowhere, NOT_THERE), (name, bool(headers))
            own_words = {kind: owner.ids[kind] for kind in _kinds(named)}
            told = _told(there, own_words)[1]
            assert [trace for trace in owner.traces() if trace in told and trace not in own_words.values()] == [], name


@pytest.mark.usefixtures("unchanged")
def test_a_strangers_node_runs_nobody_elses_model(
    client: FlaskClient, routes: dict[str, Route], tenants: tuple[Tenant, Tenant]
) -> None:
    owner, other = tenants
    for name in sorted({"lucid_run_inference", "lucid_match", "lucid_route"} & set(routes)):
        told = []
        for node in (owner.ids["compute"], NOT_THERE["compute"]):
            body = {"model_passport_id": other.ids["model"], "prompt": "x", "compute_passport_id": node}
            answer = client.post(routes[name].rule, json=body, headers=other.headers)
            told.append(_told(answer, {"compute": node}))
        assert told[0] == told[1], name


@pytest.mark.usefixtures("unchanged")
def test_its_owner_is_shown_it(client: FlaskClient, routes: dict[str, Route], tenants: tuple[Tenant, Tenant]) -> None:
    """Or the other tests would prove nothing."""
    owner = tenants[0]
    for name, named in NAMING.items():
        if name in routes and named.has_read:
            answer = _name_row(client, routes[name], named, owner.ids, owner.headers)
            assert answer.status_code == 200, (name, answer.get_data(as_text=True))


@pytest.mark.usefixtures("unchanged")
def test_no_list_and_no_figure_holds_a_strangers_row(
    client: FlaskClient, routes: dict[str, Route], tenants: tuple[Tenant, Tenant]
) -> None:
    owner = tenants[0]
    for name in sorted(set(routes) & (PUBLIC | set(OWNING))):
        route, own = routes[name], OWNING.get(name, Own())
        if "<" in route.rule:
            continue  # by an id that only its owner was told, or a hash of it
        for headers in strangers(tenants):
            body = {} if route.method == "POST" and own.body is None else own.body
            told = client.open(route.rule, method=route.method, json=body, headers=dict(headers)).get_data(as_text=True)
            assert [trace for trace in owner.traces() if trace in told] == [], name
        if own.has_own:
            told = client.get(route.rule, headers=owner.headers).get_data(as_text=True)
            assert owner.ids[own.has_own] in told, name


@pytest.mark.usefixtures("unchanged")
def test_nothing_is_changed_without_a_key(
    client: FlaskClient, routes: dict[str, Route], tenants: tuple[Tenant, Tenant]
) -> None:
    """Runs apart, which an operator may let nobody make; they are nobody's."""
    for name, route in routes.items():
        if name in PUBLIC or route.method == "GET" or name in MADE_WITHOUT_A_KEY:
            continue
        named = {**NAMING, **ADMINISTRATION}.get(name) or Named(body={})
        answer = _name_row(client, route, named, {**NOT_THERE, **tenants[0].ids}, {})
        assert answer.status_code == 401, name


MADE_WITHOUT_A_KEY = {
    "lucid_run_inference",
    "lucid_chat_completions",
    "lucid_cancel_run",
    "lucid_match",
    "lucid_match_explain",
    "lucid_route",
}


def test_a_key_of_the_wrong_scope_gets_403_at_every_address_that_takes_one(
    client: FlaskClient, container: Container, routes: dict[str, Route], openable: Callable[[Route, Caller], int]
) -> None:
    keys = {scope: container.api_keys.create(mode=Mode.LIVE, tier=Tier.FREE, scopes=[scope]).text for scope in Scope}
    for name in sorted(set(routes) - PUBLIC):
        statuses = {scope: openable(routes[name], {"Authorization": f"Bearer {text}"}) for scope, text in keys.items()}
        letting_in = {scope for scope, status in statuses.items() if status != 403}
        assert 401 not in statuses.values(), name
        assert letting_in, (name, statuses)
        assert Scope.VERIFICATION not in letting_in, name
        assert (letting_in == {Scope.ADMIN}) == (name in ADMINISTRATION), (name, statuses)


@pytest.fixture
def openable(client: FlaskClient) -> Callable[[Route, Caller], int]:
    def status(route: Route, headers: Caller) -> int:
        named = {**NAMING, **ADMINISTRATION}.get(route.name) or Named(body={})
        return _name_row(client, route, named, NOT_THERE, headers).status_code

    return status
