"""routerrpc.Router: send a payment, follow a payment."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import grpc

from devstack.lightning.calls_lightning import msat_of
from devstack.lightning.dispatch import Call, Node, Rpc, cut
from devstack.lightning.faults import Fault, FaultKind
from devstack.lightning.messages import payment_message
from devstack.lightning.payment_request import PaymentRequest, read
from devstack.lightning.payments import Course, Order
from devstack.lightning.records import FailureReason, Payment, PaymentStatus
from devstack.lightning.refusal import Refused
from devstack.lightning.stubs import lnrpc, routerrpc

SERVICE = "routerrpc.Router"
_WAIT_S = 1.0
_SEND_FAULTS = (
    FaultKind.DROP_AFTER_SETTLE,
    FaultKind.DROP_STREAM,
    FaultKind.FAIL,
    FaultKind.STUCK_IN_FLIGHT,
    FaultKind.INITIATED,
)
_COURSES = {
    FaultKind.DROP_STREAM: Course.STAYS_IN_FLIGHT,
    FaultKind.STUCK_IN_FLIGHT: Course.STAYS_IN_FLIGHT,
    FaultKind.INITIATED: Course.STAYS_INITIATED,
    FaultKind.FAIL: Course.FAILS,
}


def router_rpcs(node: Node) -> list[Rpc]:
    """Return the table of this service's methods, answered by `node`."""
    calls = _Calls(node)
    rpc = partial(Rpc, SERVICE, entity="offchain", response=lnrpc.Payment, streams=True)
    return [
        rpc(
            name="SendPaymentV2",
            action="write",
            request=routerrpc.SendPaymentRequest,
            answer=calls.send,
            subject=_requested_hash,
        ),
        rpc(
            name="TrackPaymentV2",
            action="read",
            request=routerrpc.TrackPaymentRequest,
            answer=calls.track,
            subject=lambda request: request.payment_hash,
        ),
    ]


class _Calls:
    def __init__(self, node: Node) -> None:
        self._node = node

    def send(self, request: Any, call: Call) -> Iterator[Any]:
        order = _order(request, self._node)
        fault = call.fault(*_SEND_FAULTS)
        if fault is not None:
            order = replace(order, course=_COURSES.get(fault.kind, Course.SETTLES), reason=fault.reason)
        payment = self._node.payments.send(order)
        yield from _doubled(call, _first_updates(payment, quiet=request.no_inflight_updates))
        if fault is not None:
            self._cut_on(fault, payment)
        if payment.status.is_final:
            yield from _doubled(call, [payment])
        else:
            yield from _doubled(call, self._later(payment, call, quiet=request.no_inflight_updates))

    def track(self, request: Any, call: Call) -> Iterator[Any]:
        payment = self._node.payments.find(self._node.name, request.payment_hash)
        if not payment.status.is_final and not request.no_inflight_updates:
            yield from _doubled(call, [payment])
        if payment.status.is_final:
            call.cut_on(FaultKind.DROP_AFTER_SETTLE)
            yield from _doubled(call, [payment])
        call.cut_on(FaultKind.DROP_STREAM)
        if not payment.status.is_final:
            yield from _doubled(call, self._later(payment, call, quiet=request.no_inflight_updates))

    def _later(self, payment: Payment, call: Call, *, quiet: bool) -> Iterator[Payment]:
        """Yield what becomes of an unfinished payment, to its end."""
        status = payment.status
        while call.is_active() and not status.is_final:
            call.cut_on(FaultKind.DROP_STREAM)
            version = self._node.hub.version
            payment = self._node.payments.find(self._node.name, payment.payment_hash)
            if payment.status is status:
                self._node.hub.wait(version, timeout_s=_WAIT_S)
                continue
            status = payment.status
            if status.is_final:
                call.cut_on(FaultKind.DROP_AFTER_SETTLE)
            if status.is_final or not quiet:
                yield payment

    def _cut_on(self, fault: Fault, payment: Payment) -> None:
        if fault.kind is FaultKind.DROP_AFTER_SETTLE:
            raise cut()
        if fault.kind is not FaultKind.DROP_STREAM:
            return
        if fault.seconds is not None and not payment.status.is_final:
            timer = threading.Timer(fault.seconds, self._arrive, [payment.payment_hash])
            timer.daemon = True
            timer.start()
        raise cut()

    def _arrive(self, payment_hash: bytes) -> None:
        """Let a payment arrive whose stream was dropped; a tester may have ended it before."""
        try:
            self._node.payments.release(payment_hash)
        except Refused:
            return


def _first_updates(payment: Payment, *, quiet: bool) -> list[Payment]:
    """lnd reports a payment in flight before it reports its end; a lone transaction has to say so afterwards."""
    if quiet:
        return []
    if payment.status is PaymentStatus.SUCCEEDED:
        return [replace(payment, status=PaymentStatus.IN_FLIGHT, preimage=b"", resolved_ns=0)]
    if payment.status is PaymentStatus.FAILED:
        return [replace(payment, status=PaymentStatus.IN_FLIGHT, failure_reason=FailureReason.NONE, resolved_ns=0)]
    return [payment]


def _doubled(call: Call, payments: Iterator[Payment] | list[Payment]) -> Iterator[Any]:
    for payment in payments:
        message = payment_message(payment)
        yield message
        if call.fault(FaultKind.DUPLICATE_EVENTS) is not None:
            yield message


def _order(request: Any, node: Node) -> Order:
    """Return the payment that is asked for. Raises `Refused`, before anything is recorded, as lnd does."""
    if not request.payment_request:
        raise Refused("the sandbox pays payment requests only", code=grpc.StatusCode.UNIMPLEMENTED)
    wanted = read(request.payment_request)
    if time.time() >= wanted.expires_at:
        raise Refused(f"invoice expired. Valid until {wanted.valid_until}")
    amount_msat = _amount(wanted, msat_of(request.amt, request.amt_msat))
    fee_limit_msat = msat_of(request.fee_limit_sat, request.fee_limit_msat)
    if request.timeout_seconds < 0:
        raise Refused("timeout_seconds must not be negative")
    if wanted.payee == node.identity.pubkey and not request.allow_self_payment:
        raise Refused("self-payments not allowed")
    return Order(node.name, wanted, amount_msat, fee_limit_msat)


def _amount(wanted: PaymentRequest, amount_msat: int) -> int:
    if wanted.amount_msat:
        if amount_msat:
            raise Refused("amount must not be specified when paying a non-zero amount invoice")
        return wanted.amount_msat
    if amount_msat <= 0:
        raise Refused("amount must be specified when paying a zero amount invoice")
    return amount_msat


def _requested_hash(request: Any) -> bytes | None:
    try:
        return read(request.payment_request).payment_hash
    except Refused:
        return None
