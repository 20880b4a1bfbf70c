"""Asks an OpenAI-compatible API what it serves (`GET /models`): bounded in time and size, and believed only as far as names go."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import httpx

TIMEOUT_S = 8.0
TIMEOUT = "TIMEOUT"
_MOST_BYTES = 4 * 1024 * 1024
_LONGEST_NAME = 200
_MOST_MODELS = 200


class Reply(StrEnum):
    """How an upstream answered."""

    WELL = "well"
    """It answers. It may know no `/models`, or not let this key see it, which says nothing about the rest."""
    BUSY = "busy"
    """It is there and does not serve right now: it starts, is limited or has a fault of its own."""
    NOT_AT_ALL = "not_at_all"
    """No connection, no answer in time, or our key is none of its."""


@dataclass(frozen=True)
class ListedModel:
    """A model by the name that the upstream takes. `owner`: what it says of its origin; some servers name themselves there."""

    name: str
    owner: str = ""


@dataclass(frozen=True)
class Listing:
    """What came back. `models` is None where nothing was listed; `code`: the inference API's `error_code` of what went wrong."""

    reply: Reply
    models: tuple[ListedModel, ...] | None
    elapsed_ms: int
    code: str = ""


class ModelLists:
    """The client. No proxy of the environment, no redirects: an upstream is where the settings say."""

    def __init__(self, *, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s

    def fetch(self, base_url: str, api_key: str) -> Listing:
        """Ask one upstream. Never raises: how it failed is the answer."""
        began = time.monotonic()
        try:
            status, body = self._fetched(f"{base_url.rstrip('/')}/models", api_key, deadline=began + self._timeout_s)
        except httpx.TimeoutException:
            return Listing(Reply.NOT_AT_ALL, None, _since(began), TIMEOUT)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            return Listing(Reply.NOT_AT_ALL, None, _since(began), "CONNECTION")
        reply, code = _meaning(status)
        models = _models(body) if status == httpx.codes.OK else None
        return Listing(reply, models, _since(began), code)

    def _fetched(self, url: str, api_key: str, *, deadline: float) -> tuple[int, bytes]:
        headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {api_key}"} if api_key else {})
        read = bytearray()
        with (
            httpx.Client(timeout=self._timeout_s, trust_env=False, follow_redirects=False) as client,
            client.stream("GET", url, headers=headers) as answer,
        ):
            for chunk in answer.iter_raw():
                read += chunk
                if len(read) > _MOST_BYTES:
                    raise ValueError("the list is too long")
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout("the list comes too slowly")
        return answer.status_code, bytes(read)


def _meaning(status: int) -> tuple[Reply, str]:
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return Reply.BUSY, "RATE_LIMIT"
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return Reply.BUSY, "PROVIDER_ERROR"
    if status == httpx.codes.UNAUTHORIZED:
        return Reply.NOT_AT_ALL, "AUTH"
    return Reply.WELL, ""


def _models(body: bytes) -> tuple[ListedModel, ...] | None:
    """Return what is listed, each name once, in the order of names; None where the body is no such list."""
    try:
        listed = json.loads(body)["data"]
        found = {model.name: model for model in map(_model, listed) if model is not None}
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return tuple(found[name] for name in sorted(found)[:_MOST_MODELS])


def _model(entry: Any) -> ListedModel | None:
    name, owner = entry.get("id"), entry.get("owned_by")
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        return None
    return ListedModel(name, owner[:_LONGEST_NAME] if isinstance(owner, str) else "")


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
