"""One gRPC call, from macaroon to answer: who may, what is meant to go wrong, then the call itself.

Methods stand in tables (`Rpc`) with the permission they need, so that no method can be served without one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc

from devstack.lightning import macaroons
from devstack.lightning.faults import Fault, FaultBoard, FaultKind
from devstack.lightning.hub import Hub
from devstack.lightning.identity import Identity
from devstack.lightning.invoices import Invoices
from devstack.lightning.payments import Payments
from devstack.lightning.refusal import Refused

_OPENING = frozenset({FaultKind.UNAVAILABLE, FaultKind.HANG, FaultKind.NOT_FOUND})
_STEP_S = 0.1


@dataclass(frozen=True)
class Node:
    """What the calls of one node work with."""

    identity: Identity
    peer: str
    invoices: Invoices
    payments: Payments
    faults: FaultBoard
    hub: Hub
    balance_msat: Callable[[str], int]
    held_msat: Callable[[str], int]

    @property
    def name(self) -> str:
        """Return `lnd` or `wallet`."""
        return self.identity.name


class Call:
    """One call under way."""

    def __init__(self, node: Node, method: str, context: grpc.ServicerContext, payment_hash: bytes | None) -> None:
        self._node = node
        self._method = method
        self._context = context
        self._payment_hash = payment_hash
        context.add_callback(node.hub.wake)

    def is_active(self) -> bool:
        """True while the caller is still there."""
        return bool(self._context.is_active())

    def fault(self, *kinds: FaultKind, payment_hash: bytes | None = None) -> Fault | None:
        """Use up a fault of one of `kinds` that means this call, or this event of its stream."""
        subject = payment_hash or self._payment_hash
        return self._node.faults.take(self._node.name, self._method, frozenset(kinds), subject)

    def cut_on(self, *kinds: FaultKind, payment_hash: bytes | None = None) -> None:
        """Break the call off, as a lost connection does, if a fault says so."""
        if self.fault(*kinds, payment_hash=payment_hash) is not None:
            raise cut()

    def pause(self, seconds: float | None) -> None:
        """Wait `seconds`, or without end when None, but no longer than the caller does."""
        until = None if seconds is None else time.monotonic() + seconds
        while self.is_active() and (until is None or time.monotonic() < until):
            time.sleep(_STEP_S if until is None else max(0.0, min(_STEP_S, until - time.monotonic())))


def cut() -> Refused:
    """Return what a caller sees of a connection that broke."""
    return Refused("transport is closing", code=grpc.StatusCode.UNAVAILABLE)


def names_no_payment(_request: Any) -> bytes | None:
    """Say that a method's request is about no particular payment hash."""
    return None


@dataclass(frozen=True)
class Rpc:
    """A method: the permission it needs, its messages, and what answers it. `subject` finds the payment hash."""

    service: str
    name: str
    entity: str
    action: str
    request: Any
    response: Any
    answer: Callable[[Any, Call], Any]
    streams: bool = False
    subject: Callable[[Any], bytes | None] = names_no_payment

    @property
    def path(self) -> str:
        """Return the path as it stands on the wire, and in a macaroon's `uri` permission."""
        return f"/{self.service}/{self.name}"


def generic_handlers(node: Node, rpcs: Iterable[Rpc]) -> list[grpc.GenericRpcHandler[Any, Any]]:
    """Return what a gRPC server serves for `node`."""
    services: dict[str, dict[str, grpc.RpcMethodHandler[Any, Any]]] = {}
    for rpc in rpcs:
        services.setdefault(rpc.service, {})[rpc.name] = _method_handler(node, rpc)
    return [grpc.method_handlers_generic_handler(service, methods) for service, methods in services.items()]


def _method_handler(node: Node, rpc: Rpc) -> grpc.RpcMethodHandler[Any, Any]:
    def unary(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            call = _admitted(node, rpc, request, context)
            answer = rpc.answer(request, call)
            call.cut_on(FaultKind.DROP_AFTER_SETTLE)
        except Refused as refusal:
            context.abort(refusal.code, refusal.details)
        return answer

    def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        try:
            yield from rpc.answer(request, _admitted(node, rpc, request, context))
        except Refused as refusal:
            context.abort(refusal.code, refusal.details)

    wrap = grpc.unary_stream_rpc_method_handler if rpc.streams else grpc.unary_unary_rpc_method_handler
    behaviour: Any = stream if rpc.streams else unary
    return wrap(
        behaviour,
        request_deserializer=rpc.request.FromString,
        response_serializer=rpc.response.SerializeToString,
    )


def _admitted(node: Node, rpc: Rpc, request: Any, context: grpc.ServicerContext) -> Call:
    """Check the macaroon, then let the faults have their say."""
    presented = [str(value) for key, value in context.invocation_metadata() if key == "macaroon"]
    macaroons.check(presented, root_key=node.identity.root_key, entity=rpc.entity, action=rpc.action, path=rpc.path)
    call = Call(node, rpc.name, context, rpc.subject(request))
    delay = call.fault(FaultKind.DELAY)
    if delay is not None:
        call.pause(delay.seconds or 0.0)
    fault = call.fault(*_OPENING)
    if fault is None:
        return call
    if fault.kind is FaultKind.NOT_FOUND:
        raise _not_found(rpc.name)
    if fault.kind is FaultKind.HANG:
        call.pause(fault.seconds)
    raise Refused("connection refused by a fault", code=grpc.StatusCode.UNAVAILABLE)


def _not_found(method: str) -> Refused:
    if method == "TrackPaymentV2":
        return Refused("payment isn't initiated", code=grpc.StatusCode.NOT_FOUND)
    code = grpc.StatusCode.UNKNOWN if method == "CancelInvoice" else grpc.StatusCode.NOT_FOUND
    return Refused("unable to locate invoice", code=code)
