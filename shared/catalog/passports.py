"""Passports as their makers change them: made, altered, deprecated, revoked. Whose a row is follows from the key that made it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from shared.catalog import store
from shared.catalog.addresses import refuse_private_literal, require_web_address
from shared.catalog.metadata import hash_of, named, require_sound
from shared.catalog.model import (
    LEADS_TO,
    PASSPORT_TRANSITIONS,
    Change,
    Draft,
    Passport,
    PassportEvent,
    PassportStatus,
    PassportType,
    Viewer,
)
from shared.db.service import Database, Tx
from shared.events.service import Events
from shared.idempotency import service as idempotency
from shared.idempotency.model import Claim
from shared.kernel.errors import Conflict, Forbidden, InvalidInput, NotFound, TransitionConflict, Unprocessable
from shared.kernel.failpoints import effect as failpoint
from shared.kernel.ids import Ids
from shared.kernel.transitions import next_state

PREFIX = "passport"
CREATED = "created"
ALL_BPS = 10_000
_OWNER = re.compile(r"0x[0-9a-fA-F]{40}|[1-9A-HJ-NP-Za-km-z]{32,44}")
_SPLIT = ("compute_bps", "model_bps", "protocol_bps")


class Passports:
    """The registry. `allows_private`: nodes may be on this machine or in its network, as in the embedded stack."""

    def __init__(self, database: Database, *, events: Events, ids: Ids, allows_private: bool) -> None:
        self._database = database
        self._events = events
        self._ids = ids
        self._allows_private = allows_private

    def create(self, viewer: Viewer, draft: Draft, *, claim: Claim | None = None) -> Passport:
        """Register a passport of the viewer's; return that which `claim`'s key names, if it names one.

        Raises `InvalidInput` (metadata not of its type's shape), `Unprocessable` (owner, or no place for the id), `Forbidden`.
        """
        _refuse_test_keys(viewer)
        if not _OWNER.fullmatch(draft.owner):
            wanted = "0x and 40 hex digits, or 32 to 44 characters of base58"
            raise Unprocessable(f"owner must be a wallet address: {wanted}", field="owner")
        self._require_sound(draft.type, draft.metadata)
        with self._database.transaction() as tx, failpoint("passport.create"):
            made = store.by_row(tx, claim.made.id) if claim and claim.made else None
            if made is None:
                made = self._insert(tx, viewer, draft)
                if claim is not None:
                    idempotency.name(tx, claim, made.history)
        return made

    def change(self, viewer: Viewer, passport_id: str, change: Change, *, stated_owner: str | None = None) -> Passport:
        """Change what `change` names. Raises `NotFound`, `Forbidden` (not his), `Conflict` (revoked), `InvalidInput`."""
        if change.is_empty:
            raise InvalidInput("name at least one of metadata, name, description, version, tags and status")
        with self._database.transaction() as tx, failpoint("passport.change"):
            passport = self._lock_own(tx, viewer, passport_id, stated_owner)
            if change.status is not None and change.status is not passport.status:
                passport = self.move(tx, passport, LEADS_TO[change.status])
            return self._altered(tx, passport, change)

    def set_pricing(
        self, viewer: Viewer, passport_id: str, pricing: Mapping[str, Any], *, stated_owner: str | None = None
    ) -> Passport:
        """Merge `pricing` into what is there. Raises as `change` does; a split must sum to 10 000 basis points."""
        _require_pricing(pricing)
        with self._database.transaction() as tx, failpoint("passport.pricing"):
            passport = self._lock_own(tx, viewer, passport_id, stated_owner)
            told = {name: str(value) if isinstance(value, Decimal) else value for name, value in pricing.items()}
            return store.update(tx, replace(passport, pricing={**(passport.pricing or {}), **told}))

    def set_endpoints(
        self, viewer: Viewer, passport_id: str, endpoints: Mapping[str, str], *, stated_owner: str | None = None
    ) -> Passport:
        """Merge `endpoints` into what is there; they outrank the metadata's. Raises as `change` does."""
        if not endpoints:
            raise InvalidInput("name at least one of inference_url, health_url and api_base_url")
        for name, url in endpoints.items():
            require_web_address(url, field=name, is_base=name != "health_url")
            if not self._allows_private:
                refuse_private_literal(url, field=name)
        with self._database.transaction() as tx, failpoint("passport.endpoints"):
            passport = self._lock_own(tx, viewer, passport_id, stated_owner)
            return store.update(tx, replace(passport, endpoints={**(passport.endpoints or {}), **endpoints}))

    def revoke(self, viewer: Viewer, passport_id: str, *, stated_owner: str | None = None) -> None:
        """Revoke for good; nothing where it is revoked. Raises `NotFound`, `Forbidden`."""
        with self._database.transaction() as tx, failpoint("passport.revoke"):
            passport = self._lock_own(tx, viewer, passport_id, stated_owner, may_be_revoked=True)
            if passport.status is not PassportStatus.REVOKED:
                self.move(tx, passport, PassportEvent.REVOKED)

    def move(self, tx: Tx, passport: Passport, event: PassportEvent) -> Passport:
        """Move a passport and write its history. Raises `TransitionConflict`."""
        to_status = next_state(PASSPORT_TRANSITIONS, passport.status, event)
        moved = store.move(tx, passport, to_status)
        if moved is None:
            raise TransitionConflict("the passport was moved meanwhile")
        self._events.append(tx, passport.history, event, moved=(passport.status, to_status))
        return moved

    def begin(self, tx: Tx, passport: Passport) -> None:
        """Write the first line of a passport's history."""
        self._events.append(tx, passport.history, CREATED, moved=("", passport.status))

    # -- steps of the above

    def _insert(self, tx: Tx, viewer: Viewer, draft: Draft) -> Passport:
        passport_id = self._ids.public(PREFIX)
        metadata = named(draft.type, draft.metadata, passport_id)
        whole = replace(draft, metadata=metadata)
        made = store.insert(tx, whole, passport_id=passport_id, tenant=viewer.tenant, metadata_hash=hash_of(metadata))
        self.begin(tx, made)
        return made

    def _altered(self, tx: Tx, passport: Passport, change: Change) -> Passport:
        told = {name: getattr(change, name) for name in ("name", "description", "version", "tags")}
        altered = replace(passport, **{name: value for name, value in told.items() if value is not None})
        if change.metadata is not None:
            self._require_sound(passport.type, change.metadata)
            metadata = named(passport.type, change.metadata, passport.passport_id)
            altered = replace(altered, metadata=metadata, metadata_hash=hash_of(metadata))
        return passport if altered == passport else store.update(tx, altered)

    def _require_sound(self, type: PassportType, metadata: Mapping[str, Any]) -> None:  # noqa: A002 - the API's word
        require_sound(type, metadata)
        if type is PassportType.COMPUTE and not self._allows_private:
            refuse_private_literal(metadata["endpoints"]["inference_url"], field="metadata.endpoints.inference_url")

    def _lock_own(
        self, tx: Tx, viewer: Viewer, passport_id: str, stated_owner: str | None, *, may_be_revoked: bool = False
    ) -> Passport:
        _refuse_test_keys(viewer)
        found = store.by_id(tx, viewer, passport_id)
        if found is None:
            raise NotFound("passport not found")
        if found.tenant != viewer.tenant:
            raise Forbidden("this passport is not yours to change")
        if stated_owner is not None and stated_owner != found.owner:
            raise Forbidden("X-Owner-Address is not this passport's owner")
        locked = store.lock(tx, found.id)
        if locked.status is PassportStatus.REVOKED and not may_be_revoked:
            raise Conflict("the passport is revoked, and that is final", code="passport_revoked")
        return locked


def _refuse_test_keys(viewer: Viewer) -> None:
    if viewer.is_test:
        raise Forbidden(
            "test keys see the simulated passports, which the settings make; passports are made with a live key"
        )


def _require_pricing(pricing: Mapping[str, Any]) -> None:
    if not pricing:
        raise InvalidInput("name at least one of price_per_request, billing_model and revenue_split")
    split = pricing.get("revenue_split")
    if split is None:
        return
    shares = [split.get(name, 0) for name in _SPLIT]
    if any(share < 0 for share in shares) or sum(shares) != ALL_BPS:
        raise InvalidInput(f"revenue_split must sum to {ALL_BPS} basis points, none below 0", field="revenue_split")
