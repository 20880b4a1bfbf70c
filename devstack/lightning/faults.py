"""Faults on demand. What each one does is told in the package's docstring."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from devstack.lightning.records import FailureReason
from devstack.lightning.refusal import Refused

ANY = "*"
METHODS = frozenset(
    {
        "GetInfo",
        "ChannelBalance",
        "WalletBalance",
        "DecodePayReq",
        "AddInvoice",
        "LookupInvoice",
        "LookupInvoiceV2",
        "ListInvoices",
        "ListPayments",
        "CancelInvoice",
        "SubscribeInvoices",
        "SendPaymentV2",
        "TrackPaymentV2",
    }
)
_STREAMS = frozenset({"SubscribeInvoices", "SendPaymentV2", "TrackPaymentV2"})


class FaultKind(StrEnum):
    """What goes wrong."""

    DELAY = "delay"
    UNAVAILABLE = "unavailable"
    HANG = "hang"
    DROP_STREAM = "drop_stream"
    DROP_AFTER_SETTLE = "drop_after_settle"
    DUPLICATE_EVENTS = "duplicate_events"
    REORDER_EVENTS = "reorder_events"
    NOT_FOUND = "not_found"
    FAIL = "fail"
    STUCK_IN_FLIGHT = "stuck_in_flight"
    INITIATED = "initiated"


_APPLIES: dict[FaultKind, frozenset[str]] = {
    FaultKind.DELAY: METHODS,
    FaultKind.UNAVAILABLE: METHODS,
    FaultKind.HANG: METHODS,
    FaultKind.DROP_AFTER_SETTLE: METHODS,
    FaultKind.DROP_STREAM: _STREAMS,
    FaultKind.DUPLICATE_EVENTS: _STREAMS,
    FaultKind.REORDER_EVENTS: frozenset({"SubscribeInvoices"}),
    FaultKind.NOT_FOUND: frozenset({"LookupInvoice", "LookupInvoiceV2", "CancelInvoice", "TrackPaymentV2"}),
    FaultKind.FAIL: frozenset({"SendPaymentV2"}),
    FaultKind.STUCK_IN_FLIGHT: frozenset({"SendPaymentV2"}),
    FaultKind.INITIATED: frozenset({"SendPaymentV2"}),
}


@dataclass(frozen=True)
class Fault:
    """One standing order to misbehave. `times` None means until deleted; `payment_hash` None means any."""

    node: str
    method: str
    kind: FaultKind
    times: int | None
    seconds: float | None
    payment_hash: bytes | None
    reason: FailureReason

    def hits(self, node: str, method: str, kinds: frozenset[FaultKind], payment_hash: bytes | None) -> bool:
        """True when this call is the one meant."""
        return (
            self.node == node
            and self.kind in kinds
            and (self.method == method or (self.method == ANY and method in _APPLIES[self.kind]))
            and (self.payment_hash is None or self.payment_hash == payment_hash)
        )

    def described(self) -> dict[str, Any]:
        """Return the fault as the control plane spells it."""
        kind = f"{self.kind}:{self.reason.name}" if self.kind is FaultKind.FAIL else str(self.kind)
        return {
            "node": self.node,
            "method": self.method,
            "fault": kind,
            "times": self.times,
            "seconds": self.seconds,
            "payment_hash": None if self.payment_hash is None else self.payment_hash.hex(),
        }

    @classmethod
    def parsed(cls, body: dict[str, Any], *, nodes: frozenset[str]) -> Fault:
        """Return the fault a tester asked for. Raises `Refused` with what is wrong about it."""
        kind_text, _, reason_text = str(body.get("fault", "")).partition(":")
        kind = _member(FaultKind, kind_text, "fault")
        reason = FailureReason[reason_text] if reason_text in FailureReason.__members__ else FailureReason.NONE
        if (kind is FaultKind.FAIL) != (reason is not FailureReason.NONE):
            raise Refused("fail needs a reason (fail:NO_ROUTE), and only fail has one")
        node, method = body.get("node"), body.get("method", ANY)
        if node not in nodes:
            raise Refused(f"node must be one of {', '.join(sorted(nodes))}")
        if method != ANY and method not in _APPLIES[kind]:
            raise Refused(f"{kind} applies to {', '.join(sorted(_APPLIES[kind]))}")
        return cls(
            node=str(node),
            method=str(method),
            kind=kind,
            times=_times(body),
            seconds=_seconds(body),
            payment_hash=_payment_hash(body),
            reason=reason,
        )


class FaultBoard:
    """The faults that stand, oldest first. `on_change` wakes streams that are already open."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._lock = threading.Lock()
        self._standing: list[Fault] = []

    def post(self, fault: Fault) -> None:
        """Add a fault."""
        with self._lock:
            self._standing.append(fault)
        self._on_change()

    def clear(self) -> None:
        """Forget every fault."""
        with self._lock:
            self._standing.clear()
        self._on_change()

    def take(self, node: str, method: str, kinds: frozenset[FaultKind], payment_hash: bytes | None) -> Fault | None:
        """Use up one occurrence of the first fault that means this call."""
        with self._lock:
            for place, fault in enumerate(self._standing):
                if fault.hits(node, method, kinds, payment_hash):
                    self._use(place, fault)
                    return fault
        return None

    def described(self) -> list[dict[str, Any]]:
        """Return what stands."""
        with self._lock:
            return [fault.described() for fault in self._standing]

    def _use(self, place: int, fault: Fault) -> None:
        if fault.times is None:
            return
        if fault.times <= 1:
            del self._standing[place]
        else:
            self._standing[place] = replace(fault, times=fault.times - 1)


def _member(kinds: type[FaultKind], text: str, field: str) -> FaultKind:
    try:
        return kinds(text)
    except ValueError:
        raise Refused(f"{field} must be one of {', '.join(kinds)}") from None


def _times(body: dict[str, Any]) -> int | None:
    times = body.get("times", 1)
    if times is None:
        return None
    if isinstance(times, bool) or not isinstance(times, int) or times < 1:
        raise Refused("times must be a whole number of at least 1, or null")
    return times


def _seconds(body: dict[str, Any]) -> float | None:
    seconds = body.get("seconds")
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= 3600:
        raise Refused("seconds must be a number from 0 to 3600")
    return float(seconds)


def _payment_hash(body: dict[str, Any]) -> bytes | None:
    text = body.get("payment_hash")
    return None if text is None else hash_of(text)


def hash_of(text: Any) -> bytes:
    """Return 32 bytes from their hex. Raises `Refused`."""
    try:
        found = bytes.fromhex(text)
    except (TypeError, ValueError):
        found = b""
    if len(found) != 32:
        raise Refused("payment_hash must be 64 hex digits")
    return found
