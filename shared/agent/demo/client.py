"""How many free calls a caller, and all of them together, have had in the last hour: sorted sets in Redis, where every web process counts.

A set holds one member a call, scored with Redis's own time, so it matters neither which process counts nor what its clock
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
_ALL = "lucid:demo-in-all"
_USED_UP = "the free calls of this hour are used up"
_MEMBER_BYTES = 16

# KEYS: the caller's set, that of all. ARGV: window in ms, the new member, calls allowed in each of the sets.
# Answers which set is full (0: none, and the call is counted in both), and the ms until one of its calls leaves.
_COUNT = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for which, key in ipairs(KEYS) do
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - ARGV[1])
  local over = redis.call('ZCARD', key) - ARGV[2 + which]
  if over >= 0 then
    local leaving = redis.call('ZRANGE', key, over, over, 'WITHSCORES')
    return {which, math.max(1, (leaving[2] or now) + ARGV[1] - now)}
  end
end
for _, key in ipairs(KEYS) do
  redis.call('ZADD', key, now, ARGV[2])
  redis.call('PEXPIRE', key, ARGV[1])
end
return {0, 0}
"""


class CallCounter:
    """Counts calls over a sliding window of an hour, `limit` of them a caller and `limit_in_all` of whoever calls.

    Look and count are one step in Redis. The second bound holds where one caller has many addresses.
    """

    def __init__(self, client: redis.Redis, ids: Ids, *, limit: int, limit_in_all: int) -> None:
        self._client = client
        self._ids = ids
        self._limit = limit
        self._limit_in_all = limit_in_all

    def count(self, caller: bytes) -> bytes:
        """Count a call of `caller` (a hash, never an address); return the call's mark.

        Raises `TooMany` with the time until one of the earlier calls leaves the window, `Unavailable` where nobody can count:
        without a count nothing is free.
        """
        mark = self._ids.random(_MEMBER_BYTES)
        bounds = (str(self._limit), str(self._limit_in_all))
        try:
            full, wait_ms = self._client.eval(_COUNT, 2, _key(caller), _ALL, str(WINDOW_S * 1000), mark, *bounds)
        except RedisError as error:
            raise Unavailable("free calls cannot be counted at the moment", retry_after_s=5) from error
        if full:
            message = f"the free demo allows {self._limit} calls an hour from one address" if full == 1 else _USED_UP
            raise TooMany(message, retry_after_s=math.ceil(int(wait_ms) / 1000))
        return mark

    def give_back(self, caller: bytes, mark: bytes) -> None:
        """Take back a call that came to nothing on our side. Best effort: it would have left within the hour."""
        with contextlib.suppress(RedisError):
            for key in (_key(caller), _ALL):
                self._client.zrem(key, mark)


def _key(caller: bytes) -> str:
    return _PREFIX + caller.hex()
