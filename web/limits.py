"""How many calls a key, or an address without one, may make in a time: counted in Redis for all web processes, told in answers.

The headers are those of draft-ietf-httpapi-ratelimit-headers. Where Redis does not answer each process counts for itself, so that a
limit is at most as many times wider as there are processes, and no call waits for a Redis that is away.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar, cast

import structlog
from flask import Flask, Response, current_app, g
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter

from shared.events.client import connect
from shared.kernel.clock import Clock
from shared.kernel.errors import TooMany
from web.context import edge_of

log = structlog.get_logger(__name__)

Answer = TypeVar("Answer")

POLICY, STANDING = "RateLimit-Policy", "RateLimit"
MINUTE_S = 60
_ANSWER_WITHIN_S = 0.5
_ASK_AGAIN_AFTER_S = 5.0
_KEYS = "lucid:limits"
_EXTENSION = "lucid.limits"


@dataclass(frozen=True)
class Quota:
    """So many calls in any `window_s`, whole minutes. `name`: what is counted, as `key` or `address`.

    `refusal`: what one too many is told, else our own words.
    """

    name: str
    calls: int
    refusal: str = ""
    window_s: int = MINUTE_S

    @property
    def item(self) -> RateLimitItem:
        """The limit in the library's words."""
        return RateLimitItemPerMinute(self.calls, self.window_s // MINUTE_S)


@dataclass(frozen=True)
class Standing:
    """How a caller stands. `reset_s`: whole seconds until the oldest of its calls no longer counts."""

    quota: Quota
    remaining: int
    reset_s: int


class CallLimits:
    """Counts calls over a sliding window."""

    def __init__(self, redis_url: str, *, clock: Clock) -> None:
        client = connect(redis_url, answer_within_s=_ANSWER_WITHIN_S)
        pool = client.connection_pool
        storage = RedisStorage(redis_url, connection_pool=pool, key_prefix=_KEYS, wrap_exceptions=True)
        self._shared = MovingWindowRateLimiter(storage)
        self._clock = clock
        self._ask_again_at = 0.0
        """The monotonic moment from which Redis is asked again; 0 while it answers."""
        self.close = client.close

    def count(self, who: str, quota: Quota) -> tuple[bool, Standing]:
        """Count a call unless that would be too many; tell whether it was counted, and how `who` stands now."""
        return self._answered(
            lambda limiter: (limiter.hit(quota.item, quota.name, who), self._standing(limiter, who, quota))
        )

    def look(self, who: str, quota: Quota) -> Standing:
        """Tell how `who` stands, and count nothing."""
        return self._answered(lambda limiter: self._standing(limiter, who, quota))

    def _standing(self, limiter: MovingWindowRateLimiter, who: str, quota: Quota) -> Standing:
        reset_at, remaining = limiter.get_window_stats(quota.item, quota.name, who)
        ahead_s = reset_at - self._clock.now().timestamp()
        return Standing(quota, max(0, remaining), min(max(1, math.floor(ahead_s) + 1), quota.window_s))

    def _answered(self, ask: Callable[[MovingWindowRateLimiter], Answer]) -> Answer:
        if self._is_redis_asked():
            try:
                answer = ask(self._shared)
            except StorageError as error:
                self._ask_again_at = self._clock.monotonic() + _ASK_AGAIN_AFTER_S
                log.warning("calls_counted_here", error=type(error.__cause__).__name__)
            else:
                self._ask_again_at = 0.0
                return answer
        return ask(self._own)

    def _is_redis_asked(self) -> bool:
        """While it is away one call in a few seconds looks whether it is back, and the others do not wait for that."""
        if not self._ask_again_at:
            return True
        now = self._clock.monotonic()
        if now < self._ask_again_at:
            return False
        self._ask_again_at = now + _ASK_AGAIN_AFTER_S
        return True

    @cached_property
    def _own(self) -> MovingWindowRateLimiter:
        """This process's own count; made when it is first needed, since it keeps a thread."""
        return MovingWindowRateLimiter(MemoryStorage())


def register(app: Flask) -> None:
    """Give `app` its limits, and their headers to its answers."""
    container = edge_of(app).container
    app.extensions[_EXTENSION] = CallLimits(container.settings.redis_events_url, clock=container.clock)
    app.after_request(_tell)


def limits_of(app: Flask) -> CallLimits:
    """Return the limits of `app`."""
    return cast("CallLimits", app.extensions[_EXTENSION])


def offer(quota: Quota) -> None:
    """Have this answer tell what quota a caller would have."""
    g.quota = quota


def count_call(who: str, quota: Quota) -> None:
    """Count this call. Raises `TooMany` with the time until one of the earlier calls no longer counts."""
    offer(quota)
    counted, g.standing = limits_of(current_app).count(who, quota)
    if not counted:
        message = quota.refusal or f"{quota.calls} calls a minute are allowed, by {quota.name}"
        raise TooMany(message, retry_after_s=g.standing.reset_s)


def tell_standing(who: str, quota: Quota) -> None:
    """Have this answer tell how the caller stands, without counting the call."""
    offer(quota)
    g.standing = limits_of(current_app).look(who, quota)


def _tell(response: Response) -> Response:
    quota: Quota | None = g.get("quota")
    standing: Standing | None = g.get("standing")
    if quota is not None:
        response.headers[POLICY] = f'"{quota.name}";q={quota.calls};w={quota.window_s}'
    if standing is not None:
        response.headers[STANDING] = f'"{standing.quota.name}";r={standing.remaining};t={standing.reset_s}'
    return response
