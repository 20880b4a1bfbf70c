"""The heartbeats of configured upstreams: nobody speaks for them, so they are asked."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

from shared.catalog import store
from shared.catalog.clients.models import TIMEOUT, Listing, ModelLists, Reply
from shared.catalog.model import NodeStatus, Pulse
from shared.catalog.nodes import met_answer, met_fault
from shared.catalog.registration import Registered, Registrar
from shared.catalog.upstreams import ConfiguredUpstream, Upstreams
from shared.db.service import Database
from shared.kernel.failpoints import effect as failpoint

SLOW_MS = 5000
_PROBES_KEPT = 60
_RUNS_AGE_S = 900.0
_LEAST_RUNS = 5
_AT_ONCE = 8
_STATUS = {Reply.WELL: NodeStatus.HEALTHY, Reply.BUSY: NodeStatus.DEGRADED, Reply.NOT_AT_ALL: NodeStatus.DOWN}


class Probing:
    """Asks every configured upstream what it serves: registers that, and writes each one's heartbeat.

    `price`: dollars per 1000 tokens of all but the simulated one, which costs nothing.
    """

    def __init__(
        self, database: Database, *, upstreams: Upstreams, model_lists: ModelLists, registrar: Registrar, price: Decimal
    ) -> None:
        self._database = database
        self._upstreams = upstreams
        self._model_lists = model_lists
        self._registrar = registrar
        self._price = price
        self._took_ms: defaultdict[str, deque[int]] = defaultdict(lambda: deque(maxlen=_PROBES_KEPT))
        self._registered: dict[ConfiguredUpstream, Listing] = {}

    def sync(self) -> Registered:
        """Ask all, register, and write their heartbeats. An upstream that does not answer keeps what it listed before."""
        heard = self._ask()
        done = self._registrar.register(heard)
        self._registered = heard
        self._write(heard)
        return done

    def probe(self) -> None:
        """Ask all and write their heartbeats; register anew where one lists other models than when this process last did so."""
        heard = self._ask()
        news = {up: new for up, new in heard.items() if _is_news(new, self._registered.get(up))}
        if news:
            self._registrar.register(heard)
            self._registered |= news
        self._write(heard)

    def _ask(self) -> dict[ConfiguredUpstream, Listing]:
        upstreams = self._upstreams.all
        with ThreadPoolExecutor(min(_AT_ONCE, len(upstreams)), thread_name_prefix="probe") as pool:
            return dict(zip(upstreams, pool.map(self._fetch, upstreams), strict=True))

    def _fetch(self, upstream: ConfiguredUpstream) -> Listing:
        with failpoint("catalog.probe"):
            return self._model_lists.fetch(upstream.base_url, upstream.api_key)

    def _write(self, heard: dict[ConfiguredUpstream, Listing]) -> None:
        for upstream, listing in heard.items():
            passport_id = self._registrar.node_id(upstream)
            with self._database.transaction() as tx, failpoint("node.probed"):
                if listing.code != TIMEOUT:  # silence is no word: what was said before counts until it is too old
                    p95, runs = store.recent_latency(tx, passport_id, age_s=_RUNS_AGE_S)
                    store.beat(tx, passport_id, self._pulse(upstream, listing, p95 if runs >= _LEAST_RUNS else None))
                if listing.code:
                    met_fault(tx, passport_id, listing.code)
                else:
                    met_answer(tx, passport_id)

    def _pulse(self, upstream: ConfiguredUpstream, listing: Listing, p95_of_runs: int | None) -> Pulse:
        took_ms = self._took_ms[upstream.base_url]
        if listing.reply is Reply.WELL:
            took_ms.append(listing.elapsed_ms)
        is_slow = listing.reply is Reply.WELL and listing.elapsed_ms > SLOW_MS
        return Pulse(
            status=NodeStatus.DEGRADED if is_slow else _STATUS[listing.reply],
            price=Decimal(0) if upstream.simulated else self._price,
            p95=p95_of_runs if p95_of_runs is not None else _p95(took_ms),
        )


def _is_news(new: Listing, old: Listing | None) -> bool:
    return old is None or (new.models is not None and new.models != old.models)


def _p95(took_ms: deque[int]) -> int | None:
    """Return the 95th percentile (nearest rank) of what probes took, in milliseconds."""
    if not took_ms:
        return None
    return sorted(took_ms)[math.ceil(0.95 * len(took_ms)) - 1]
