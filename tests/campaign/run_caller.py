"""A caller who has models run through the gateway, at any number of faults: he waits, reads streams, comes back later, cancels, leaves."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.campaign.administrator import ADMIN_KEY
from tests.campaign.customer import REQUEST
from tests.campaign.patient import Patient
from tests.e2e.event_stream import events_of
from tests.e2e.gateway_hand import ENDED, INFERENCE, MODEL

SEALED = {"policy_version": "1.0", "privacy": {"store_inputs": False}}
SHORT = "[sim:tokens:8][sim:pace:0.05]"
LONG = "[sim:tokens:100][sim:pace:0.1]"
_CODE_OF_CANCELLED = "CANCELLED"


class Spliced(Exception):
    """What came next of a stream was not what follows what had come. No AssertionError: patience would swallow it."""


@dataclass(frozen=True)
class Held:
    """What a caller was told of a run: its end, and the bytes that he was sent of its stream, all of them where `is_whole`."""

    end: str
    wire: bytes = b""
    is_whole: bool = False


class RunCaller(Patient):
    """Has models run on one running stack."""

    def __init__(self, endpoints: Mapping[str, Any], **manner: Any) -> None:
        super().__init__(endpoints, **manner)
        self._api.headers["X-Admin-Key"] = ADMIN_KEY
        self._ways = itertools.cycle((self.wait, self.read, self.come_later, self.cancel, self.leave))
        self.held: dict[str, Held] = {}
        """By run id, what was told of each run whose id he learnt."""
        self.by_trace: dict[str, str] = {}
        """The run of each key, by the trace id that all its requests had."""

    def live(self) -> None:
        """Have something run, each time in another way."""
        next(self._ways)()

    def wait(self) -> str:
        """Ask under a key and wait for the end, however often it takes to hear of it; return the run's id."""
        body, key = _asking(SHORT, policy=SEALED), uuid.uuid4().hex
        run_id, end = self.until(lambda: self._waited(body, key), what="a run's end")
        self.held[run_id] = Held(end)
        self.by_trace[body["trace_id"]] = run_id
        return run_id

    def read(self, *, policy: Mapping[str, Any] | None = None) -> str:
        """Ask for a stream and read it to its end, resumed where it was cut; return the run's id."""
        body = {**_asking(SHORT, policy=policy), "stream": True}
        run_id, wire, end = "", [], ""  # type: ignore[var-annotated] # bytes, once they come

        def reads_on() -> bool:
            nonlocal run_id, end
            with self._opened(run_id, body, after=len(wire)) as answer:
                run_id = answer.headers.get("X-Run-ID", run_id)
                if not answer.is_success:
                    answer.read()
                    run_id, end = _end_of(answer)
                    return True
                for event in events_of(answer):
                    if event.id not in (None, len(wire) + 1):
                        raise Spliced(f"event {event.id} came after number {len(wire)} of {run_id}")
                    wire.append(event.wire)
                    if event.is_done or event.is_fault:
                        end = "complete" if event.is_done else _end_by(event.json["error_code"])
                        return True
            return False

        self.until(reads_on, what="a stream's end")
        self.held[run_id] = Held(end, b"".join(wire), is_whole=bool(wire))
        return run_id

    def come_later(self) -> str:
        """Ask under a key, wait at no connection, and look until it has ended; return the run's id."""
        run_id = self._place(SHORT)
        self.held[run_id] = Held(self._await_end(run_id))
        return run_id

    def cancel(self) -> str:
        """Ask, and cancel it; return the run's id. It may have ended otherwise before."""
        run_id = self._place(LONG)

        def ended() -> str | None:
            answer = self._api.post(f"/v1/runs/{run_id}/cancel")
            assert answer.is_success, f"{answer.status_code} {answer.text[:200]}"
            state = str(answer.json()["run"]["state"])
            return state if state in ENDED else None

        self.held[run_id] = Held(self.until(ended, what="a cancelled run"))
        return run_id

    def leave(self) -> str:
        """Ask for a stream and hang up after its first event; return the run's id, once it has ended."""
        body = {**_asking(LONG, policy=SEALED), "stream": True}
        wire = b""

        def left() -> str | None:
            nonlocal wire
            with self._opened("", body, after=0) as answer:
                assert answer.is_success, f"{answer.status_code} {answer.read()[:200]!r}"
                wire = next(events_of(answer)).wire
                return answer.headers["X-Run-ID"]

        run_id = self.until(left, what="a stream's first event")
        self.held[run_id] = Held(self._await_end(run_id), wire)
        return run_id

    def _place(self, text: str) -> str:
        body, key = _asking(text), uuid.uuid4().hex

        def place() -> str | None:
            headers = {"Idempotency-Key": key, "Prefer": "respond-async"}
            answer = self._api.post(INFERENCE, json=body, headers=headers)
            if answer.status_code == httpx.codes.CONFLICT:
                self._on_conflict(key)
            assert answer.status_code == httpx.codes.ACCEPTED, f"{answer.status_code} {answer.text[:200]}"
            return answer.headers["X-Run-ID"]

        run_id = self.by_trace[body["trace_id"]] = self.until(place, what="a run that is accepted")
        return run_id

    def _waited(self, body: Mapping[str, Any], key: str) -> tuple[str, str]:
        answer = self._api.post(INFERENCE, json=body, headers={"Idempotency-Key": key})
        if answer.status_code == httpx.codes.CONFLICT:
            self._on_conflict(key)
        return _end_of(answer)

    def _await_end(self, run_id: str) -> str:
        def ended() -> str | None:
            answer = self._api.get(f"/v1/runs/{run_id}")
            assert answer.is_success, f"{answer.status_code} {answer.text[:200]}"
            state = str(answer.json()["run"]["state"])
            return state if state in ENDED else None

        return self.until(ended, what="a run's end")

    def _opened(self, run_id: str, body: Mapping[str, Any], *, after: int) -> AbstractContextManager[httpx.Response]:
        if not run_id:
            return self._api.stream("POST", INFERENCE, json=body)
        return self._api.stream("GET", f"/v1/runs/{run_id}/events", headers={"Last-Event-ID": str(after)})


def _asking(text: str, *, policy: Mapping[str, Any] | None = None) -> dict[str, Any]:
    mark = uuid.uuid4().hex
    body = {"model": MODEL, "prompt": f"{REQUEST} {text} ({mark})", "trace_id": mark}
    return body if policy is None else {**body, "policy": policy}


def _end_of(answer: httpx.Response) -> tuple[str, str]:
    """Return the run's id and its end, where the answer tells of one."""
    told = answer.json()
    assert "receipt_id" in told, f"{answer.status_code} {answer.text[:200]}"
    return told["run_id"], "complete" if answer.is_success else _end_by(told["error_code"])


def _end_by(error_code: str) -> str:
    return "cancelled" if error_code == _CODE_OF_CANCELLED else "failed"
