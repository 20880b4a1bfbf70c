"""The catalogue as others read it: which model a caller means, which nodes he may use, what there is to list."""

from __future__ import annotations

import json
import re
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from datetime import datetime
from threading import Lock
from typing import Any

from shared.catalog import store
from shared.catalog.facts import compute_facts
from shared.catalog.matching import ComputeFacts, Heard, NodeFacts
from shared.catalog.metadata import is_sound
from shared.catalog.model import (
    MOST_CANDIDATES,
    Counts,
    Filters,
    Found,
    Page,
    Passport,
    PassportType,
    Pulse,
    Viewer,
)
from shared.catalog.store import NodeRow
from shared.db.service import Database, Tx
from shared.kernel.errors import NotFound

MODEL_NOT_FOUND = "MODEL_NOT_FOUND"
_PREFIX = "passport:"
_ID = re.compile(r"passport_[0-9a-f]{32}")
_LONGEST_REFERENCE = 512
_MOST_KEPT = 4096


class Catalog:
    """The reading room. Everybody sees his own rows and the operator's; a test key only simulated ones, others none of them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._read = _ReadMetadata()

    def model(self, *, tenant: str, mode: str, reference: str) -> Passport:
        """Return the active model that `reference` names: a passport id, `passport:` and an id, or a name.

        Of several of one name the caller's own comes first, then the oldest. Raises `NotFound` (code `MODEL_NOT_FOUND`).
        """
        with self._database.transaction() as tx:
            return _model(tx, Viewer(tenant, mode), reference)

    def offers(
        self, *, tenant: str, mode: str, reference: str, named: str | None = None
    ) -> tuple[Passport, list[NodeFacts]]:
        """Return the `model` that is meant and the `candidates` for it, both of one look. Raises `NotFound`."""
        viewer = Viewer(tenant, mode)
        with self._database.transaction() as tx:
            model = _model(tx, viewer, reference)
            rows = store.candidates(tx, viewer, named=named, limit=MOST_CANDIDATES)
        return model, [self._node(row) for row in rows]

    def candidates(self, *, tenant: str, mode: str, named: str | None = None) -> list[NodeFacts]:
        """Return the nodes that the caller may use: the one `named`, or the first hundred, his own before the operator's.

        Each with its newest heartbeat, fresh or not, and with what its metadata declares (None where that is malformed).
        """
        with self._database.transaction() as tx:
            rows = store.candidates(tx, Viewer(tenant, mode), named=named, limit=MOST_CANDIDATES)
        return [self._node(row) for row in rows]

    def heard(self, *, tenant: str, mode: str, passport_ids: Sequence[str]) -> dict[str, Heard]:
        """Return what these nodes last said of themselves, fresh or not; those that the caller may not use are not among them."""
        with self._database.transaction() as tx:
            found = store.pulses(tx, Viewer(tenant, mode), passport_ids)
        return {beat.passport_id: _heard(beat.pulse, is_fresh=beat.is_fresh) for beat in found}

    def get(self, viewer: Viewer, passport_id: str, *, type: PassportType | None = None) -> Passport:  # noqa: A002 - the API's word
        """Return one passport of any status. Raises `NotFound`, also where it is of another `type` than asked for."""
        with self._database.transaction() as tx:
            found = store.by_id(tx, viewer, passport_id) if _ID.fullmatch(passport_id) else None
        if found is None or (type is not None and found.type is not type):
            raise NotFound("passport not found")
        return found

    def page(self, viewer: Viewer, filters: Filters, page: Page) -> Found:
        """Return one page of what matches, and how much matches in all."""
        with self._database.transaction() as tx:
            return store.page(tx, viewer, filters, page)

    def counts(self, viewer: Viewer) -> Counts:
        """Return the viewer's catalogue in numbers."""
        with self._database.transaction() as tx:
            rows = store.counts(tx, viewer)
        by_type, by_status = Counter(), Counter()  # type: ignore[var-annotated] # they say so in what they are returned as
        for type_, status, passports in rows:
            by_type[type_] += passports
            by_status[status] += passports
        return Counts(sum(by_type.values()), by_type, by_status)

    def _node(self, row: NodeRow) -> NodeFacts:
        declared, stated_url = self._read.of(row)
        pulse = row.pulse
        heard = _heard(pulse, is_fresh=row.is_fresh) if pulse is not None else None
        return NodeFacts(
            passport_id=row.passport_id,
            compute=declared,
            heard=heard,
            endpoint=row.inference_url or stated_url,
            owner=row.tenant,
            simulated=row.simulated,
        )


def _model(tx: Tx, viewer: Viewer, reference: str) -> Passport:
    wanted = reference.removeprefix(_PREFIX)
    found = None
    if 0 < len(wanted) <= _LONGEST_REFERENCE and "\x00" not in wanted:
        if _ID.fullmatch(wanted):
            found = store.model_by_id(tx, viewer, wanted)
        found = found or store.model_by_name(tx, viewer, reference)
    if found is None:
        raise NotFound("no active model has this id or name", code=MODEL_NOT_FOUND)
    return found


class _ReadMetadata:
    """Metadata of nodes, read and judged once for each state of a row. Shared between threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, datetime], tuple[ComputeFacts | None, str | None]] = OrderedDict()
        self._lock = Lock()

    def of(self, row: NodeRow) -> tuple[ComputeFacts | None, str | None]:
        """Return what the node declares, None where that is malformed, and the address that it states."""
        key = (row.passport_id, row.updated_at)
        with self._lock:
            found = self._kept.get(key)
        if found is None:
            found = _read(json.loads(row.metadata))
            with self._lock:
                self._kept[key] = found
                while len(self._kept) > _MOST_KEPT:
                    self._kept.popitem(last=False)
        return found


def _heard(pulse: Pulse, *, is_fresh: bool) -> Heard:
    return Heard(str(pulse.status), pulse.queue_depth, pulse.price, pulse.p95, is_fresh)


def _read(metadata: Mapping[str, Any]) -> tuple[ComputeFacts | None, str | None]:
    endpoints = metadata.get("endpoints")
    stated = endpoints.get("inference_url") if isinstance(endpoints, Mapping) else None
    facts = compute_facts(metadata) if is_sound(PassportType.COMPUTE, metadata) else None
    return facts, stated if isinstance(stated, str) else None
