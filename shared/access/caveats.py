"""What caveats mean. A holder adds them to hand on less than he has; one that we do not know allows nothing.

    lucid:session = …      whose macaroon it is (or lucid:job); always the first, and ours alone to write
    lucid:needs = preimage good only beside the preimage of its payment
    path = /api/sessions   only addresses that begin with these segments
    max_sats = 40          no call that may cost more
    expires = 1798761600   not after this Unix time

A condition may come again only as strict as it was, or stricter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

SUBJECT_PREFIX = "lucid:"
PATH, MAX_SATS, EXPIRES, NEEDS = "path", "max_sats", "expires", "lucid:needs"
PREIMAGE = "preimage"
_CAVEAT = re.compile(r"([a-z_]{1,16}(?::[a-z_]{1,16})?) ?= ?([!-~]{1,255})")
_PATH = re.compile(r"/[!-~]*")
_AMOUNT = re.compile(r"[0-9]{1,10}")


class Widened(ValueError):
    """A caveat that means nothing here, or allows more than an earlier one."""


@dataclass(frozen=True)
class Bounds:
    """What a row of caveats leaves. None: unbounded."""

    path: str | None = None
    max_sats: int | None = None
    expires: int | None = None
    needs_preimage: bool = False

    def allow(self, *, path: str, now: datetime) -> bool:
        """Tell whether a call to `path` at `now` is within them."""
        in_time = self.expires is None or now.timestamp() < self.expires
        return in_time and (self.path is None or _within(path, self.path))

    @property
    def expires_at(self) -> datetime | None:
        """The moment after which nothing is allowed."""
        return None if self.expires is None else datetime.fromtimestamp(self.expires, UTC)


def written(name: str, value: object) -> str:
    """Return a caveat's text."""
    return f"{name} = {value}"


def parsed(caveat: bytes) -> tuple[str, str]:
    """Return a caveat's name and value. Raises `Widened` for what is not of the form `name = value`."""
    found = _CAVEAT.fullmatch(caveat.decode("ascii", "replace"))
    if found is None:
        raise Widened("not a caveat of ours")
    return found[1], found[2]


def bounds_of(caveats: Iterable[bytes]) -> Bounds:
    """Return what these caveats leave, taken one after another. Raises `Widened`."""
    bounds = Bounds()
    for caveat in caveats:
        bounds = _narrowed(bounds, *parsed(caveat))
    return bounds


def _narrowed(bounds: Bounds, name: str, value: str) -> Bounds:
    if name == PATH:
        if not _PATH.fullmatch(value) or not (bounds.path is None or _within(value, bounds.path)):
            raise Widened(name)
        return replace(bounds, path=value)
    if (name, value) == (NEEDS, PREIMAGE):
        return replace(bounds, needs_preimage=True)
    if name not in (MAX_SATS, EXPIRES) or not _AMOUNT.fullmatch(value):
        raise Widened(name)
    bound, before = int(value), bounds.max_sats if name == MAX_SATS else bounds.expires
    if before is not None and bound > before:
        raise Widened(name)
    return replace(bounds, max_sats=bound) if name == MAX_SATS else replace(bounds, expires=bound)


def _within(path: str, prefix: str) -> bool:
    """Whole segments: `/api/sessions` covers `/api/sessions/x`, not `/api/sessionsx`."""
    bare = prefix.rstrip("/")
    return path == bare or path.startswith(bare + "/")
