"""The same key and the same request: one answer, once."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest

from config.settings import Settings
from devstack.parts import ROOT
from devstack.procfile import read_procfile
from devstack.supervisor import Stack
from shared.agent import store as jobs
from shared.agent.model import JobState
from shared.bootstrap import Container, Role, build
from shared.idempotency.model import Answer, Claim, KeyInUse, KeyRef, KeyReused
from shared.idempotency.service import ABANDONED_AFTER_S, LIFE_S, Idempotency, name
from shared.kernel.errors import InvalidInput
from shared.kernel.owner import Owner
from shared.ledger import service as ledger
from shared.ledger.model import DebtReason
from tests.contract.asleep import asleep
from tests.e2e.patience import eventually
from tests.unit.lightning.test_a_callers_invoice import signed
from web.app import create_app


class HandClock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def turn(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


REQUEST = hashlib.sha256(b"request").digest()
MADE = Owner("thing", 7)
OTHER = hashlib.sha256(b"other").digest()
DONE = Answer(201, {"text": '{"usd":0.0050}', "headers": {"Location": "/x"}})


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def keys(container: Container, clock: HandClock) -> Idempotency:
    return Idempotency(container.database, clock=clock)


@pytest.fixture
def ref() -> KeyRef:
    return KeyRef("POST /x", uuid4().hex)


def claimed(keys: Idempotency, ref: KeyRef, fingerprint: bytes = REQUEST) -> Claim:
    begun = keys.begin(ref, fingerprint=fingerprint)
    assert isinstance(begun, Claim)
    return begun


def test_a_finished_answer_is_replayed_as_it_was(keys: Idempotency, ref: KeyRef) -> None:
    keys.finish(claimed(keys, ref), DONE)
    assert keys.begin(ref, fingerprint=REQUEST) == DONE


def test_a_running_request_is_in_use_and_says_when_to_come_back(keys: Idempotency, ref: KeyRef) -> None:
    claimed(keys, ref)
    with pytest.raises(KeyInUse) as caught:
        keys.begin(ref, fingerprint=REQUEST)
    assert caught.value.retry_after_s > 0


def test_another_request_under_the_key_is_refused_before_and_after_the_answer(keys: Idempotency, ref: KeyRef) -> None:
    claim = claimed(keys, ref)
    with pytest.raises(KeyReused):
        keys.begin(ref, fingerprint=OTHER)
    keys.finish(claim, DONE)
    with pytest.raises(KeyReused):
        keys.begin(ref, fingerprint=OTHER)


@pytest.mark.parametrize("status", [401, 402, 409, 410, 429, 500, 503])
def test_an_answer_that_may_change_frees_the_key(keys: Idempotency, ref: KeyRef, status: int) -> None:
    keys.finish(claimed(keys, ref), Answer(status, {}))
    claimed(keys, ref)


@pytest.mark.parametrize("status", [200, 201, 400, 404, 422])
def test_a_success_or_a_terminal_refusal_is_kept(keys: Idempotency, ref: KeyRef, status: int) -> None:
    keys.finish(claimed(keys, ref), Answer(status, {}))
    assert keys.begin(ref, fingerprint=REQUEST) == Answer(status, {})


def test_an_abandoned_claim_is_taken_over_by_the_same_request_only(
    keys: Idempotency, clock: HandClock, ref: KeyRef
) -> None:
    first = claimed(keys, ref)
    clock.turn(ABANDONED_AFTER_S)
    with pytest.raises(KeyReused):
        keys.begin(ref, fingerprint=OTHER)
    second = claimed(keys, ref)
    keys.finish(first, Answer(201, {"text": "from the dead"}))
    with pytest.raises(KeyInUse):
        keys.begin(ref, fingerprint=REQUEST)
    keys.finish(second, DONE)
    assert keys.begin(ref, fingerprint=REQUEST) == DONE


def making(keys: Idempotency, ref: KeyRef, container: Container, made: Owner = MADE) -> Claim:
    """Claim a key and make something under it, as a request does that then dies."""
    claim = claimed(keys, ref)
    with container.database.transaction() as tx:
        name(tx, claim, made)
    return claim


def test_what_was_made_under_an_unanswered_key_is_found_at_once_by_the_same_request_only(
    keys: Idempotency, ref: KeyRef, container: Container
) -> None:
    making(keys, ref, container)
    with pytest.raises(KeyReused):
        keys.begin(ref, fingerprint=OTHER)
    again = claimed(keys, ref)
    assert again.made == MADE
    assert keys.finish(again, DONE), "an answer about what was made before is not marked as such"
    assert keys.begin(ref, fingerprint=REQUEST) == DONE


def test_a_key_that_names_what_was_made_is_not_freed_by_a_failure(
    keys: Idempotency, ref: KeyRef, container: Container
) -> None:
    keys.finish(making(keys, ref, container), Answer(500, {}))
    with pytest.raises(KeyReused):
        keys.begin(ref, fingerprint=OTHER)
    assert claimed(keys, ref).made == MADE


def test_what_is_made_anew_under_a_key_is_no_replay(keys: Idempotency, ref: KeyRef, container: Container) -> None:
    assert not keys.finish(making(keys, ref, container), Answer(500, {}))
    again = making(keys, ref, container, Owner("thing", 8))
    assert again.made == MADE
    assert not keys.finish(again, DONE)


def test_who_lost_the_key_makes_nothing(keys: Idempotency, clock: HandClock, ref: KeyRef, container: Container) -> None:
    late = claimed(keys, ref)
    clock.turn(ABANDONED_AFTER_S)
    claimed(keys, ref)
    request = f"Say hello. {uuid4()}"
    with pytest.raises(KeyInUse):
        container.jobs.create(request, address="192.0.2.1", claim=late)
    assert jobs_for(request, container) == []


def test_a_new_day_forgets_what_was_made(
    keys: Idempotency, clock: HandClock, ref: KeyRef, container: Container
) -> None:
    making(keys, ref, container)
    clock.turn(LIFE_S)
    assert claimed(keys, ref, OTHER).made is None


def test_a_key_lives_a_day(keys: Idempotency, clock: HandClock, ref: KeyRef, container: Container) -> None:
    keys.finish(claimed(keys, ref), DONE)
    clock.turn(LIFE_S - 1)
    assert keys.begin(ref, fingerprint=REQUEST) == DONE
    clock.turn(1)
    claimed(keys, ref, OTHER)
    clock.turn(LIFE_S)
    with container.database.transaction() as tx:
        assert keys.prune(tx) >= 1


@pytest.mark.parametrize("key", ["", "x" * 256, "a\x00b", "ключ", "a\nb"])
def test_a_malformed_key_is_refused(keys: Idempotency, key: str) -> None:
    with pytest.raises(InvalidInput):
        keys.begin(KeyRef("POST /x", key), fingerprint=REQUEST)


def test_of_many_at_once_one_may_answer(keys: Idempotency, ref: KeyRef) -> None:
    outcomes: list[str] = []
    together = threading.Barrier(8)

    def ask() -> None:
        together.wait()
        try:
            outcomes.append(type(keys.begin(ref, fingerprint=REQUEST)).__name__)
        except KeyInUse:
            outcomes.append("KeyInUse")

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["Claim"] + ["KeyInUse"] * 7


def test_a_repeated_creation_gets_the_first_job_byte_for_byte(web_url: str) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    first = httpx.post(f"{web_url}/api/jobs", json={"request": "Say hello."}, headers=key)
    again = httpx.post(f"{web_url}/api/jobs", json={"request": "Say hello."}, headers=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["X-Request-Id"] != first.headers["X-Request-Id"]


@pytest.fixture
def dying_web(stack: Stack) -> Iterator[Callable[[str], str]]:
    """Start a web process of its own over the same stores, which dies at a failpoint; answer its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    started: list[subprocess.Popen[bytes]] = []

    def start(point: str) -> str:
        own = {"PORT": port, "HOST": "127.0.0.1", "WEB_CONCURRENCY": "1", "FAILPOINTS": f"{point}=crash"}
        command = ["sh", "-c", read_procfile(ROOT / "Procfile")["web"]]
        started.append(subprocess.Popen(command, cwd=ROOT, env=stack.environment | own, start_new_session=True))
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: is_alive(url), what="a web process", within_s=60)
        return url

    yield start
    for process in started:
        os.killpg(process.pid, signal.SIGKILL)  # its worker has died already; nothing is left to do in order
        process.wait()


@pytest.mark.parametrize("point", ["before:bus.announce", "before:idempotency.answer"])
def test_a_key_whose_web_process_died_before_it_answered_gives_the_job_that_it_made(
    point: str, dying_web: Callable[[str], str], web_url: str, container: Container
) -> None:
    body, key = {"request": f"Say hello. {uuid4()}"}, {"Idempotency-Key": uuid4().hex}
    with pytest.raises(httpx.TransportError):
        httpx.post(f"{dying_web(point)}/api/jobs", json=body, headers=key, timeout=30)
    again = httpx.post(f"{web_url}/api/jobs", json=body, headers=key, timeout=30)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert [again.json()["jobId"]] == jobs_for(body["request"], container)
    assert again.json()["evalInvoice"]["amountSats"] == 10
    third = httpx.post(f"{web_url}/api/jobs", json=body, headers=key, timeout=30)
    assert (third.content, third.headers["Location"]) == (again.content, again.headers["Location"])


def test_a_job_that_was_taken_back_is_made_anew_under_its_key(stack: Stack, web_url: str, container: Container) -> None:
    body, key = (
        {"request": f"Say hello. {uuid4()}"},
        {"Idempotency-Key": uuid4().hex, "Content-Type": "application/json"},
    )
    impatient = build(replace(Settings.load(stack.environment), invoice_wait_s=0.0), Role.WEB)
    try:
        with asleep(stack, "worker-money"):
            late = create_app(impatient).test_client().post("/api/jobs", data=json.dumps(body), headers=key)
    finally:
        impatient.database.close()
        if impatient.bus._reader is None:  # one that reads ends with the process
            impatient.bus._client.close()
    assert (late.status_code, late.get_json()["code"]) == (500, "deadline_passed")
    again = httpx.post(f"{web_url}/api/jobs", content=json.dumps(body), headers=key)
    assert again.status_code == 201
    assert "Idempotent-Replayed" not in again.headers
    taken_back, made = jobs_for(body["request"], container)
    assert (taken_back != made, made) == (True, again.json()["jobId"])


def is_alive(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/live", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def jobs_for(request: str, container: Container) -> list[str]:
    """Return the public ids of the jobs with this text, oldest first."""
    with container.database.transaction() as tx:
        rows = tx.all("SELECT public_id FROM jobs WHERE request = %(request)s ORDER BY id", {"request": request})
    return [row["public_id"] for row in rows]


def test_a_key_with_another_body_is_422_in_the_doors_shape(web_url: str) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    httpx.post(f"{web_url}/api/jobs", json={"request": "Say hello."}, headers=key)
    other = httpx.post(f"{web_url}/api/jobs", json={"request": "Say goodbye."}, headers=key)
    assert other.status_code == 422
    assert other.json()["code"] == "idempotency_key_reused"


def test_a_refusal_is_replayed_too(web_url: str) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    first, again = (httpx.post(f"{web_url}/api/jobs", json={"request": ""}, headers=key) for _ in range(2))
    assert (first.status_code, again.status_code) == (400, 400)
    assert again.json() == first.json()


def test_the_wrong_amount_is_judged_anew_under_the_same_key(web_url: str, container: Container) -> None:
    with container.database.transaction() as tx:
        job = jobs.insert_job(
            tx,
            public_id=f"job_{uuid4().hex}",
            request="x",
            address_hash=bytes(32),
            eval_amount_msat=10_000,
            prepaid=False,
        )
        jobs.move_job(tx, job.id, from_state=job.state, to_state=JobState.FAILED, error_message="it failed")
    invoice = {"invoice": signed(7_000, made_at=container.clock.now())}
    key = {"Idempotency-Key": uuid4().hex}
    for sats in (20, 40):
        with container.database.transaction() as tx:
            ledger.receive(tx, job.owner, ref=uuid4().hex, amount_msat=20_000)
            ledger.owe_back(tx, job.owner, DebtReason.LATE, ref=f"{sats}", amount_msat=20_000)
        refused = httpx.post(f"{web_url}/api/jobs/{job.public_id}/refund", json=invoice, headers=key)
        assert (refused.status_code, refused.json()["code"]) == (400, "wrong_amount")
        assert f"exactly {sats} sats" in refused.json()["error"]


@pytest.mark.parametrize(("path", "body"), [("jobs", {"request": "Hi."}), ("sessions", {"amount_sats": 200})])
def test_no_claim_token_is_kept_with_an_answer(
    web_url: str, container: Container, path: str, body: dict[str, str | int]
) -> None:
    key = uuid4().hex
    first, again = (httpx.post(f"{web_url}/api/{path}", json=body, headers={"Idempotency-Key": key}) for _ in range(2))
    assert (first.status_code, again.content) == (201, first.content)
    with container.database.transaction() as tx:
        (row,) = tx.all("SELECT body::text AS kept FROM idempotency_keys WHERE key = %(key)s", {"key": key})
    assert first.json()["claimToken"] not in row["kept"]


def test_a_malformed_key_is_400_over_http(web_url: str) -> None:
    answer = httpx.post(f"{web_url}/api/jobs", json={"request": "x"}, headers={"Idempotency-Key": "x" * 256})
    assert answer.status_code == 400
