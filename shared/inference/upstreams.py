"""The clients of the nodes that this process calls: one an address, kept, so that connections are."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from shared.catalog.addresses import is_private, refuse_private
from shared.catalog.upstreams import Upstreams
from shared.inference.model import PlannedNode
from shared.kernel.clock import Clock
from shared.llm.clients.openai import Upstream

MOST_KEPT = 256


class UpstreamPool:
    """Hands out clients. A tenant's node gets no key of ours; `refuses_private`: nor may it lead into our network."""

    def __init__(
        self, configured: Upstreams, *, first_token_s: float, deadline_s: float, clock: Clock, refuses_private: bool
    ) -> None:
        self._configured = configured
        self._first_token_s = first_token_s
        self._deadline_s = deadline_s
        self._clock = clock
        self._refuses_private = refuses_private
        self._kept: OrderedDict[tuple[str, bool], Upstream] = OrderedDict()
        self._lock = threading.Lock()

    def client(self, node: PlannedNode) -> Upstream:
        """Return the client of a node. Raises `PrivateAddress`."""
        is_guarded = self._refuses_private and not node.is_ours
        if is_guarded:
            refuse_private(node.endpoint)
        key = (node.endpoint, node.is_ours)
        with self._lock:
            client = self._kept.get(key)
            if client is None:
                client = self._kept[key] = self._made(node, _is_public if is_guarded else None)
            self._kept.move_to_end(key)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)  # not closed: a call may run on it
        return client

    def close(self) -> None:
        """Close the kept connections."""
        with self._lock:
            for client in self._kept.values():
                client.close()
            self._kept.clear()

    def _made(self, node: PlannedNode, accepts_peer: Callable[[str], bool] | None) -> Upstream:
        return Upstream(
            node.endpoint,
            self._configured.key_for(node.endpoint) if node.is_ours else "",
            first_token_s=self._first_token_s,
            deadline_s=self._deadline_s,
            clock=self._clock,
            accepts_peer=accepts_peer,
        )


def _is_public(address: str) -> bool:
    return not is_private(address)
