"""lnd's REST on top of a node's own gRPC, as lnd's gateway does it: same macaroons, same faults, same answers.

Offered: GET /v1/getinfo, /v1/balance/channels, /v1/balance/blockchain, /v1/invoices, /v1/invoice/{hex hash},
/v1/payments, /v1/payreq/{bolt11}, /v2/router/track/{base64url hash}; POST /v1/invoices, /v2/router/send,
/v2/invoices/cancel. Bytes are base64, 64-bit numbers are strings, a payment's hash and preimage are hex; streams are
lines of {"result": …}, ended by {"error": …} if they fail. The macaroon comes as hex in `Grpc-Metadata-macaroon`.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import grpc
from google.protobuf import json_format

from devstack.lightning.dispatch import Rpc
from devstack.lightning.records import FailureReason, PaymentStatus

_MAX_BODY = 1 << 20
_HTTP_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS: HTTPStatus.CONFLICT,
    grpc.StatusCode.UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
    grpc.StatusCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
}


@dataclass(frozen=True)
class Route:
    """One REST path. A named group of `pattern` fills the request's field of that name."""

    verb: str
    pattern: re.Pattern[str]
    rpc: str


ROUTES = (
    Route("GET", re.compile(r"/v1/getinfo"), "GetInfo"),
    Route("GET", re.compile(r"/v1/balance/channels"), "ChannelBalance"),
    Route("GET", re.compile(r"/v1/balance/blockchain"), "WalletBalance"),
    Route("GET", re.compile(r"/v1/invoices"), "ListInvoices"),
    Route("POST", re.compile(r"/v1/invoices"), "AddInvoice"),
    Route("GET", re.compile(r"/v1/invoice/(?P<r_hash_str>[^/]+)"), "LookupInvoice"),
    Route("GET", re.compile(r"/v1/payments"), "ListPayments"),
    Route("GET", re.compile(r"/v1/payreq/(?P<pay_req>[^/]+)"), "DecodePayReq"),
    Route("POST", re.compile(r"/v2/router/send"), "SendPaymentV2"),
    Route("GET", re.compile(r"/v2/router/track/(?P<payment_hash>[^/]+)"), "TrackPaymentV2"),
    Route("POST", re.compile(r"/v2/invoices/cancel"), "CancelInvoice"),
)


class Gateway(ThreadingHTTPServer):
    """A node's REST server. Handshakes happen in the connection's own thread, so that none blocks the rest."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], *, grpc_target: str, cert: Path, key: Path, rpcs: Iterable[Rpc]):
        self.rpcs = {rpc.name: rpc for rpc in rpcs}
        credentials = grpc.ssl_channel_credentials(cert.read_bytes())
        options = [("grpc.max_reconnect_backoff_ms", 500)]
        self.channel = grpc.secure_channel(grpc_target, credentials, options=options)
        super().__init__(address, _Handler)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(cert, key)
        self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a caller who hung up or mistrusts the certificate is not news."""

    def server_close(self) -> None:
        """Close the port and the channel behind it."""
        super().server_close()
        self.channel.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 600
    server: Gateway

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Keep quiet: paths hold payment hashes."""

    def _serve(self, verb: str) -> None:
        parts = urlsplit(self.path)
        body = self._body()
        for route in ROUTES:
            match = route.pattern.fullmatch(parts.path)
            if match is None or route.verb != verb:
                continue
            fields = {name: unquote(value) for name, value in match.groupdict().items()}
            self._call(self.server.rpcs[route.rpc], body, dict(parse_qsl(parts.query)), fields)
            return
        self._json(HTTPStatus.NOT_FOUND, {"code": 5, "message": "Not Found", "details": []})

    def _body(self) -> bytes:
        length = int(self.headers.get("Content-Length") or 0)
        return self.rfile.read(min(length, _MAX_BODY))

    def _call(self, rpc: Rpc, body: bytes, query: dict[str, str], fields: dict[str, str]) -> None:
        try:
            request = _message(rpc, body, query, fields)
        except (ValueError, json_format.ParseError) as fault:
            self._json(HTTPStatus.BAD_REQUEST, {"code": 3, "message": str(fault), "details": []})
            return
        macaroon = self.headers.get("Grpc-Metadata-macaroon")
        metadata = [] if macaroon is None else [("macaroon", macaroon)]
        prepare = self.server.channel.unary_stream if rpc.streams else self.server.channel.unary_unary
        invoke: Callable[..., Any] = prepare(
            rpc.path,
            request_serializer=rpc.request.SerializeToString,
            response_deserializer=rpc.response.FromString,
        )
        answer = partial(invoke, request, metadata=metadata, wait_for_ready=False)
        (self._stream if rpc.streams else self._unary)(answer)

    def _unary(self, answer: Callable[[], Any]) -> None:
        try:
            message = answer()
        except grpc.RpcError as error:
            status, fault = _fault(error)
            self._json(status, fault)
            return
        self._json(HTTPStatus.OK, _plain(message))

    def _stream(self, answer: Callable[[], Any]) -> None:
        call = answer()
        is_started = False
        try:
            for message in call:
                if not is_started:
                    self._start_lines(HTTPStatus.OK)
                    is_started = True
                self._line({"result": _plain(message)})
        except grpc.RpcError as error:
            status, fault = _fault(error)
            if not is_started:
                self._start_lines(status)
            self._line({"error": fault})
        except OSError:
            # The caller hung up; the payment goes on.
            self.close_connection = True
            return
        finally:
            call.cancel()
        self.wfile.write(b"0\r\n\r\n")

    def _start_lines(self, status: HTTPStatus) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _line(self, value: dict[str, Any]) -> None:
        line = json.dumps(value).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))

    def _json(self, status: HTTPStatus, value: dict[str, Any]) -> None:
        payload = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)


def _message(rpc: Rpc, body: bytes, query: dict[str, str], fields: dict[str, str]) -> Any:
    """Return the gRPC request: the body's JSON, then query parameters, then what the path says."""
    values: Any = json.loads(body) if body.strip() else {}
    if not isinstance(values, dict):
        raise json_format.ParseError("the body must be a JSON object")
    switches = {"true": True, "false": False}
    values.update({name: switches.get(value, value) for name, value in query.items()})
    values.update(fields)
    return json_format.ParseDict(values, rpc.request(), ignore_unknown_fields=True)


def _plain(message: Any) -> dict[str, Any]:
    """Return a message as lnd's REST writes it. Enum values newer than the stubs get their names."""
    plain: dict[str, Any] = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    for payment in [plain, *plain.get("payments", [])]:
        if payment.get("status") == PaymentStatus.INITIATED:
            payment["status"] = "INITIATED"
        if payment.get("failure_reason") == FailureReason.CANCELED:
            payment["failure_reason"] = "FAILURE_REASON_CANCELED"
    return plain


def _fault(error: Any) -> tuple[HTTPStatus, dict[str, Any]]:
    code = error.code()
    status = _HTTP_STATUS.get(code, HTTPStatus.INTERNAL_SERVER_ERROR)
    return status, {"code": code.value[0], "message": error.details(), "details": []}
