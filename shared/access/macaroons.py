"""Hands out macaroons and says what one allows. Root keys are derived from SECRET_KEY and a generation's salt, and change."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from shared.access import store
from shared.access.caveats import EXPIRES, written
from shared.access.model import Grant
from shared.access.tokens import grant_of, issue
from shared.db.service import Tx
from shared.kernel.derive import derive
from shared.kernel.failpoints import effect as failpoint
from shared.kernel.ids import Ids


class Macaroons:
    """The keeper of root keys. A generation serves for `rotation_days` and stays valid for the one after it."""

    def __init__(self, *, secret_key: bytes, ids: Ids, rotation_days: int) -> None:
        self._secret_key = secret_key
        self._ids = ids
        self._rotation_days = rotation_days

    def mint(
        self,
        tx: Tx,
        *,
        payment_hash: bytes,
        subject: str,
        subject_id: str,
        expires_at: datetime | None = None,
        restrictions: Sequence[str] = (),
    ) -> str:
        """Return a macaroon of `subject` (`session`, `job`) for the payer of `payment_hash`: standard base64, padded.

        The same arguments within a generation give the same text. `restrictions`: those of the grant on whose strength it is
        handed out.
        """
        expiry = [] if expires_at is None else [written(EXPIRES, int(expires_at.timestamp()))]
        return issue(
            self._newest_key(tx),
            seal_key=self._secret_key,
            payment_hash=payment_hash,
            subject=subject,
            subject_id=subject_id,
            caveats=[*expiry, *restrictions],
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
