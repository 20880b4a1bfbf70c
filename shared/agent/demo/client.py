"""How many free calls a caller has had in the last hour: one sorted set a caller in Redis, where every web process counts.

The set holds one member a call, scored with Redis's own time, so it matters neither which process counts nor what its clock
says. An emptied Redis forgets what was counted: free calls are given away, nothing else.
"""

from __future__ import annotations

import contextlib
import math

import redis
from redis.exceptions import RedisError

from shared.kernel.errors import TooMany, Unavailable
from shared.kernel.ids import Ids

WINDOW_S = 3600
_PREFIX = "lucid:demo:"
_MEMBER_BYTES = 16

# KEYS: the caller's set. ARGV: window in ms, calls allowed, the new member. Answers 0, or the ms until one call leaves.
_COUNT = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[1])
local over = redis.call('ZCARD', KEYS[1]) - ARGV[2]
if over >= 0 then
  local leaving = redis.call('ZRANGE', KEYS[1], over, over, 'WITHSCORES')
  return math.max(1, (leaving[2] or now) + ARGV[1] - now)
end
redis.call('ZADD', KEYS[1], now, ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 0
"""


class CallCounter:
    """Counts calls over a sliding window of an hour, `limit` of them a caller. Look and count are one step in Redis."""

    def __init__(self, client: redis.Redis, ids: Ids, *, limit: int) -> None:
        self._client = client
        self._ids = ids
        self._limit = limit

    def count(self, caller: bytes) -> bytes:
        """Count a call of `caller` (a hash, never an address); return the call's mark.

        Raises `TooMany` with the time until one of the earlier calls leaves the window, `Unavailable` where nobody can count:
        without a count nothing is free.
        """
        mark = self._ids.random(_MEMBER_BYTES)
        try:
            wait_ms = self._client.eval(_COUNT, 1, _key(caller), str(WINDOW_S * 1000), str(self._limit), mark)
        except RedisError as error:
            raise Unavailable("free calls cannot be counted at the moment", retry_after_s=5) from error
        if wait_ms:
            message = f"the free demo allows {self._limit} calls an hour from one address"
            raise TooMany(message, retry_after_s=math.ceil(int(wait_ms) / 1000))
        return mark

    def give_back(self, caller: bytes, mark: bytes) -> None:
        """Take back a call that came to nothing on our side. Best effort: it would have left within the hour."""
        with contextlib.suppress(RedisError):
            self._client.zrem(_key(caller), mark)


def _key(caller: bytes) -> str:
    return _PREFIX + caller.hex()
