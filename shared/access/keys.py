"""API keys: made, shown once, exchanged, withdrawn, and recognised. Only the hash of a key is kept.

    lk_live_ or lk_test_   56 hex digits of chance   8 hex digits: the beginning of SHA-256 over all that stands before

The check digits tell a mistyped or invented key from a real one without a look at the database.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from functools import reduce
from typing import Any

from shared.access import store
from shared.access.model import ANONYMOUS, ApiKey, IssuedKey, Mode, Principal, Scope, Tier
from shared.access.plans import better
from shared.db.service import Database, Tx
from shared.kernel.errors import Conflict, InvalidInput, NotFound, Unauthorized
from shared.kernel.failpoints import effect as failpoint
from shared.kernel.ids import Ids

MOST_LISTED = 1000
MOST_VALID = 20
"""Keys that a tenant may make for itself; an administrator may make more.

As many may be running out, since rotating adds no lasting key: whoever may not rotate a key that leaked has to stop working.
"""
LONGEST_LABEL = 200
DEFAULT_SCOPES = frozenset({Scope.INFERENCE, Scope.VERIFICATION})
_RANDOM_BYTES = 28
_CHECK_DIGITS = 8
_SHOWN_DIGITS = 4
_TEXT = re.compile(r"(lk_(?:live|test)_)([0-9a-f]{64})", re.ASCII)
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,63}", re.ASCII)
_REFUSED = "this API key is not valid"
_INVALID_KEY = "invalid_api_key"


def key_text(mode: Mode, chance: bytes) -> str:
    """Return a key's text. `chance`: 28 random bytes."""
    stem = f"lk_{mode}_{chance.hex()}"
    return stem + _check_digits(stem)


def is_well_formed(text: str) -> bool:
    """Tell whether `text` can be a key of ours: prefix, length, check digits."""
    return _TEXT.fullmatch(text) is not None and text[-_CHECK_DIGITS:] == _check_digits(text[:-_CHECK_DIGITS])


def shown(key: ApiKey) -> dict[str, Any]:
    """Return what an administrator is told of a key, as JSON values."""
    return {
        "id": key.key_id,
        "hint": key.hint,
        "label": key.label,
        "tenant": key.tenant,
        "mode": str(key.mode),
        "tier": str(key.tier),
        "scopes": sorted(key.scopes),
        "rotated_from": key.rotated_from,
        "created_at": key.created_at.isoformat(),
        "last_used_at": key.last_used_at.isoformat() if key.last_used_at else None,
        "revoked_at": key.revoked_at.isoformat() if key.revoked_at else None,
    }


class ApiKeys:
    """The keeper of keys. A tenant is whoever its keys name; it has no row of its own."""

    def __init__(self, database: Database, *, ids: Ids) -> None:
        self._database = database
        self._ids = ids

    def create(
        self, *, mode: Mode, tier: Tier, scopes: Collection[Scope], label: str = "", tenant: str | None = None
    ) -> IssuedKey:
        """Make a key, of a tenant of its own where none is named. Raises `InvalidInput`."""
        if not scopes:
            raise InvalidInput("a key without a scope opens nothing", field="scopes")
        _require_label(label)
        owner = self._ids.public("tenant") if tenant is None else _required_tenant(tenant)
        with self._database.transaction() as tx:
            return self._issue(tx, mode=mode, tier=tier, scopes=scopes, label=label, tenant=owner)

    def sign_up(self, *, name: str, email: str, mode: Mode, tenant: str | None) -> IssuedKey:
        """Make a key that somebody asks for himself: the free tier, verification alone; of `tenant`, or else of a tenant of its own.

        Raises `InvalidInput` (a name that is not printable), `Conflict` (code `too_many_keys`) where the tenant has twenty valid ones.
        """
        _require_label(name)
        owner = self._ids.public("tenant") if tenant is None else tenant
        with self._database.transaction() as tx:
            if tenant is not None:
                _require_room(tx, owner)
            return self._issue(
                tx, mode=mode, tier=Tier.FREE, scopes={Scope.VERIFICATION}, label=name, tenant=owner, email=email
            )

    def rotate(self, key_id: str, *, overlap_s: float = 0) -> IssuedKey:
        """Make a key that takes the place of this one, which ends `overlap_s` seconds later.

        Raises `NotFound`, `Conflict` (code `key_revoked`) where it has ended before, or is to end; `too_many_keys` where twenty of the
        tenant's run out already.
        """
        with self._database.transaction() as tx:
            former = _found(store.lock_key(tx, key_id=key_id))
            if former.revoked_at is not None:
                raise Conflict("this key was revoked, so none can take its place", code="key_revoked")
            if overlap_s > 0:
                _require_room_to_end(tx, former.tenant)
            self._end(tx, former, after_s=overlap_s)
            return self._issue(
                tx,
                mode=former.mode,
                tier=former.tier,
                scopes=former.scopes,
                label=former.label,
                tenant=former.tenant,
                rotated_from=former.id,
                email=former.email,
            )

    def revoke(self, key_id: str) -> ApiKey:
        """End a key: from the commit on it is refused everywhere. Harmless to repeat. Raises `NotFound`."""
        with self._database.transaction() as tx:
            self._end(tx, _found(store.lock_key(tx, key_id=key_id)))
            return _found(store.find_key(tx, key_id=key_id))

    def get(self, key_id: str) -> ApiKey:
        """Return a key's record. Raises `NotFound`."""
        with self._database.transaction() as tx:
            return _found(store.find_key(tx, key_id=key_id))

    def listing(self, *, tenant: str | None = None) -> list[ApiKey]:
        """Return the newest thousand keys, of `tenant` or of all, revoked ones too."""
        with self._database.transaction() as tx:
            return store.keys(tx, tenant=tenant, most=MOST_LISTED)

    def identify(self, text: str) -> Principal:
        """Return whose key `text` is. Raises `Unauthorized`.

        Asks the database each time, so that a revoked key is refused at once; notes the use once a minute.
        """
        if not is_well_formed(text):
            raise Unauthorized(_REFUSED, code=_INVALID_KEY)
        with self._database.transaction() as tx:
            found = store.valid_key(tx, key_hash=_hash(text))
            if found is None:
                raise Unauthorized(_REFUSED, code=_INVALID_KEY)
            key, paid, is_stale = found
            if is_stale:
                store.note_use(tx, row_id=key.id)
        tier = reduce(better, paid, key.tier)
        return Principal(key.tenant, key.mode, key.scopes, tier, key.id, key.key_id)

    def _issue(
        self,
        tx: Tx,
        *,
        mode: Mode,
        tier: Tier,
        scopes: Collection[Scope],
        label: str,
        tenant: str,
        rotated_from: int | None = None,
        email: str | None = None,
    ) -> IssuedKey:
        text = key_text(mode, self._ids.random(_RANDOM_BYTES))
        with failpoint("key.issue"):
            record = store.insert_key(
                tx,
                key_id=self._ids.public("key"),
                key_hash=_hash(text),
                hint=_hint(text),
                label=label,
                tenant=tenant,
                mode=mode,
                tier=tier,
                scopes=frozenset(scopes),
                rotated_from=rotated_from,
                email=email,
            )
        return IssuedKey(text, record)

    def _end(self, tx: Tx, key: ApiKey, *, after_s: float = 0) -> None:
        with failpoint("key.revoke"):
            if after_s > 0:
                store.end_key(tx, row_id=key.id, after_s=after_s)
            else:
                store.revoke_key(tx, row_id=key.id)


def _require_room(tx: Tx, tenant: str) -> None:
    """Hold the tenant's turn, and raise `Conflict` where it has twenty valid keys."""
    store.serialize_tenant(tx, tenant=tenant)
    valid, _ending = store.valid_keys_of(tx, tenant=tenant)
    _require_fewer(valid, what="valid keys")


def _require_room_to_end(tx: Tx, tenant: str) -> None:
    """Hold the tenant's turn, and raise `Conflict` where twenty valid keys are to end."""
    store.serialize_tenant(tx, tenant=tenant)
    _valid, ending = store.valid_keys_of(tx, tenant=tenant)
    _require_fewer(ending, what="keys that run out")


def _require_fewer(keys: int, *, what: str) -> None:
    if keys >= MOST_VALID:
        raise Conflict(f"{MOST_VALID} {what} are enough: revoke one first", code="too_many_keys")


def _check_digits(stem: str) -> str:
    return hashlib.sha256(stem.encode("ascii")).hexdigest()[:_CHECK_DIGITS]


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("ascii")).digest()


def _hint(text: str) -> str:
    ahead = text.rindex("_") + 1 + _SHOWN_DIGITS
    return f"{text[:ahead]}…{text[-_SHOWN_DIGITS:]}"


def _found(key: ApiKey | None) -> ApiKey:
    if key is None:
        raise NotFound("there is no such key")
    return key


def _required_tenant(tenant: str) -> str:
    """Return the name of a tenant. `anonymous` has no keys: what is its, is everybody's."""
    if not _TENANT.fullmatch(tenant) or tenant == ANONYMOUS:
        raise InvalidInput(
            "a tenant is named by 1 to 64 letters, digits and . _ : @ -, and not anonymous", field="tenant"
        )
    return tenant


def _require_label(label: str) -> None:
    if len(label) > LONGEST_LABEL or not (label.isprintable() or label == ""):
        raise InvalidInput(f"a label is at most {LONGEST_LABEL} printable characters", field="label")
