"""The same key and the same request: one answer, once."""

from __future__ import annotations

import hashlib
import threading
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest

from shared.bootstrap import Container
from shared.idempotency.model import Answer, Claim, KeyInUse, KeyRef, KeyReused
from shared.idempotency.service import ABANDONED_AFTER_S, LIFE_S, Idempotency
from shared.kernel.errors import InvalidInput


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


@pytest.mark.parametrize("status", [401, 402, 409, 429, 500, 503])
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


def test_a_malformed_key_is_400_over_http(web_url: str) -> None:
    answer = httpx.post(f"{web_url}/api/jobs", json={"request": "x"}, headers={"Idempotency-Key": "x" * 256})
    assert answer.status_code == 400
