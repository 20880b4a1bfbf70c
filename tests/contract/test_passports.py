"""Passports over HTTP: made, checked, changed, revoked, found; whose they are; every refusal with its status."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator

from shared.access.model import Mode, Scope, Tier
from shared.bootstrap import Container
from shared.kernel.canonical_json import jcs
from tests.contract.catalogue import ENDPOINT, METADATA, OWNER, PLACEHOLDER, Caller, draft
from tests.contract.conftest import ADMIN_KEY
from tests.contract.document_comparison import body_of, json_schema, operations

HIDDEN = "/v1/passports/passport_" + "0" * 32
CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("", {"name": "new"}),
    ("/pricing", {"billing_model": "flat"}),
    ("/endpoints", {"inference_url": "http://127.0.0.1:9/v2"}),
]


@pytest.fixture
def alice(container: Container, client: FlaskClient) -> Caller:
    return Caller.of(container, client)


@pytest.fixture
def bob(container: Container, client: FlaskClient) -> Caller:
    return Caller.of(container, client)


@pytest.fixture
def operator(client: FlaskClient) -> Caller:
    return Caller(client, {"X-Admin-Key": ADMIN_KEY}, "operator")


@pytest.fixture(scope="session")
def conforms(gateway_contract: dict[str, Any]) -> Callable[[str, int, Any], None]:
    answers = {operation["operationId"]: operation["responses"] for _, _, operation in operations(gateway_contract)}

    def check(name: str, status: int, body: Any) -> None:
        schema = body_of(answers[name][str(status)])
        assert schema is not None
        Draft202012Validator(json_schema(schema)).validate(body)

    return check


# -- making


@pytest.mark.parametrize("type_", METADATA)
def test_a_passport_of_each_type_is_made_and_its_id_takes_the_placeholders_place(
    alice: Caller, conforms: Callable[[str, int, Any], None], type_: str
) -> None:
    answer = alice.post("/v1/passports", draft(type_, name=f"a {type_}", version="1.2", tags=["x", "y"]))
    made = answer.get_json()
    assert answer.status_code == 201
    conforms("lucid_create_passport", 201, made)
    passport = made["passport"]
    assert made["passport_id"] == passport["passport_id"]
    assert answer.headers["Location"] == f"/v1/passports/{made['passport_id']}"
    assert passport["status"] == "active"
    if f"{type_}_passport_id" in METADATA[type_]:
        assert passport["metadata"] == {**METADATA[type_], f"{type_}_passport_id": made["passport_id"]}
    assert passport["metadata_hash"] == hashlib.sha256(jcs(passport["metadata"])).hexdigest()
    assert passport["created_at"] == passport["updated_at"] > 1_700_000_000_000
    read = alice.get(f"/v1/passports/{made['passport_id']}")
    conforms("lucid_get_passport", 200, read.get_json())
    assert read.get_json()["passport"] == passport


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"type": None}, 400, "type"),
        ({"owner": None}, 400, "owner"),
        ({"metadata": None}, 400, "metadata"),
        ({"metadata": []}, 400, "metadata"),
        ({"tags": ["a,b"]}, 400, "tags.0"),
        ({"name": "n" * 201}, 400, "name"),
        ({"type": "planet"}, 422, "type"),
        ({"owner": "0x12"}, 422, "owner"),
        ({"owner": OWNER + "0"}, 422, "owner"),
        ({"owner": "0OIl" * 10}, 422, "owner"),
        ({"owner": OWNER + "\n"}, 422, "owner"),
    ],
)
def test_what_is_missing_is_400_and_what_makes_no_sense_422(
    alice: Caller, change: dict[str, Any], status: int, field: str
) -> None:
    body = {name: value for name, value in {**draft("model"), **change}.items() if value is not None}
    answer = alice.post("/v1/passports", body)
    assert (answer.status_code, answer.get_json()["details"]["field"]) == (status, field)


@pytest.mark.parametrize(
    ("type_", "change", "status", "field"),
    [
        ("model", {"model_passport_id": ...}, 422, "metadata.model_passport_id"),
        ("compute", {"compute_passport_id": ...}, 422, "metadata.compute_passport_id"),
        ("agent", {"agent_passport_id": ...}, 422, "metadata.agent_passport_id"),
        ("model", {"model_passport_id": "short"}, 400, "metadata.model_passport_id"),
        ("model", {"format": "api"}, 400, "metadata.api_model_id"),
        ("model", {"format": "onnx"}, 400, "metadata.format"),
        ("model", {"runtime_recommended": "excel"}, 400, "metadata.runtime_recommended"),
        ("model", {"unheard_of": 1}, 400, "metadata"),
        ("model", {"context_length": 0}, 400, "metadata.context_length"),
        ("model", {"context_length": True}, 400, "metadata.context_length"),
        ("model", {"requirements": {"min_vram_gb": -1}}, 400, "metadata.requirements.min_vram_gb"),
        ("compute", {"hardware": {"gpu": "A100"}}, 400, "metadata.hardware.vram_gb"),
        ("compute", {"regions": []}, 400, "metadata.regions"),
        ("compute", {"runtimes": [{"name": "vllm"}, {"name": "excel"}]}, 400, "metadata.runtimes.1.name"),
        (
            "compute",
            {"execution_mode": "managed_endpoint", "runtime_hash": "sha256:" + "a" * 64},
            400,
            "metadata.runtime_hash",
        ),
        ("compute", {"endpoints": {"inference_url": "ftp://x/v1"}}, 400, "metadata.endpoints.inference_url"),
        ("compute", {"endpoints": {"inference_url": "http://key@x/v1"}}, 400, "metadata.endpoints.inference_url"),
        ("compute", {"endpoints": {"inference_url": "http://x/v1?a=1"}}, 400, "metadata.endpoints.inference_url"),
        ("compute", {"endpoints": {"inference_url": "http://[::1/v1"}}, 400, "metadata.endpoints.inference_url"),
        ("tool", {"operations": []}, 400, "metadata.operations"),
        ("tool", {"protocol": "smoke"}, 400, "metadata.protocol"),
        ("dataset", {"format": "xlsx"}, 400, "metadata.format"),
        ("agent", {"model_passport_ids": []}, 400, "metadata.model_passport_ids"),
        ("agent", {"anything": 1}, 400, "metadata"),
        ("other", {"deep": [[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]}, 400, "metadata"),
        ("other", {"number": 2**60}, 400, "metadata"),
        ("other", {"text": "x" * 70_000}, 400, "metadata"),
    ],
)
def test_metadata_of_another_shape_is_refused_and_the_place_is_named(
    alice: Caller, type_: str, change: dict[str, Any], status: int, field: str
) -> None:
    body = draft(type_, metadata=change)
    body["metadata"] = {name: value for name, value in body["metadata"].items() if value is not ...}
    answer = alice.post("/v1/passports", body)
    assert (answer.status_code, answer.get_json()["details"]["field"]) == (status, field)


def test_runtimes_that_a_model_may_name_a_node_may_offer(alice: Caller) -> None:
    for runtime in ("ollama", "llama.cpp", "openai", "xllamacpp", "openai-compatible"):
        alice.make("model", metadata={"runtime_recommended": runtime})
        alice.make("compute", metadata={"runtimes": [{"name": runtime}]})


def test_the_same_idempotency_key_makes_one_passport(alice: Caller) -> None:
    body, key = draft("tool", name="once"), {"Idempotency-Key": "k-1"}
    first, again = alice.post("/v1/passports", body, **key), alice.post("/v1/passports", body, **key)
    assert first.get_json()["passport_id"] == again.get_json()["passport_id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert alice.get("/v1/passports", search="once").get_json()["pagination"]["total"] == 1
    other = alice.post("/v1/passports", draft("tool", name="twice"), **key)
    assert other.status_code == 422


# -- changing


def test_what_is_named_changes_and_the_rest_stays(alice: Caller) -> None:
    made = alice.make("model", name="old", tags=["a"], description="d")
    path = f"/v1/passports/{made['passport_id']}"
    metadata = {**METADATA["model"], "context_length": 1024}
    answer = alice.patch(path, {"name": "new", "metadata": metadata}).get_json()["passport"]
    assert (answer["name"], answer["description"], answer["tags"]) == ("new", "d", ["a"])
    assert answer["metadata"] == {**metadata, "model_passport_id": made["passport_id"]}
    assert answer["metadata_hash"] != made["metadata_hash"]
    assert answer["updated_at"] > made["updated_at"]
    assert alice.get(path).get_json()["passport"] == answer


def test_changed_metadata_is_checked_again(alice: Caller) -> None:
    path = f"/v1/passports/{alice.make('model')['passport_id']}"
    broken = alice.patch(path, {"metadata": {**METADATA["model"], "format": "onnx"}})
    assert (broken.status_code, broken.get_json()["error_code"]) == (400, "SCHEMA_VALIDATION_FAILED")
    without = {name: value for name, value in METADATA["model"].items() if name != "model_passport_id"}
    assert alice.patch(path, {"metadata": without}).status_code == 422
    for nothing in ({}, {"unknown": 1}, {"status": "sleeping"}, {"name": 1}):
        assert alice.patch(path, nothing).status_code == 400


def test_a_deprecated_passport_comes_back_and_a_revoked_one_never_does(alice: Caller, container: Container) -> None:
    made = alice.make("tool")
    path = f"/v1/passports/{made['passport_id']}"
    for status in ("deprecated", "deprecated", "active", "deprecated", "revoked"):
        assert alice.patch(path, {"status": status}).get_json()["passport"]["status"] == status
    for body in ({"status": "active"}, {"status": "deprecated"}, {"name": "again"}):
        refused = alice.patch(path, body)
        assert (refused.status_code, refused.get_json()["error_code"]) == (409, "PASSPORT_REVOKED")
    assert alice.get(path).get_json()["passport"]["status"] == "revoked"
    with container.database.transaction() as tx:
        row = tx.one("SELECT id FROM passports WHERE passport_id = %(id)s", {"id": made["passport_id"]})
        assert row is not None
        told = tx.all(
            "SELECT name, to_state FROM events WHERE owner_kind = 'passport' AND owner_id = %(id)s ORDER BY seq", row
        )
    assert [event["to_state"] for event in told] == ["active", "deprecated", "active", "deprecated", "revoked"]


def test_deleting_revokes_and_can_be_repeated(alice: Caller, conforms: Callable[[str, int, Any], None]) -> None:
    path = f"/v1/passports/{alice.make('dataset', name='gone')['passport_id']}"
    for _ in range(2):
        answer = alice.delete(path)
        assert (answer.status_code, answer.get_json()) == (200, {"success": True, "deleted": True})
    conforms("lucid_delete_passport", 200, answer.get_json())
    assert alice.get(path).get_json()["passport"]["status"] == "revoked"
    assert alice.names("/v1/datasets", "datasets", search="gone") == []
    assert alice.names("/v1/passports", "passports", search="gone", status="revoked") == ["gone"]


def test_of_many_who_revoke_at_once_one_moves_it(app: Flask, alice: Caller, container: Container) -> None:
    made = alice.make("tool")

    def revoke(_: int) -> int:
        return (
            Caller(app.test_client(), alice.headers, alice.tenant)
            .delete(f"/v1/passports/{made['passport_id']}")
            .status_code
        )

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(revoke, range(8))) == {200}
    with container.database.transaction() as tx:
        moves = tx.one(
            "SELECT count(*) AS n FROM events JOIN passports ON passports.id = owner_id"
            " WHERE owner_kind = 'passport' AND events.name = 'revoked' AND passport_id = %(id)s",
            {"id": made["passport_id"]},
        )
    assert moves == {"n": 1}


def test_pricing_and_endpoints_stand_beside_the_metadata(
    alice: Caller, conforms: Callable[[str, int, Any], None]
) -> None:
    made = alice.make("model")
    path = f"/v1/passports/{made['passport_id']}"
    priced = alice.patch(f"{path}/pricing", {"price_per_request": 0.1, "billing_model": "per_call"})
    conforms("lucid_update_passport_pricing", 200, priced.get_json())
    split = {"compute_bps": 7000, "model_bps": 2000, "protocol_bps": 1000}
    assert alice.patch(f"{path}/pricing", {"revenue_split": split}).status_code == 200
    placed = alice.patch(
        f"{path}/endpoints", {"api_base_url": "http://127.0.0.1:9/v1", "health_url": "https://x.example/h"}
    )
    conforms("lucid_update_passport_endpoints", 200, placed.get_json())
    shown = alice.get(path).get_json()["passport"]
    assert shown["pricing"] == {"price_per_request": 0.1, "billing_model": "per_call", "revenue_split": split}
    assert '"price_per_request":0.1}' in alice.get(path).get_data(as_text=True)
    assert shown["endpoints"] == {"api_base_url": "http://127.0.0.1:9/v1", "health_url": "https://x.example/h"}
    assert shown["metadata"] == made["metadata"]
    assert shown["metadata_hash"] == made["metadata_hash"]


@pytest.mark.parametrize(
    ("place", "body"),
    [
        ("pricing", {}),
        ("pricing", {"price_per_request": -1}),
        ("pricing", {"price_per_request": "1"}),
        ("pricing", {"price_per_request": 1e300}),
        ("pricing", {"revenue_split": {"compute_bps": 9999}}),
        ("pricing", {"revenue_split": {"compute_bps": 11_000, "model_bps": -1000}}),
        ("pricing", {"revenue_split": {"compute_bps": 10_000.0}}),
        ("endpoints", {}),
        ("endpoints", {"inference_url": "file:///etc/passwd"}),
        ("endpoints", {"inference_url": "https://user:pass@host/v1"}),
        ("endpoints", {"health_url": "https://host/\\evil"}),
        ("endpoints", {"api_base_url": "https://host:99999/"}),
        ("endpoints", {"api_base_url": 1}),
    ],
)
def test_pricing_and_endpoints_are_checked(alice: Caller, place: str, body: dict[str, Any]) -> None:
    answer = alice.patch(f"/v1/passports/{alice.make('model')['passport_id']}/{place}", body)
    assert answer.status_code == 400


# -- whose they are


def test_nobody_sees_or_changes_another_tenants_passport(alice: Caller, bob: Caller) -> None:
    made = alice.make("model", name="private")
    path = f"/v1/passports/{made['passport_id']}"
    assert bob.get(path).status_code == 404
    for place, body in CHANGES:
        assert bob.patch(path + place, body).status_code == 404
    assert bob.delete(path).status_code == 404
    assert bob.names("/v1/passports", "passports", search="private") == []
    assert bob.names("/v1/models", "models", search="private") == []
    assert bob.get("/v1/models/private").status_code == 404
    assert bob.get(f"/v1/models/{made['passport_id']}").status_code == 404
    assert alice.get("/v1/models/private").get_json()["id"] == "private"
    for missing in (HIDDEN, "/v1/passports/nonsense", "/v1/passports/" + "x" * 4000):
        assert alice.get(missing).status_code == 404
        assert alice.delete(missing).status_code == 404


def test_all_see_what_is_the_operators_and_only_the_operator_changes_it(alice: Caller, operator: Caller) -> None:
    path = f"/v1/passports/{operator.make('other', name='for all')['passport_id']}"
    assert alice.get(path).status_code == 200
    assert alice.client.get(path).status_code == 200
    for place, body in CHANGES:
        assert alice.patch(path + place, body).status_code == 403
    assert alice.delete(path).status_code == 403
    assert operator.delete(path).status_code == 200


def test_writing_needs_a_key_of_the_right_scope_and_mode(
    container: Container, client: FlaskClient, alice: Caller
) -> None:
    path = f"/v1/passports/{alice.make('tool')['passport_id']}"
    other = container.api_keys.create(mode=Mode.LIVE, tier=Tier.FREE, scopes={Scope.VERIFICATION}, tenant=alice.tenant)
    wrong = Caller(client, {"Authorization": f"Bearer {other.text}"}, alice.tenant)
    test_key = Caller.of(container, client, mode=Mode.TEST, tenant=alice.tenant)
    for caller, status in ((Caller(client, {}, ""), 401), (wrong, 403), (test_key, 403)):
        assert caller.post("/v1/passports", draft("tool")).status_code == status
    for caller, status in ((Caller(client, {}, ""), 401), (wrong, 403), (test_key, 403)):
        assert caller.delete(path).status_code == status
        for place, body in CHANGES:
            assert caller.patch(path + place, body).status_code == status
    assert test_key.get(path).status_code == 404
    assert wrong.get(path).status_code == 403


def test_a_stated_owner_can_only_narrow(alice: Caller, bob: Caller) -> None:
    path = f"/v1/passports/{alice.make('tool')['passport_id']}"
    assert alice.patch(path, {"name": "x"}, **{"X-Owner-Address": OWNER}).status_code == 200
    assert alice.patch(path, {"name": "x"}, **{"X-Owner-Address": "0x" + "cd" * 20}).status_code == 403
    assert alice.delete(path, **{"X-Owner-Address": "0x" + "cd" * 20}).status_code == 403
    assert bob.patch(path, {"name": "x"}, **{"X-Owner-Address": OWNER}).status_code == 404


# -- finding


@pytest.fixture(scope="module")
def many(container: Container, app: Flask) -> Caller:
    """Forty-five tools and five datasets of one tenant."""
    caller = Caller.of(container, app.test_client())
    for number in range(45):
        caller.make(
            "tool",
            name=f"tool {number:02}",
            description=f"does 100% of_{number}" if number % 3 else "plain",
            tags=["even" if number % 2 == 0 else "odd", *(["tenth"] if number % 10 == 0 else [])],
            owner=OWNER if number < 40 else "0x" + "cd" * 20,
        )
    for number in range(5):
        caller.make("dataset", name=f"set {number}", tags=["even"])
    caller.delete(f"/v1/passports/{caller.make('tool', name='tool gone')['passport_id']}")
    return caller


def test_pages_are_whole_and_say_how_much_there_is(many: Caller, conforms: Callable[[str, int, Any], None]) -> None:
    names: list[str] = []
    for number in (1, 2, 3):
        answer = many.get("/v1/tools", page=number, per_page=20).get_json()
        conforms("lucid_list_tools", 200, answer)
        assert answer["pagination"] == {"total": 45, "page": number, "per_page": 20, "total_pages": 3}
        names += [tool["name"] for tool in answer["tools"]]
    assert names == [f"tool {number:02}" for number in reversed(range(45))]
    beyond = many.get("/v1/tools", page=9, per_page=20).get_json()
    assert (beyond["tools"], beyond["pagination"]["total"]) == ([], 45)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"type": "tool"}, 46),
        ({"type": "tool,dataset"}, 51),
        ({"type": ["tool", "dataset"]}, 51),
        ({"type": "tool", "status": "active"}, 45),
        ({"type": "tool", "status": "revoked,deprecated"}, 1),
        ({"owner": OWNER, "type": "tool", "status": "active"}, 40),
        ({"tags": "even"}, 28),
        ({"tags": "even,tenth"}, 5),
        ({"tags": "even,tenth", "tag_match": "any"}, 28),
        ({"tags": "odd,tenth", "tag_match": "any"}, 27),
        ({"search": "TOOL 0"}, 10),
        ({"search": "100% of_"}, 30),
        ({"search": "%"}, 30),
        ({"search": "_"}, 30),
        ({"search": "\\"}, 0),
        ({"search": "tenth"}, 5),
        ({"search": "' OR 1=1 --"}, 0),
    ],
)
def test_filters_find_just_what_they_say(many: Caller, query: dict[str, Any], expected: int) -> None:
    assert many.get("/v1/passports", **query).get_json()["pagination"]["total"] == expected


def test_lists_are_sorted_as_asked(many: Caller, conforms: Callable[[str, int, Any], None]) -> None:
    tools = [f"tool {number:02}" for number in range(45)]
    asked = {"type": "tool", "status": "active", "per_page": 100}
    assert many.names("/v1/passports", "passports", **asked, sort_by="name", sort_order="asc") == tools
    assert many.names("/v1/passports", "passports", **asked, sort_by="name", sort_order="desc") == tools[::-1]
    assert many.names("/v1/passports", "passports", **asked, sort_by="created_at", sort_order="asc") == tools
    first = many.get("/v1/passports", **asked, sort_order="asc").get_json()
    conforms("lucid_list_passports", 200, first)
    many.patch(f"/v1/passports/{first['passports'][0]['passport_id']}", {"version": "2"})
    assert many.names("/v1/passports", "passports", **asked, sort_by="updated_at")[0] == "tool 00"


@pytest.mark.parametrize(
    "query",
    [
        {"page": 0},
        {"page": 10_001},
        {"page": "x"},
        {"per_page": 0},
        {"per_page": 101},
        {"type": "planet"},
        {"type": "tool,planet"},
        {"status": "asleep"},
        {"tag_match": "some"},
        {"sort_by": "price"},
        {"sort_order": "up"},
        {"search": "x" * 501},
        {"search": "a\x00b"},
    ],
)
def test_a_malformed_query_is_400(many: Caller, query: dict[str, Any]) -> None:
    assert many.get("/v1/passports", **query).status_code == 400


def test_the_figures_count_what_the_caller_sees(many: Caller, conforms: Callable[[str, int, Any], None]) -> None:
    answer = many.get("/v1/passports/stats").get_json()
    conforms("lucid_get_passport_stats", 200, answer)
    stats = answer["stats"]
    assert (stats["by_type"]["tool"], stats["by_type"]["dataset"], stats["by_status"]["revoked"]) >= (46, 5, 1)
    assert sum(stats["by_type"].values()) == sum(stats["by_status"].values()) == stats["total"]
    assert many.get("/v1/passports", per_page=1).get_json()["pagination"]["total"] == stats["total"]


def test_agents_and_datasets_have_lists_of_their_own(alice: Caller, conforms: Callable[[str, int, Any], None]) -> None:
    alice.make("agent", name="an agent", tags=["t"])
    alice.make("dataset", name="a set", tags=["t"])
    for path, member, name, operation in (
        ("/v1/agents", "agents", "an agent", "lucid_list_agent_passports"),
        ("/v1/datasets", "datasets", "a set", "lucid_list_datasets"),
    ):
        answer = alice.get(path, tags="t", owner=OWNER).get_json()
        conforms(operation, 200, answer)
        assert [passport["name"] for passport in answer[member]] == [name]
        assert alice.names(path, member, owner="0x" + "99" * 20) == []


def test_what_needs_a_chain_answers_501_with_the_reason(alice: Caller) -> None:
    path = f"/v1/passports/{alice.make('tool')['passport_id']}"
    for answer in (
        alice.post(f"{path}/sync", {}),
        alice.post(f"{path}/projections/retry", {}),
        alice.get("/v1/passports/pending-sync"),
    ):
        assert (answer.status_code, answer.get_json()["error_code"]) == (501, "NOT_IMPLEMENTED")


def test_the_placeholder_and_the_endpoint_of_these_tests_are_sound() -> None:
    assert len(PLACEHOLDER) >= 10
    assert METADATA["compute"]["endpoints"]["inference_url"] == ENDPOINT
