"""Hands out macaroons and says what one allows. Root keys are derived from SECRET_KEY and a generation's salt, and change."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta

from shared.access import store
from shared.access.caveats import EXPIRES, parsed
from shared.access.model import Grant
from shared.access.tokens import grant_of, issue
from shared.db.service import Tx
from shared.kernel.clock import Clock
from shared.kernel.derive import derive
from shared.kernel.failpoints import effect as failpoint
from shared.kernel.ids import Ids


class Macaroons:
    """The keeper of root keys. A generation serves for `rotation_days` and stays valid for the one after it."""

    def __init__(self, *, secret_key: bytes, ids: Ids, clock: Clock, rotation_days: int) -> None:
        self._secret_key = secret_key
        self._ids = ids
        self._clock = clock
        self._rotation_days = rotation_days

    def mint(
        self,
        tx: Tx,
        *,
        payment_hash: bytes,
        subject: str,
        subject_id: str,
        restrictions: Sequence[str] = (),
    ) -> str:
        """Return a macaroon of `subject` (`session`, `job`) for the payer of `payment_hash`: standard base64, padded.

        The same arguments within a generation and a day (UTC) give the same text. `restrictions`: those of the grant on whose
        strength it is handed out.
        """
        return issue(
            self._newest_key(tx),
            seal_key=self._secret_key,
            payment_hash=payment_hash,
            subject=subject,
            subject_id=subject_id,
            expires_at=max([self._expiry(), *_expiries(restrictions)]),
            caveats=restrictions,
        )

    def verify(self, tx: Tx, token: str, *, now: datetime, path: str) -> Grant:
        """Return what `token` allows at `path`. Raises `Unauthorized` for whatever is malformed, forged, narrowed away or too old."""
        root_keys = [self._root_key(salt) for salt in store.salts(tx)]
        return grant_of(token, root_keys=root_keys, seal_key=self._secret_key, now=now, path=path)

    def rotate(self, tx: Tx) -> None:
        """Begin a new generation where the newest has served its time; of the older ones only the last stays valid."""
        store.serialize(tx)
        if store.is_due(tx, days=self._rotation_days):
            self._begin_generation(tx)

    def _expiry(self) -> datetime:
        """Return the midnight after the last moment at which a generation that begins now can be valid."""
        last_day = (self._clock.now() + timedelta(days=2 * self._rotation_days)).astimezone(UTC).date()
        return datetime.combine(last_day + timedelta(days=1), time(), UTC)

    def _newest_key(self, tx: Tx) -> bytes:
        salts = store.salts(tx)
        if not salts:
            store.serialize(tx)
            salts = store.salts(tx) or [self._begin_generation(tx)]
        return self._root_key(salts[0])

    def _begin_generation(self, tx: Tx) -> bytes:
        salt = self._ids.random(32)
        with failpoint("macaroon.rotate"):
            store.insert(tx, salt=salt)
            store.retire(tx)
        return salt

    def _root_key(self, salt: bytes) -> bytes:
        return derive(self._secret_key, "macaroon:v1", salt)


def _expiries(restrictions: Sequence[str]) -> list[datetime]:
    """A holder's own expiry may lie beyond ours where the rotation was shortened; as a later caveat it must not be the wider one."""
    named = [parsed(text.encode("ascii")) for text in restrictions]
    return [datetime.fromtimestamp(int(value), UTC) for name, value in named if name == EXPIRES]
