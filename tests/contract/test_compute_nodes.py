"""Nodes and models over HTTP: heartbeats and how long they count, filters, what can run now, one list for two kinds of clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from shared.access.model import Mode
from shared.bootstrap import Container
from tests.contract.catalogue import OWNER, Caller
from tests.contract.conftest import ADMIN_KEY
from tests.contract.test_passports import conforms

BEAT = "/v1/compute/nodes/heartbeat"
Conforms = Callable[[str, int, Any], None]
__all__ = ["conforms"]  # the fixture of the passports' tests


@pytest.fixture
def alice(container: Container, client: FlaskClient) -> Caller:
    return Caller.of(container, client)


@pytest.fixture
def bob(container: Container, client: FlaskClient) -> Caller:
    return Caller.of(container, client)


def beat(caller: Caller, node: dict[str, Any], status: str = "healthy", **members: Any) -> dict[str, Any]:
    answer = caller.post(BEAT, {"compute_passport_id": node["passport_id"], "status": status, **members})
    assert answer.status_code == 200, answer.get_json()
    state: dict[str, Any] = answer.get_json()["state"]
    return state


def health_of(node: dict[str, Any]) -> str:
    return f"/v1/compute/nodes/{node['passport_id']}/health"


def grow_old(container: Container, node: dict[str, Any], *, seconds: int) -> None:
    """Let the node's newest heartbeat have come `seconds` earlier."""
    with container.database.transaction() as tx:
        tx.run(
            "UPDATE heartbeats SET seen_at = seen_at - %(s)s * interval '1 second' WHERE passport_id = %(id)s",
            {"id": node["passport_id"], "s": seconds},
        )


# -- heartbeats


def test_a_heartbeat_replaces_all_that_the_node_said_before(alice: Caller, conforms: Conforms) -> None:
    node = alice.make("compute")
    state = beat(alice, node, queue_depth=3, price_per_1k_tokens_estimate=0.0125, p95_ms_estimate=120.4)
    assert (state["queue_depth"], state["price_per_1k_tokens_estimate"], state["p95_ms_estimate"]) == (3, 0.0125, 121)
    assert state["expires_at"] == state["last_heartbeat"] + 30_000
    beat(alice, node, "degraded")
    answer = alice.get(health_of(node))
    conforms("lucid_get_health", 200, answer.get_json())
    assert answer.get_json()["state"] | {"last_heartbeat": 0, "expires_at": 0} == {
        "compute_passport_id": node["passport_id"],
        "status": "degraded",
        "last_heartbeat": 0,
        "expires_at": 0,
    }


def test_whatever_a_fresh_heartbeat_says_is_200_and_an_old_one_503(
    alice: Caller, container: Container, conforms: Conforms
) -> None:
    node = alice.make("compute")
    silent = alice.get(health_of(node))
    beat(alice, node, "down")
    assert alice.get(health_of(node)).get_json()["state"]["status"] == "down"
    grow_old(container, node, seconds=29)
    assert alice.get(health_of(node)).status_code == 200
    grow_old(container, node, seconds=2)
    for answer in (silent, alice.get(health_of(node)), alice.get("/v1/compute/nodes/nobody/health")):
        body = answer.get_json()
        assert (answer.status_code, body["status"], body["success"]) == (503, "unknown_or_expired", False)
        assert answer.headers["Retry-After"] == "30"
        conforms("lucid_get_health", 503, body)


def test_a_heartbeat_from_a_clock_that_ran_ahead_does_not_count_for_ever(alice: Caller, container: Container) -> None:
    node = alice.make("compute")
    beat(alice, node)
    grow_old(container, node, seconds=-3600)
    assert alice.get(health_of(node)).status_code == 503


def test_only_the_nodes_owner_speaks_for_it(alice: Caller, bob: Caller, client: FlaskClient) -> None:
    operator = Caller(client, {"X-Admin-Key": ADMIN_KEY}, "operator")
    mine, for_all = alice.make("compute"), operator.make("compute", name="for all")
    body = {"compute_passport_id": mine["passport_id"], "status": "healthy"}
    assert bob.post(BEAT, body).status_code == 404
    assert client.post(BEAT, json=body).status_code == 401
    assert alice.post(BEAT, {**body, "compute_passport_id": for_all["passport_id"]}).status_code == 403
    assert alice.post(BEAT, {**body, "compute_passport_id": alice.make("tool")["passport_id"]}).status_code == 404
    assert alice.post(BEAT, {**body, "compute_passport_id": "passport_" + "0" * 32}).status_code == 404
    assert bob.get(health_of(mine)).status_code == 503
    assert bob.get(f"/v1/compute/nodes/{mine['passport_id']}/history").status_code == 404
    beat(operator, for_all)
    assert bob.get(health_of(for_all)).status_code == 200
    alice.delete(f"/v1/passports/{mine['passport_id']}")
    assert alice.post(BEAT, body).status_code == 409
    operator.delete(f"/v1/passports/{for_all['passport_id']}")


@pytest.mark.parametrize(
    "change",
    [
        {"status": "sleepy"},
        {"status": None},
        {"compute_passport_id": None},
        {"queue_depth": -1},
        {"queue_depth": 1.5},
        {"queue_depth": 2**31},
        {"queue_depth": True},
        {"price_per_1k_tokens_estimate": -0.1},
        {"price_per_1k_tokens_estimate": "0.1"},
        {"price_per_1k_tokens_estimate": 1e300},
        {"p95_ms_estimate": -1},
    ],
)
def test_a_malformed_heartbeat_is_400(alice: Caller, change: dict[str, Any]) -> None:
    body = {"compute_passport_id": alice.make("compute")["passport_id"], "status": "healthy", **change}
    answer = alice.post(BEAT, {name: value for name, value in body.items() if value is not None})
    assert answer.status_code == 400


def test_the_last_hour_is_told_and_what_is_older_is_pruned(alice: Caller, container: Container) -> None:
    node = alice.make("compute")
    for status in ("healthy", "degraded", "down"):
        beat(alice, node, status)
    path = f"/v1/compute/nodes/{node['passport_id']}/history"
    told = alice.get(path).get_json()
    assert [heartbeat["status"] for heartbeat in told["heartbeats"]] == ["down", "degraded", "healthy"]
    assert len(alice.get(path, limit=1).get_json()["heartbeats"]) == 1
    assert alice.get(path, limit=1001).status_code == 400
    with container.database.transaction() as tx:
        tx.run(
            "UPDATE heartbeat_history SET seen_at = seen_at - interval '61 minutes'"
            " WHERE passport_id = %(id)s AND status <> 'down'",
            {"id": node["passport_id"]},
        )
        assert container.nodes.prune(tx) >= 2
    assert [heartbeat["status"] for heartbeat in alice.get(path).get_json()["heartbeats"]] == ["down"]


# -- which nodes there are


@pytest.fixture(scope="module")
def nodes(container: Container, app: Flask) -> Caller:
    """Three nodes of one tenant."""
    caller = Caller.of(container, app.test_client())
    caller.make("compute", name="a100", tags=["big"])
    caller.make(
        "compute",
        name="t4",
        metadata={
            "hardware": {"gpu": "nvidia_t4 100%", "vram_gb": 16.0},
            "regions": ["us-east-1"],
            "runtimes": [{"name": "ollama"}],
            "provider_type": "onprem",
        },
    )
    caller.make("compute", name="retired")
    retired = caller.get("/v1/compute", search="retired").get_json()["compute"][0]
    caller.patch(f"/v1/passports/{retired['passport_id']}", {"status": "deprecated"})
    return caller


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["t4", "a100"]),
        ({"regions": "us-east-1,eu-west-1"}, ["t4", "a100"]),
        ({"regions": "eu-central-1"}, ["a100"]),
        ({"runtimes": "tgi,ollama"}, ["t4", "a100"]),
        ({"runtimes": "tgi"}, ["a100"]),
        ({"provider_type": "onprem"}, ["t4"]),
        ({"min_vram": 16}, ["t4", "a100"]),
        ({"min_vram": 17}, ["a100"]),
        ({"gpu": "NVIDIA"}, ["t4", "a100"]),
        ({"gpu": "a100"}, ["a100"]),
        ({"gpu": "T4 100%"}, ["t4"]),
        ({"gpu": "nvidia%t4"}, []),
        ({"tags": "big"}, ["a100"]),
        ({"search": "retired"}, []),
        ({"regions": "eu-west-1", "runtimes": "ollama"}, []),
    ],
)
def test_filters_of_nodes_find_just_what_they_say(
    nodes: Caller, conforms: Conforms, query: dict[str, Any], expected: list[str]
) -> None:
    answer = nodes.get("/v1/compute", owner=OWNER, **query).get_json()
    conforms("lucid_search_compute", 200, answer)
    assert [node["name"] for node in answer["compute"]] == expected
    assert answer["pagination"]["total"] == len(expected)


@pytest.mark.parametrize("query", [{"min_vram": -1}, {"min_vram": "x"}, {"per_page": 101}, {"gpu": "g" * 129}])
def test_a_malformed_search_of_nodes_is_400(nodes: Caller, query: dict[str, Any]) -> None:
    assert nodes.get("/v1/compute", **query).status_code == 400


# -- which models there are


def test_models_are_listed_in_the_contracts_shape_and_in_openais(alice: Caller, conforms: Conforms) -> None:
    made = alice.make("model", name="org/model-1")
    body = alice.get("/v1/models", owner=OWNER).get_json()
    conforms("lucid_search_models", 200, body)
    assert body["object"] == "list"
    assert [model["passport_id"] for model in body["models"]] == [made["passport_id"]]
    (entry,) = body["data"]
    created = made["created_at"] // 1000
    assert entry == {
        "id": "org/model-1",
        "object": "model",
        "created": created,
        "owned_by": OWNER,
        "passport_id": made["passport_id"],
    }
    for reference in ("org/model-1", "org%2Fmodel-1", made["passport_id"], f"passport:{made['passport_id']}"):
        one = alice.get(f"/v1/models/{reference}")
        assert (one.status_code, one.get_json()["passport_id"]) == (200, made["passport_id"])
    unknown = alice.get("/v1/models/org/model-2")
    assert (unknown.status_code, unknown.get_json()["error"]["code"]) == (404, "model_not_found")


def test_a_name_that_two_have_leads_to_the_older_and_the_younger_goes_by_its_id(alice: Caller) -> None:
    first, second = alice.make("model", name="twin"), alice.make("model", name="twin")
    listed = {entry["passport_id"]: entry["id"] for entry in alice.get("/v1/models", search="twin").get_json()["data"]}
    assert listed == {first["passport_id"]: "twin", second["passport_id"]: second["passport_id"]}
    assert alice.get("/v1/models/twin").get_json()["passport_id"] == first["passport_id"]
    alice.delete(f"/v1/passports/{first['passport_id']}")
    assert alice.get("/v1/models/twin").get_json()["passport_id"] == second["passport_id"]
    alice.patch(f"/v1/passports/{second['passport_id']}", {"status": "deprecated"})
    assert alice.get("/v1/models/twin").status_code == 404


def test_ones_own_model_comes_before_the_operators_of_the_same_name(
    alice: Caller, bob: Caller, client: FlaskClient
) -> None:
    operator = Caller(client, {"X-Admin-Key": ADMIN_KEY}, "operator")
    for_all, mine = operator.make("model", name="shared"), alice.make("model", name="shared")
    assert alice.get("/v1/models/shared").get_json()["passport_id"] == mine["passport_id"]
    assert bob.get("/v1/models/shared").get_json()["passport_id"] == for_all["passport_id"]
    listed = {
        entry["passport_id"]: entry["id"] for entry in alice.get("/v1/models", search="shared").get_json()["data"]
    }
    assert listed == {mine["passport_id"]: "shared", for_all["passport_id"]: for_all["passport_id"]}
    operator.delete(f"/v1/passports/{for_all['passport_id']}")


def test_filters_of_models_find_just_what_they_say(alice: Caller, container: Container) -> None:
    alice.make("model", name="large", metadata={"requirements": {"min_vram_gb": 48}})
    alice.make("model", name="medium")
    alice.make("model", name="tiny", metadata={"runtime_recommended": "ollama", "format": "gguf", "requirements": {}})
    api = {"format": "api", "api_model_id": "m", "runtime_recommended": "openai"}
    at = {"openai_compat_base_url": "http://127.0.0.1:9/api"}
    alice.make("model", name="hosted", metadata=api)
    alice.make("model", name="hosted here", metadata={**api, "endpoints": at})

    def found(**query: Any) -> set[str]:
        body = alice.get("/v1/models", owner=OWNER, **query).get_json()
        assert body["pagination"]["total"] == len(body["models"]) == len(body["data"])
        return {model["name"] for model in body["models"]}

    assert found(runtime="ollama") == {"tiny"}
    assert found(format="api") == {"hosted", "hosted here"}
    assert found(max_vram=0) == {"tiny"}
    assert found(max_vram=24) == {"medium", "tiny", "hosted", "hosted here"}
    assert found(available="true") == {"hosted", "hosted here"}
    assert found(available="false") == {"large", "medium", "tiny"}
    node = alice.make("compute", metadata={"endpoints": {"inference_url": "http://127.0.0.1:9/api"}})
    assert found(available="true") == {"hosted"}, "a node stands for the address, and nobody has heard of it"
    beat(alice, node)
    assert found(available="true") == {"hosted", "medium"}, "a healthy node with the runtime and the memory"
    beat(alice, node, "degraded")
    assert found(available="true") == {"hosted"}
    beat(alice, node)
    grow_old(container, node, seconds=31)
    assert found(available="true") == {"hosted"}
    assert alice.get("/v1/models", available="maybe").status_code == 400


# -- what the engine is told


def test_candidates_are_the_callers_own_nodes_and_the_operators(
    alice: Caller, bob: Caller, container: Container
) -> None:
    mine = alice.make("compute", name="mine")
    beat(alice, mine, queue_depth=2, price_per_1k_tokens_estimate=0.5)
    odd = alice.make("compute")
    with container.database.transaction() as tx:
        tx.run(
            "UPDATE passports SET metadata = '{\"hardware\": 1}', updated_at = now() WHERE passport_id = %(id)s",
            {"id": odd["passport_id"]},
        )
    seen = {node.passport_id: node for node in container.catalog.candidates(tenant=alice.tenant, mode="live")}
    node = seen[mine["passport_id"]]
    assert node.compute is not None
    assert node.heard is not None
    assert (node.owner, node.endpoint, node.simulated) == (alice.tenant, "http://127.0.0.1:9/v1", False)
    assert (node.compute.runtimes, node.heard.queue_depth, str(node.heard.price), node.heard.fresh) == (
        ("vllm", "tgi"),
        2,
        "0.5",
        True,
    )
    assert seen[odd["passport_id"]].compute is None
    others = container.catalog.candidates(tenant=bob.tenant, mode="live")
    assert mine["passport_id"] not in {node.passport_id for node in others}
    assert all(node.owner == "operator" and not node.simulated for node in others)
    tested = container.catalog.candidates(tenant=alice.tenant, mode="test")
    assert all(node.simulated for node in tested)
    assert container.catalog.candidates(tenant=bob.tenant, mode="live", named=mine["passport_id"]) == []
    (named,) = container.catalog.candidates(tenant=alice.tenant, mode="live", named=mine["passport_id"])
    assert named.passport_id == mine["passport_id"]


def test_an_endpoint_that_was_patched_is_the_one_that_is_called(alice: Caller, container: Container) -> None:
    node = alice.make("compute")
    alice.patch(f"/v1/passports/{node['passport_id']}/endpoints", {"inference_url": "http://127.0.0.1:10/v1"})
    (told,) = container.catalog.candidates(tenant=alice.tenant, mode="live", named=node["passport_id"])
    assert told.endpoint == "http://127.0.0.1:10/v1"


def test_test_keys_see_the_simulated_passports_and_nothing_else(container: Container, client: FlaskClient) -> None:
    tester = Caller.of(container, client, mode=Mode.TEST)
    body = tester.get("/v1/models").get_json()
    assert body["models"], "the stack's release registers the simulated model"
    assert all(model["simulated"] and model["tags"] == ["configured", "simulated"] for model in body["models"])
    assert {"sim-small", "sim-large"} == {entry["id"] for entry in body["data"]}
    live = Caller.of(container, client, tenant=tester.tenant).get("/v1/models").get_json()
    assert not {model["passport_id"] for model in live["models"]} & {model["passport_id"] for model in body["models"]}
    assert tester.get("/v1/models/sim-small").status_code == 200
