"""The node's own list of what it has paid, for whoever compares books. Reads only.

The macaroon needs ListPayments; what can be raised is drawn in `shared/lightning/clients/faults.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import grpc

from shared.lightning.clients import stubs
from shared.lightning.clients.connection import LndConnection
from shared.lightning.clients.faults import fault_of
from shared.lightning.clients.lnd_payments import payment_of
from shared.lightning.model import NodePayment

_PAGE = 200
_TIMEOUT_S = 15.0  # lnd reads every attempt of every payment on the page


class LndListing:
    """One node, one macaroon."""

    def __init__(self, connection: LndConnection, *, timeout_s: float = _TIMEOUT_S) -> None:
        self._connection = connection
        self._timeout_s = timeout_s

    def payments(self, *, page: int = _PAGE) -> Iterator[NodePayment]:
        """Yield every payment on the node's record, failed ones and those in flight too, oldest first, `page` at a time."""
        offset = 0
        while True:
            asked = stubs.lnrpc.ListPaymentsRequest(include_incomplete=True, index_offset=offset, max_payments=page)
            try:
                answer = self._connection.stubs().lightning.ListPayments(asked, timeout=self._timeout_s)
            except grpc.RpcError as error:
                raise fault_of(error, doing="ListPayments") from error
            for message in answer.payments:
                yield replace(payment_of(message), ended_at=_ended_at(message))
            if len(answer.payments) < page or answer.last_index_offset <= offset:
                return
            offset = answer.last_index_offset

    def close(self) -> None:
        """Close this process's connection, if it has one. A later call opens a new one."""
        self._connection.close()


def _ended_at(message: Any) -> datetime | None:
    """Return when the last attempt was resolved; None where none was."""
    resolved_ns = max((attempt.resolve_time_ns for attempt in message.htlcs), default=0)
    return datetime.fromtimestamp(resolved_ns // 1_000_000_000, UTC) if resolved_ns else None
