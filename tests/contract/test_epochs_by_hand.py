"""Epochs opened and committed by hand: the log's by its operator, a project's by its tenant, each once, whoever asks how often."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from flask import Flask

from shared.access.model import Scope
from shared.bootstrap import Container, Role, build
from shared.receipts.anchoring import Anchoring
from shared.receipts.anchors.witness import WitnessClient
from shared.receipts.commits import Asked, By, Commits
from shared.receipts.model import AnchorState, EpochStatus
from tests.contract.gateway_caller import Contract, Tenant, by_operation, refusal
from tests.e2e.patience import at_once
from web.app import create_app
from web.gateway.views import tx_in_words
from web.limits import limits_of

COMMIT, BATCH = "/v1/receipts/commit-root", "/v1/receipts/commit-roots-batch"
CLAIM = {
    "model_passport_id": "m",
    "compute_passport_id": "c",
    "policy_hash": "0" * 64,
    "runtime": "vllm",
    "tokens_in": 1,
    "tokens_out": 1,
    "ttft_ms": 1,
}
NO_EPOCH = f"epoch_{'0' * 32}"


@pytest.fixture(scope="module")
def contract(gateway_contract: dict[str, Any]) -> Contract:
    return by_operation(gateway_contract)


@pytest.fixture
def alice(app: Flask, container: Container, contract: Contract) -> Tenant:
    return Tenant.enter(app, container, contract)


@pytest.fixture
def bob(app: Flask, container: Container, contract: Contract) -> Tenant:
    return Tenant.enter(app, container, contract)


@pytest.fixture
def operator(app: Flask, container: Container, contract: Contract) -> Tenant:
    """A key with the scope admin alone."""
    return Tenant.enter(app, container, contract, Scope.ADMIN)


class Refuser(BaseHTTPRequestHandler):
    """A witness that will not cosign."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def worker(container: Container, url: str) -> Iterator[None]:
    """Submit what is to be anchored to the witness at `url`, as the worker of the anchor queue does."""
    ended = threading.Event()
    witness = WitnessClient(url, container.settings.witness_key)
    anchoring = Anchoring(container.database, witness=witness, work=container.work, events=container.events)

    def work() -> None:
        while not ended.wait(0.02):
            with container.database.transaction() as tx:
                intended = [row["id"] for row in tx.all("SELECT id FROM anchors WHERE state = 'intended'")]
            for anchor_id in intended:
                anchoring.submit(anchor_id)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        witness.close()


@contextmanager
def refusing() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Refuser)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def witnessed(container: Container) -> Iterator[None]:
    with worker(container, container.settings.witness_url):
        yield


@pytest.fixture
def refused(container: Container) -> Iterator[None]:
    with refusing() as url, worker(container, url):
        yield


def claim(tenant: Tenant, project: str | None = None) -> str:
    more = {"project_id": project} if project else {}
    return str(tenant.post("lucid_create_receipt", "/v1/receipts", {**CLAIM, **more})["receipt"]["run_id"])


def open_epoch(tenant: Tenant, project: str | None = None) -> dict[str, Any]:
    body = {"project_id": project} if project else None
    return dict(tenant.post("lucid_create_epoch", "/v1/epochs", body)["epoch"])


def commit(tenant: Tenant, body: Any = None, **headers: str) -> dict[str, Any]:
    return tenant.post("lucid_commit_epoch_root", COMMIT, body, **headers)


def epoch(tenant: Tenant, epoch_id: str) -> dict[str, Any]:
    return dict(tenant.get("lucid_get_epoch", f"/v1/epochs/{epoch_id}")["epoch"])


# -- the log's own


def test_opening_without_a_project_names_the_logs_open_epoch(alice: Tenant) -> None:
    opened = open_epoch(alice)
    assert opened["status"] == "open"
    assert alice.get("lucid_get_current_epoch", "/v1/epochs/current")["epoch"]["epoch_id"] == opened["epoch_id"]
    assert open_epoch(alice)["epoch_id"] == opened["epoch_id"]


@pytest.mark.usefixtures("witnessed")
def test_committing_closes_and_anchors_what_was_issued_until_then(alice: Tenant, operator: Tenant) -> None:
    run_id = claim(alice)
    done = commit(operator)
    assert (done["status"], done["on_chain"]) == ("anchored", False)
    assert done["tx"] == "no chain transaction (witness: final)"
    closed = epoch(operator, done["epoch_id"])
    assert (closed["mmr_root"], closed["leaf_count"], closed["tree_size"]) == (
        done["root"],
        done["leaf_count"],
        done["tree_size"],
    )
    assert alice.get("lucid_verify_epoch", f"/v1/epochs/{done['epoch_id']}/verify")["valid"] is True
    assert (
        alice.get("lucid_verify_receipt", f"/v1/receipts/{run_id}/verify")["anchored"]["epoch_id"] == done["epoch_id"]
    )
    assert alice.call("GET", f"/v1/epochs/{done['epoch_id']}/transaction").status_code == 404
    assert commit(operator, {"epoch_id": done["epoch_id"]}) == done


@pytest.mark.usefixtures("witnessed")
def test_an_empty_epoch_is_refused_unless_forced_and_then_the_newest_boundary_is_anchored(
    alice: Tenant, operator: Tenant
) -> None:
    claim(alice)
    before = commit(operator)
    assert refusal(operator.call("POST", COMMIT)) == (400, "EPOCH_EMPTY")
    forced = commit(operator, {"force": True})
    assert (forced["leaf_count"], forced["status"]) == (0, "open")
    assert (forced["root"], forced["tree_size"], forced["anchors"]) == (
        before["root"],
        before["tree_size"],
        before["anchors"],
    )


@pytest.mark.usefixtures("witnessed")
def test_many_commits_at_once_close_one_epoch(alice: Tenant, operator: Tenant) -> None:
    claim(alice)
    named = open_epoch(alice)["epoch_id"]
    bodies = [{"epoch_id": named}] * 4 + [None] * 2
    answers = at_once(*[lambda body=body: operator.call("POST", COMMIT, body) for body in bodies])
    done = [answer.get_json() for answer in answers if answer.status_code == 202]
    assert {told["epoch_id"] for told in done} == {named}
    assert {told["root"] for told in done} == {epoch(alice, named)["mmr_root"]}
    assert {refusal(answer) for answer in answers if answer.status_code != 202} <= {(400, "EPOCH_EMPTY")}
    assert all(answer.status_code == 202 for answer in answers[:4])


def test_the_logs_epochs_are_not_every_keys_to_close(alice: Tenant) -> None:
    claim(alice)
    named = open_epoch(alice)["epoch_id"]
    for body in (None, {"epoch_id": named}, {"force": True}):
        assert refusal(alice.call("POST", COMMIT, body)) == (403, "FORBIDDEN")
    assert refusal(alice.call("POST", f"/v1/epochs/{named}/retry"))[0] == 403
    assert epoch(alice, named)["status"] == "open"


def test_without_a_worker_the_answer_says_how_far_it_came(alice: Tenant, container: Container) -> None:
    impatient = Commits(
        container.database,
        log=container.log,
        receipts=container.receipts,
        events=container.events,
        clock=container.clock,
        wait_s=0.1,
    )
    claim(alice)
    done = impatient.commit(Asked(), by=By("somebody", may_commit_log=True))
    assert (done.view.status, done.anchors[0].state) == (EpochStatus.ANCHORING, AnchorState.INTENDED)
    assert tx_in_words(done) == "no chain transaction (witness: intended)"


def test_without_a_target_nothing_is_closed_and_503_names_epoch_and_root(
    alice: Tenant, container: Container, contract: Contract
) -> None:
    alone = build(replace(container.settings, witness_url="", witness_key=""), Role.WEB)
    app = create_app(alone)
    operator = Tenant.enter(app, alone, contract, Scope.ADMIN)
    claim(alice)
    answer = operator.call("POST", COMMIT)
    assert refusal(answer) == (503, "NO_ANCHOR_TARGET")
    told = answer.get_json()
    assert len(bytes.fromhex(told["root"])) == 32
    assert epoch(alice, told["epoch_id"])["status"] == "open"
    limits_of(app).close()
    alone.database.close()


@pytest.mark.parametrize("body", [{"epoch_id": NO_EPOCH}, {"epoch_id": "x"}, {"project_id": "nobody's"}])
def test_an_unknown_epoch_is_400(operator: Tenant, body: dict[str, str]) -> None:
    assert refusal(operator.call("POST", COMMIT, body)) == (400, "EPOCH_NOT_FOUND")


# -- a project's


@pytest.mark.usefixtures("witnessed")
def test_a_projects_epoch_holds_its_receipts_between_two_sizes_of_the_log(alice: Tenant, bob: Tenant) -> None:
    opened = open_epoch(alice, "p")
    assert (opened["project_id"], opened["status"], opened["leaf_count"]) == ("p", "open", 0)
    for tenant, project in ((alice, "p"), (alice, "q"), (bob, "p"), (alice, None), (alice, "p")):
        claim(tenant, project)
    done = commit(alice, {"project_id": "p"})
    assert (done["epoch_id"], done["leaf_count"], done["status"]) == (opened["epoch_id"], 2, "anchored")
    closed = epoch(alice, done["epoch_id"])
    assert (closed["leaf_count"], closed["mmr_root"], closed["tree_size"]) == (2, done["root"], done["tree_size"])
    assert alice.get("lucid_verify_epoch", f"/v1/epochs/{done['epoch_id']}/verify")["valid"] is True
    assert commit(alice, {"project_id": "p"}) == commit(alice, {"epoch_id": done["epoch_id"]}) == done


@pytest.mark.usefixtures("witnessed")
def test_each_receipt_of_a_project_is_in_just_one_of_its_epochs(alice: Tenant) -> None:
    claim(alice, "p")  # before any epoch was opened: the first one holds it
    open_epoch(alice, "p")
    first = commit(alice, {"project_id": "p"})
    claim(alice, "p")  # between two epochs: the second one holds it
    second = open_epoch(alice, "p")
    assert second["start_leaf_index"] == first["tree_size"]
    claim(alice, "p")
    assert commit(alice, {"project_id": "p"})["leaf_count"] == 2
    listed = alice.get("lucid_list_epochs", "/v1/epochs?project_id=p&per_page=1")
    assert (listed["pagination"]["total"], listed["epochs"][0]["epoch_index"]) == (2, 2)
    assert alice.get("lucid_list_epochs", "/v1/epochs?project_id=p&status=open")["epochs"] == []


def test_opening_a_projects_epoch_many_times_at_once_opens_one(alice: Tenant) -> None:
    opened = at_once(*[lambda: open_epoch(alice, "p") for _ in range(5)])
    assert len({found["epoch_id"] for found in opened}) == 1
    current = alice.get("lucid_get_current_epoch", "/v1/epochs/current?project_id=p")["epoch"]
    assert current["epoch_id"] == opened[0]["epoch_id"]


@pytest.mark.usefixtures("witnessed")
def test_many_commits_of_a_project_at_once_close_one_epoch(alice: Tenant) -> None:
    open_epoch(alice, "p")
    claim(alice, "p")
    done = at_once(*[lambda: commit(alice, {"project_id": "p"}) for _ in range(5)])
    assert len({(told["epoch_id"], told["root"], told["leaf_count"]) for told in done}) == 1
    assert alice.get("lucid_list_epochs", "/v1/epochs?project_id=p")["pagination"]["total"] == 1


@pytest.mark.usefixtures("witnessed")
def test_whoever_commits_and_however_many_schedulers_run_the_logs_epochs_join_and_views_end_on_them(
    alice: Tenant, bob: Tenant, operator: Tenant, container: Container
) -> None:
    for tenant in (alice, bob):
        open_epoch(tenant, "p")
        claim(tenant, "p")

    def schedule() -> int:
        with container.database.transaction() as tx:
            container.log.close_epochs(tx, by_hand=True)
        return 202

    def commit_own(tenant: Tenant) -> int:
        return tenant.call("POST", COMMIT, {"project_id": "p"}).status_code

    calls = [lambda: commit_own(alice), lambda: commit_own(bob), schedule, schedule]
    calls += [lambda: operator.call("POST", COMMIT, {"force": True}).status_code] * 2
    assert set(at_once(*calls)) == {202}
    with container.database.transaction() as tx:
        log = tx.all("SELECT start_size, end_size FROM epochs ORDER BY number")
        views = tx.all("SELECT end_size FROM project_epochs WHERE end_size IS NOT NULL")
        lost = tx.all("SELECT 1 FROM anchors GROUP BY target, size HAVING count(*) > 1")
    assert [row["end_size"] for row in log[:-1]] == [row["start_size"] for row in log[1:]]
    assert {row["end_size"] for row in views} <= {row["end_size"] for row in log}
    assert lost == []
    for tenant in (alice, bob):
        assert commit(tenant, {"project_id": "p"})["leaf_count"] == 1


@pytest.mark.usefixtures("witnessed")
def test_an_empty_epoch_of_a_project_closes_only_when_forced(alice: Tenant, bob: Tenant, operator: Tenant) -> None:
    claim(bob)
    commit(operator)
    opened = open_epoch(alice, "p")
    assert refusal(alice.call("POST", COMMIT, {"project_id": "p"})) == (400, "EPOCH_EMPTY")
    done = commit(alice, {"project_id": "p", "force": True})
    assert (done["epoch_id"], done["leaf_count"], done["status"]) == (opened["epoch_id"], 0, "anchored")
    assert "end_leaf_index" in epoch(alice, done["epoch_id"])


def test_a_projects_epochs_are_its_tenants_alone(alice: Tenant, bob: Tenant, operator: Tenant, app: Flask) -> None:
    mine = open_epoch(alice, "p")["epoch_id"]
    stranger = app.test_client()
    for path in (f"/v1/epochs/{mine}", f"/v1/epochs/{mine}/transaction"):
        assert bob.call("GET", path).status_code == stranger.get(path).status_code == 404
    assert bob.get("lucid_verify_epoch", f"/v1/epochs/{mine}/verify")["error"] == "epoch not found"
    assert bob.get("lucid_list_epochs", "/v1/epochs?project_id=p")["epochs"] == []
    assert bob.call("GET", "/v1/epochs/current?project_id=p").status_code == 404
    for path in ("/v1/epochs?project_id=p", "/v1/epochs/current?project_id=p"):
        assert stranger.get(path).status_code == 401
    for other in (bob, operator):
        assert refusal(other.call("POST", COMMIT, {"epoch_id": mine})) == (400, "EPOCH_NOT_FOUND")
        assert refusal(other.call("POST", f"/v1/epochs/{mine}/retry")) == (400, "EPOCH_NOT_FOUND")
    assert mine not in {found["epoch_id"] for found in bob.get("lucid_list_epochs", "/v1/epochs")["epochs"]}


@pytest.mark.usefixtures("witnessed")
def test_a_key_commits_once_even_where_more_was_issued_meanwhile(alice: Tenant, operator: Tenant) -> None:
    claim(alice)
    done = commit(operator, Idempotency_Key="k")
    claim(alice)
    assert commit(operator, Idempotency_Key="k") == done


# -- several, and again


@pytest.mark.usefixtures("witnessed")
def test_a_batch_tells_of_each_in_its_order(alice: Tenant, bob: Tenant) -> None:
    mine = [open_epoch(alice, project)["epoch_id"] for project in ("p", "q", "empty")]
    claim(alice, "p"), claim(alice, "q")
    of_bob = open_epoch(bob, "p")["epoch_id"]
    asked = [mine[1], NO_EPOCH, mine[0], mine[2], of_bob, mine[1]]
    told = alice.post("lucid_commit_epoch_roots_batch", BATCH, {"epoch_ids": asked})
    assert [result["epoch_id"] for result in told["results"]] == asked
    assert [result["success"] for result in told["results"]] == [True, False, True, False, False, True]
    assert (told["success"], told["total"], told["successful_count"], told["failed_count"]) == (False, 6, 3, 3)
    errors = [result.get("error_code") for result in told["results"]]
    assert errors == [None, "EPOCH_NOT_FOUND", None, "EPOCH_EMPTY", "EPOCH_NOT_FOUND", None]
    assert {result["status"] for result in told["results"] if result["success"]} == {"anchored"}
    assert not any("signature" in result for result in told["results"])


@pytest.mark.parametrize("epoch_ids", [[], [NO_EPOCH] * 17, "x", [1], None])
def test_a_batch_of_none_or_too_many_is_400(alice: Tenant, epoch_ids: Any) -> None:
    assert refusal(alice.call("POST", BATCH, {"epoch_ids": epoch_ids}))[0] == 400


def test_what_was_refused_fails_and_is_asked_for_again_once(
    alice: Tenant, operator: Tenant, container: Container
) -> None:
    claim(alice)
    with refusing() as url, worker(container, url):
        answer = operator.call("POST", COMMIT)
    assert refusal(answer) == (503, "NOT_ANCHORED")
    failed = answer.get_json()["epoch_id"]
    assert epoch(alice, failed)["status"] == "failed"
    assert refusal(operator.call("POST", COMMIT, {"epoch_id": failed})) == (503, "NOT_ANCHORED")
    health = alice.get("lucid_get_anchoring_health", "/v1/anchoring/health")
    assert (health["connected"], health["authority_configured"]) == (False, True)
    answers = at_once(*[lambda: operator.call("POST", f"/v1/epochs/{failed}/retry") for _ in range(4)])
    assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400]
    (told,) = [answer for answer in answers if answer.status_code == 200]
    assert operator.fitting("lucid_retry_epoch", told)["epoch"] == {
        "epoch_id": failed,
        "status": "anchoring",
        "retry_count": 1,
    }
    with worker(container, container.settings.witness_url):
        done = commit(operator, {"epoch_id": failed})
    assert done["status"] == "anchored"
    assert epoch(alice, failed)["retry_count"] == 1
    assert refusal(operator.call("POST", f"/v1/epochs/{failed}/retry")) == (400, "EPOCH_NOT_FAILED")


def test_a_project_has_its_own_failed_epoch_anchored_again(alice: Tenant, container: Container) -> None:
    mine = open_epoch(alice, "p")["epoch_id"]
    claim(alice, "p")
    with refusing() as url, worker(container, url):
        assert alice.call("POST", COMMIT, {"project_id": "p"}).status_code == 503
    assert epoch(alice, mine)["status"] == "failed"
    alice.post("lucid_retry_epoch", f"/v1/epochs/{mine}/retry")
    with worker(container, container.settings.witness_url):
        assert commit(alice, {"project_id": "p"})["status"] == "anchored"


def test_only_what_failed_is_tried_again(alice: Tenant, operator: Tenant) -> None:
    for tenant, named in ((operator, open_epoch(alice)["epoch_id"]), (alice, open_epoch(alice, "p")["epoch_id"])):
        assert refusal(tenant.call("POST", f"/v1/epochs/{named}/retry")) == (400, "EPOCH_NOT_FAILED")
    assert refusal(operator.call("POST", f"/v1/epochs/{NO_EPOCH}/retry")) == (400, "EPOCH_NOT_FOUND")


def test_stats_count_the_logs_epochs_under_both_names(alice: Tenant) -> None:
    stats = alice.get("lucid_get_epoch_stats", "/v1/epochs/stats")["stats"]
    assert {stats[f"{status}_epochs"] for status in stats["by_status"]} == set(stats["by_status"].values())
    assert stats["total_receipts_anchored"] <= stats["total_receipts"]


def test_what_changes_epochs_needs_a_key(app: Flask) -> None:
    client = app.test_client()
    for path in ("/v1/epochs", COMMIT, BATCH, f"/v1/epochs/{NO_EPOCH}/retry"):
        assert refusal(client.post(path, json={"epoch_ids": [NO_EPOCH]}))[0] == 401
