"""The node's paying side, over gRPC: read a payment request, send a payment, ask what became of one.

Only the payout tasks use this, with the one macaroon that can spend. lnd holds a payment hash to one payment at a time, for
as long as it keeps the record: whatever is in doubt is asked about by its hash, and never guessed (routerrpc, lnd 0.19 and later).
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import grpc

from shared.lightning.clients import stubs
from shared.lightning.clients.connection import LndConnection
from shared.lightning.clients.faults import (
    InvoiceExpired,
    NodeRefused,
    NodeUnavailable,
    OutcomeUnknown,
    PaymentNotSent,
    code_of,
    details_of,
    fault_of,
    says,
)
from shared.lightning.model import Decoded, NodePayment, NodePaymentState

# lnd refuses these before it records anything; the texts are its own, from rpcserver and routerrpc. Any other text proves nothing.
EXPIRED = "invoice expired. valid until"
NOT_SENT = (
    EXPIRED,
    "self-payments not allowed",
    "amount must not be specified when paying a non-zero amount invoice",
    "amount must be specified when paying a zero amount invoice",
    "invoice not for current active network",
    "payment request must contain either a payment address or blinded paths",
    "payment request must contain a payment address",
)
NEVER_INITIATED = "isn't initiated"
# How long an attempt may hold our money, in blocks: three days. lnd's own limit is two weeks.
CLTV_LIMIT_BLOCKS = 432
# A send in flight can take as long as its receiver likes; whoever listens meanwhile pays nobody else.
_LISTEN_ON_S = 2.0
_UP_TO_LOOK_S = 0.2
_HTLC_IN_FLIGHT = 0


class LndPayments:
    """One node, the macaroon that pays. Safe to share between threads, and to carry through a fork before its first call.

    `timeout_s` bounds every call but a send, which has its own deadline.
    """

    def __init__(
        self, target: str, tls_cert_pem: str, macaroon_hex: str, *, timeout_s: float = 5.0, tls_name: str = ""
    ) -> None:
        self._connection = LndConnection(target, tls_cert_pem, macaroon_hex, tls_name=tls_name)
        self._timeout_s = timeout_s

    def decode_payment_request(self, payment_request: str) -> Decoded | None:
        """Return what the node reads in it, None where the node cannot read it. Nothing is sent.

        Raises `NodeUnavailable` without an answer, `NodeRefused` where the credential does not do.
        """
        lightning = self._connection.stubs().lightning
        try:
            own = lightning.GetInfo(stubs.lnrpc.GetInfoRequest(), timeout=self._timeout_s).identity_pubkey
            said = lightning.DecodePayReq(stubs.lnrpc.PayReqString(pay_req=payment_request), timeout=self._timeout_s)
        except grpc.RpcError as error:
            fault = fault_of(error, doing="DecodePayReq")
            if isinstance(fault, OutcomeUnknown) and code_of(error) is grpc.StatusCode.UNKNOWN:
                return None  # lnd's parser says no in any of a hundred sentences
            raise (fault if isinstance(fault, NodeRefused) else NodeUnavailable(fault.message)) from error
        return Decoded(
            payment_hash=_bytes(said.payment_hash),
            amount_msat=said.num_msat or said.num_satoshis * 1000,
            is_own=said.destination == own,
        )

    def send_payment(
        self, payment_request: str, *, fee_limit_msat: int, timeout_s: int, deadline_s: float, stop: threading.Event
    ) -> NodePayment | None:
        """Have the node pay, and return the last that it said of the payment within `deadline_s` seconds, or until `stop` is set.

        Once it is in flight it is listened to for two seconds more, no longer.
        In flight means that the node has it on record, and that it may still end either way. None: the node says that it has
        had this payment hash before; ask `track_payment`. The node launches attempts for `timeout_s` seconds; hanging up
        stops nothing. Raises `PaymentNotSent` where nothing was sent nor will be, `OutcomeUnknown` where nobody knows.
        """
        asked = order_of(payment_request, fee_limit_msat=fee_limit_msat, timeout_s=timeout_s)
        call = self._connection.stubs().router.SendPaymentV2(asked, timeout=deadline_s)
        hung_up = _hang_up_on(stop, call)
        enough = threading.Timer(_LISTEN_ON_S, call.cancel)
        enough.daemon = True
        last: NodePayment | None = None
        try:
            for message in call:
                if last is None:
                    enough.start()
                last = payment_of(message)
                if last.state is not NodePaymentState.IN_FLIGHT:
                    break
        except grpc.RpcError as error:
            if last is None and code_of(error) is not grpc.StatusCode.ALREADY_EXISTS:
                raise _unheard(error) from error
            return last
        finally:
            enough.cancel()
            hung_up.set()
            call.cancel()
        if last is None:
            raise OutcomeUnknown("SendPaymentV2: the stream ended without a word")
        return last

    def track_payment(self, payment_hash: bytes) -> NodePayment | None:
        """Return the payment as it stands, None where the node says that it never had one of this hash.

        Raises `NodeUnavailable` where it cannot be told.
        """
        asked = stubs.routerrpc.TrackPaymentRequest(payment_hash=payment_hash)
        call = self._connection.stubs().router.TrackPaymentV2(asked, timeout=self._timeout_s)
        try:
            for message in call:
                return payment_of(message)
        except grpc.RpcError as error:
            if code_of(error) is grpc.StatusCode.NOT_FOUND and says(error, NEVER_INITIATED):
                return None
            fault = fault_of(error, doing="TrackPaymentV2")
            raise (fault if isinstance(fault, NodeRefused) else NodeUnavailable(fault.message)) from error
        finally:
            call.cancel()
        raise NodeUnavailable("TrackPaymentV2: the stream ended without a word")

    def close(self) -> None:
        """Close this process's connection, if it has one. A later call opens a new one."""
        self._connection.close()


def order_of(payment_request: str, *, fee_limit_msat: int, timeout_s: int) -> Any:
    """Return routerrpc.SendPaymentRequest. no_inflight_updates stays off: the first update proves that it has arrived."""
    return stubs.routerrpc.SendPaymentRequest(
        payment_request=payment_request,
        fee_limit_msat=fee_limit_msat,
        timeout_seconds=timeout_s,
        cltv_limit=CLTV_LIMIT_BLOCKS,
    )


def _unheard(error: grpc.RpcError) -> PaymentNotSent | OutcomeUnknown:
    """Return what a send means of which nothing was heard but its end."""
    message = f"SendPaymentV2: {code_of(error).name}: {details_of(error)}"
    if code_of(error) is grpc.StatusCode.UNKNOWN and says(error, *NOT_SENT):
        return InvoiceExpired(message) if says(error, EXPIRED) else PaymentNotSent(message)
    return OutcomeUnknown(message)


def payment_of(message: Any) -> NodePayment:
    """Read lnrpc.Payment. A status that the stubs don't know is in flight, and so is FAILED with an HTLC that is not resolved."""
    names = {
        stubs.lnrpc.Payment.SUCCEEDED: NodePaymentState.SUCCEEDED,
        stubs.lnrpc.Payment.FAILED: NodePaymentState.FAILED,
    }
    state = names.get(message.status, NodePaymentState.IN_FLIGHT)
    if state is NodePaymentState.FAILED and any(htlc.status == _HTLC_IN_FLIGHT for htlc in message.htlcs):
        state = NodePaymentState.IN_FLIGHT
    return NodePayment(
        payment_hash=_bytes(message.payment_hash),
        state=state,
        amount_msat=message.value_msat,
        fee_msat=message.fee_msat,
        preimage=_bytes(message.payment_preimage) if state is NodePaymentState.SUCCEEDED else None,
        failure=_failure(message.failure_reason),
        created_at=datetime.fromtimestamp(message.creation_time_ns // 1_000_000_000, UTC),
    )


def _failure(number: int) -> str:
    """Return lnd's word for why a payment failed; a number where it is newer than the stubs."""
    try:
        return str(stubs.lnrpc.PaymentFailureReason.Name(number)).removeprefix("FAILURE_REASON_")
    except ValueError:
        return str(number)


def _bytes(text: str) -> bytes:
    """Return the bytes of lnd's hex; empty where it is none."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def _hang_up_on(stop: threading.Event, call: Any) -> threading.Event:
    """Cancel `call` once `stop` is set: a thread blocked on a stream cannot look. Set the returned event to end the watch."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_UP_TO_LOOK_S):
            if stop.is_set():
                call.cancel()
                return

    threading.Thread(target=watch, name="lnd-send-stop", daemon=True).start()
    return over
