"""Configured upstreams as passports: registered, kept, deprecated, revoked; their heartbeats; keys that are nowhere to be read."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from devstack.supervisor import Stack
from shared.bootstrap import Container, Role, build
from shared.catalog.clients.models import ModelLists, Reply
from shared.catalog.probing import Probing
from shared.catalog.registration import Registrar
from shared.receipts.service import passport_of
from tests.contract.catalogue import Caller
from tests.contract.conftest import ADMIN_KEY
from tests.contract.model_lister import ModelLister

ROOT = Path(__file__).resolve().parents[2]
KEY = "sk-very-secret-0123456789"

Configured = Callable[..., Container]


@pytest.fixture
def operator(client: FlaskClient) -> Caller:
    return Caller(client, {"X-Admin-Key": ADMIN_KEY}, "operator")


@pytest.fixture
def lister() -> Iterator[ModelLister]:
    made = ModelLister("alpha", "beta/two", owner="vllm")
    yield made
    made.shut()


@pytest.fixture
def configured(container: Container) -> Iterator[Configured]:
    """Make processes with other settings; afterwards the catalogue is again what the stack's own settings say."""
    made: list[Container] = []

    def make(**settings: Any) -> Container:
        made.append(build(replace(container.settings, **settings), Role.CLI))
        return made[-1]

    yield make
    container.probing.sync()
    for process in made:
        process.database.close()
        process.redis_events.close()


@pytest.fixture
def with_extra(configured: Configured, lister: ModelLister) -> Container:
    return configured(upstreams=f"extra=http://{KEY}@127.0.0.1:{lister.port}/v1")


def rows(container: Container) -> list[dict[str, Any]]:
    with container.database.transaction() as tx:
        return tx.all("SELECT * FROM passports WHERE configured ORDER BY id")


def node_of(lister: ModelLister) -> str:
    return passport_of("compute", lister.base_url)


def model_of(lister: ModelLister, name: str) -> str:
    return passport_of("model", lister.base_url, name)


def impatient_probing(process: Container) -> Probing:
    """The process's probing, but for a client that waits a fifth of a second."""
    registrar = Registrar(
        process.database, passports=process.passports, passport_of=passport_of, region="local", owner="operator"
    )
    return Probing(
        process.database,
        upstreams=process.upstreams,
        model_lists=ModelLists(timeout_s=0.2),
        registrar=registrar,
        price=Decimal(1),
    )


def health_of(caller: Caller, node: str) -> dict[str, Any]:
    state: dict[str, Any] = caller.get(f"/v1/compute/nodes/{node}/health").get_json()["state"]
    return state


# -- what is registered


def test_the_release_has_registered_what_the_settings_name(container: Container, operator: Caller) -> None:
    settings = container.settings
    node, model = (
        passport_of("compute", settings.openai_base_url),
        passport_of("model", settings.openai_base_url, settings.work_model),
    )
    shown = operator.get(f"/v1/passports/{node}").get_json()["passport"]
    assert (shown["type"], shown["metadata"]["regions"]) == ("compute", ["local"])
    assert shown["simulated"] is True, "this stack has no model but the simulated one, and live calls say so"
    assert shown["metadata"]["endpoints"]["inference_url"] == settings.openai_base_url
    assert settings.work_model in shown["metadata"]["metadata"]["models"]
    assert operator.get(f"/v1/passports/{model}").get_json()["passport"]["name"] == settings.work_model
    simulated = [row for row in rows(container) if row["simulated"]]
    assert {row["type"] for row in simulated} == {"model", "compute"}
    assert not {node, model} & {row["passport_id"] for row in simulated}
    assert all("simulated" in row["tags"] and row["tenant"] == "operator" for row in simulated)


def test_what_is_registered_has_the_shape_that_is_demanded_of_others(container: Container) -> None:
    from shared.catalog.metadata import hash_of, require_sound
    from shared.catalog.model import PassportType

    for row in rows(container):
        require_sound(PassportType(row["type"]), row["metadata"])
        assert row["metadata_hash"] == hash_of(row["metadata"])


def test_doing_it_again_changes_nothing(container: Container, with_extra: Container) -> None:
    first = with_extra.probing.sync()
    before = rows(container)
    again = with_extra.probing.sync()
    assert len(first.created) == 3
    assert again.did_nothing
    assert again.standing == len([row for row in before if row["status"] == "active"])
    assert rows(container) == before
    with_extra.probing.probe()
    assert rows(container) == before


def test_many_who_do_it_at_once_make_each_passport_once(
    container: Container, configured: Configured, lister: ModelLister
) -> None:
    processes = [configured(upstreams=f"crowd={lister.base_url}") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda process: process.probing.sync(), processes))
    assert sorted(len(outcome.created) for outcome in done) == [0, 0, 0, 3]
    assert len([row for row in rows(container) if row["name"] == "alpha" and row["status"] == "active"]) == 1


def test_the_key_of_an_upstream_opens_it_and_stands_nowhere(
    container: Container, with_extra: Container, lister: ModelLister, operator: Caller
) -> None:
    with_extra.probing.sync()
    assert lister.asked[-1] == ("/v1/models", f"Bearer {KEY}")
    assert with_extra.upstreams.key_for(lister.base_url) == KEY
    with container.database.transaction() as tx:
        dump = tx.all("SELECT passports::text AS row FROM passports") + tx.all("SELECT events::text AS row FROM events")
    assert KEY not in json.dumps(dump)
    assert KEY not in operator.get("/v1/passports", per_page=100).get_data(as_text=True)
    assert operator.get(f"/v1/passports/{node_of(lister)}").status_code == 200
    answer = operator.get(f"/v1/passports/{model_of(lister, 'alpha')}").get_json()["passport"]["metadata"]["endpoints"]
    assert answer == {"openai_compat_base_url": lister.base_url, "auth_mode": "lucid_key"}


@pytest.mark.parametrize(
    ("owners", "runtime"),
    [("vllm", "vllm"), ("llamacpp", "llama.cpp"), ("library", "ollama"), ("acme", "openai-compatible")],
)
def test_the_runtime_is_what_the_server_calls_itself(
    with_extra: Container, lister: ModelLister, operator: Caller, owners: str, runtime: str
) -> None:
    lister.list("alpha", owner=owners)
    with_extra.probing.sync()
    node = operator.get(f"/v1/passports/{node_of(lister)}").get_json()["passport"]["metadata"]
    model = operator.get(f"/v1/passports/{model_of(lister, 'alpha')}").get_json()["passport"]["metadata"]
    assert node["runtimes"][0]["name"] == model["runtime_recommended"] == runtime
    assert {"name": "openai-compatible"} in node["runtimes"]
    assert node["metadata"]["simulated"] is False


# -- what goes


def test_what_is_no_longer_configured_is_deprecated_and_comes_back(
    container: Container, with_extra: Container, lister: ModelLister, operator: Caller
) -> None:
    with_extra.probing.sync()
    own = operator.make("other", name="not from the settings")
    gone = container.probing.sync()
    assert set(gone.deprecated) == {node_of(lister), model_of(lister, "alpha"), model_of(lister, "beta/two")}
    assert operator.get(f"/v1/passports/{node_of(lister)}").get_json()["passport"]["status"] == "deprecated"
    assert operator.get("/v1/models/alpha").status_code == 404
    assert operator.get(f"/v1/passports/{own['passport_id']}").get_json()["passport"]["status"] == "active"
    back = with_extra.probing.sync()
    assert set(back.restored) == set(gone.deprecated)
    assert not back.created
    assert operator.get("/v1/models/alpha").status_code == 200


def test_what_the_operator_revoked_stays_revoked(with_extra: Container, lister: ModelLister, operator: Caller) -> None:
    with_extra.probing.sync()
    lister.list("alpha", "beta/two", "doomed")
    with_extra.probing.sync()
    assert operator.delete(f"/v1/passports/{model_of(lister, 'doomed')}").status_code == 200
    assert with_extra.probing.sync().did_nothing
    assert operator.get("/v1/models/doomed").status_code == 404


def test_models_come_and_go_with_the_upstreams_list_and_a_probe_notices(
    with_extra: Container, lister: ModelLister, operator: Caller
) -> None:
    with_extra.probing.sync()
    lister.list("alpha", "gamma", owner="vllm")
    with_extra.probing.probe()
    node = operator.get(f"/v1/passports/{node_of(lister)}").get_json()["passport"]["metadata"]
    assert node["metadata"]["models"] == ["alpha", "gamma"]
    assert operator.get("/v1/models/gamma").status_code == 200
    assert operator.get("/v1/models/beta/two").status_code == 404


# -- heartbeats


def test_a_probe_speaks_for_an_upstream_and_its_failures_are_counted_apart(
    with_extra: Container, lister: ModelLister, operator: Caller, container: Container
) -> None:
    with_extra.probing.sync()
    state = health_of(operator, node_of(lister))
    assert (state["status"], state["price_per_1k_tokens_estimate"]) == ("healthy", 0.015)
    assert state["p95_ms_estimate"] >= 0
    assert "faults" not in state
    lister.shut()
    for _ in range(2):
        with_extra.probing.probe()
    state = health_of(operator, node_of(lister))
    assert (state["status"], state["faults"]["in_a_row"], state["faults"]["last"]) == ("down", 2, "CONNECTION")
    assert state["p95_ms_estimate"] >= 0, "what was measured is not lost"
    assert operator.get("/v1/models/alpha").status_code == 200, "an upstream that is away keeps its models"
    assert with_extra.probing.sync().did_nothing
    lister.reopen()
    with_extra.probing.probe()
    state = health_of(operator, node_of(lister))
    assert (state["status"], "faults" in state) == ("healthy", False)
    (node,) = container.catalog.candidates(tenant="operator", mode="live", named=node_of(lister))
    assert node.live is not None


def test_one_probe_without_an_answer_leaves_what_was_said_before(
    configured: Configured, lister: ModelLister, operator: Caller
) -> None:
    process = configured(upstreams=f"slow={lister.base_url}")
    process.probing.sync()
    said = health_of(operator, node_of(lister))
    lister.hold()
    asked = ModelLists(timeout_s=0.2).fetch(lister.base_url, "")
    assert (asked.reply, asked.code) == (Reply.NOT_AT_ALL, "TIMEOUT")
    impatient_probing(process).probe()
    lister.release()
    state = health_of(operator, node_of(lister))
    assert (state["status"], state["last_heartbeat"]) == ("healthy", said["last_heartbeat"])
    assert state["faults"]["last"] == "TIMEOUT"


def test_the_simulated_upstream_costs_nothing(container: Container) -> None:
    container.probing.probe()
    (node,) = container.catalog.candidates(tenant="anybody", mode="test")
    assert node.live is not None
    assert (node.live.status, node.live.price, node.simulated) == ("healthy", 0, True)


@pytest.mark.parametrize(
    ("status", "body", "reply", "code"),
    [
        (200, b'{"data": []}', Reply.WELL, ""),
        (200, b"not json", Reply.WELL, ""),
        (200, b'{"data": [{"id": 1}, {"id": ""}, {"id": "a\\nb"}, {"id": "' + b"x" * 201 + b'"}]}', Reply.WELL, ""),
        (404, b"{}", Reply.WELL, ""),
        (429, b"{}", Reply.BUSY, "RATE_LIMIT"),
        (503, b"loading", Reply.BUSY, "PROVIDER_ERROR"),
        (401, b"{}", Reply.NOT_AT_ALL, "AUTH"),
        (403, b"{}", Reply.WELL, ""),
        (200, b" " * (4 * 1024 * 1024 + 1), Reply.NOT_AT_ALL, "CONNECTION"),
    ],
)
def test_whatever_an_upstream_answers_has_a_meaning(
    lister: ModelLister, status: int, body: bytes, reply: Reply, code: str
) -> None:
    lister.answer(status, body)
    listing = ModelLists().fetch(lister.base_url, "")
    assert (listing.reply, listing.code) == (reply, code)
    assert not listing.models


def test_at_most_two_hundred_models_of_one_upstream_are_taken(lister: ModelLister) -> None:
    lister.list(*(f"model-{number:04}" for number in range(300)))
    listing = ModelLists().fetch(lister.base_url, "")
    assert listing.models is not None
    assert [model.name for model in listing.models] == [f"model-{number:04}" for number in range(200)]


# -- the command


def test_the_command_says_what_it_did_and_a_malformed_setting_is_refused_without_its_key(stack: Stack) -> None:
    def run(**more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "cli.main", "catalog", "sync", "--json"]
        environment = {**stack.environment, **more}
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    done = run()
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told) == {"created", "changed", "deprecated", "restored", "standing"}
    assert told["standing"] >= 4
    assert json.loads(run().stdout)["created"] == []
    refused = run(UPSTREAMS=f"default=http://{KEY}@127.0.0.1:9/v1")
    assert refused.returncode == 1
    assert "UPSTREAMS" in refused.stdout
    assert KEY not in refused.stdout + refused.stderr
