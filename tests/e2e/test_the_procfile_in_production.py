"""Every line of the Procfile, started with environment variables alone, in production mode: a job to its end, a stop in its middle."""

from __future__ import annotations

import base64
import os
import socket
from collections.abc import Iterator

import httpx
import pytest

from cli.sandbox import Wallet
from devstack.supervisor import Stack
from tests.e2e.market import QUICK
from tests.e2e.patience import eventually
from tests.e2e.platform import Platform, running_platform


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """What an operator brings: stores, a node, a model, a witness. No process of the product; no schema either."""
    environment = {**QUICK, "PATH": os.environ["PATH"], "PORT": "0"}
    with Stack(tmp_path_factory.mktemp("outside"), environment, real_model=False, processes=(), migrate=False) as stack:
        yield stack


@pytest.fixture(scope="module")
def platform(outside: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The platform, with every line running and ready."""
    ports = {name: str(_free_port()) for name in ("PORT", "FLOWER_PORT")}
    environment = outside.environment | ports | {"HOST": "127.0.0.1", "WEB_CONCURRENCY": "1"}
    with running_platform(environment, tmp_path_factory.mktemp("logs")) as platform:
        platform.start("relay")
        refused = platform.stop("relay") if _ended(platform, "relay") else {}
        assert refused == {"relay": 1}, "a process started on a database without a schema"
        assert "lucid migrate" in platform.log("relay")
        first, second = platform.release(), platform.release()
        assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
        assert "nothing to do" in second.stderr
        platform.start()
        with _client(platform) as api:
            eventually(lambda: _is_ready(api), what="a ready web process", within_s=60)
        yield platform


def test_a_job_is_done_from_environment_variables_alone(platform: Platform, outside: Stack) -> None:
    with _client(platform) as api:
        job = _bought(api, outside, "Say something short.")
        assert eventually(lambda: _in_state(api, job, "complete"), what="a complete job")["receiptId"]


def test_a_job_outlives_a_stop_of_the_whole_platform_in_its_middle(platform: Platform, outside: Stack) -> None:
    with _client(platform) as api:
        job = _bought(api, outside, "Take your time. [sim:total:3]")
    codes = platform.stop()
    assert all(code in (0, -15) for code in codes.values()), codes
    platform.start()
    with _client(platform) as api:
        eventually(lambda: _is_ready(api), what="a ready web process", within_s=60)
        done = eventually(lambda: _in_state(api, job, "complete"), what="a complete job", within_s=60)
        cost = done["costLedger"]
        assert cost["workAmountSats"] - cost["actualAmountSats"] == cost["refundAmountSats"]


def test_flower_opens_no_path_without_the_password_and_controls_nothing_with_it(platform: Platform) -> None:
    environment = platform.environment
    credentials = f"{environment['FLOWER_USER']}:{environment['FLOWER_PASSWORD']}"
    right = {"Authorization": "Basic " + base64.b64encode(credentials.encode()).decode()}
    wrong = {"Authorization": "Basic " + base64.b64encode(b"lucid:guess").decode()}
    paths = ("/", "/workers", "/tasks", "/broker", "/metrics", "/healthcheck", "/api/workers", "/api/tasks", "/login")
    with httpx.Client(base_url=f"http://127.0.0.1:{environment['FLOWER_PORT']}", trust_env=False) as flower:
        for path in (*paths, "/static/css/flower.css", "/nothing/here"):
            for headers in ({}, wrong, {"Authorization": "Basic"}, {"Authorization": "Bearer x"}):
                answer = flower.get(path, headers=headers)
                assert answer.status_code == 401, (path, answer.status_code)
        assert flower.get("/healthcheck", headers=right).status_code == 200
        tasks = eventually(lambda: flower.get("/api/tasks", headers=right).json(), what="tasks in Flower")
        assert {task["name"] for task in tasks.values()} >= {"canary.sing"}
        for action in ("/api/worker/shutdown/money@x", "/api/task/revoke/x", "/api/worker/pool/grow/money@x"):
            assert flower.post(action, headers=right).status_code == 403


def _bought(api: httpx.Client, outside: Stack, text: str) -> str:
    wallet = Wallet(outside.endpoints["wallet"])
    created = api.post("/api/jobs", json={"request": text})
    assert created.status_code == 201, created.text
    job = str(created.json()["jobId"])
    wallet.pay(created.json()["evalInvoice"]["paymentRequest"])
    waiting = eventually(lambda: _in_state(api, job, "awaiting_work_payment"), what="a work invoice")
    wallet.pay(waiting["workInvoice"]["paymentRequest"])
    wallet.close()
    return job


def _in_state(api: httpx.Client, job: str, state: str) -> dict[str, dict[str, int]] | None:
    found: dict[str, dict[str, int]] = api.get(f"/api/jobs/{job}").json()
    assert found["state"] not in ("failed", "rejected") or state in ("failed", "rejected"), found
    return found if found["state"] == state else None


def _client(platform: Platform) -> httpx.Client:
    address = f"http://127.0.0.1:{platform.environment['PORT']}"
    return httpx.Client(base_url=address, timeout=40, trust_env=False)


def _is_ready(api: httpx.Client) -> bool:
    try:
        return api.get("/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def _ended(platform: Platform, name: str) -> bool:
    return bool(eventually(lambda: platform.has_ended(name), what=f"the end of {name}"))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
