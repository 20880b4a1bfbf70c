"""A connection to an lnd node: one channel a process, one macaroon on every call."""

from __future__ import annotations

import os
import threading
from typing import Any

import grpc

from shared.lightning.clients import stubs

_OPTIONS: tuple[tuple[str, int], ...] = (
    # lnd refuses pings closer than 5 s, and pings on a connection without a call.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    # A node that came back is found within seconds; gRPC's own default is two minutes.
    ("grpc.initial_reconnect_backoff_ms", 250),
    ("grpc.min_reconnect_backoff_ms", 250),
    ("grpc.max_reconnect_backoff_ms", 3_000),
    ("grpc.max_receive_message_length", 50 * 1024 * 1024),
    # Whether a call is made again is decided by those who know what it does.
    ("grpc.enable_retries", 0),
)


class LndConnection:
    """Safe to share between threads, and to carry through a fork before its first call.

    `target` is host:port; `tls_cert_pem` the node's own certificate, empty for one signed by a public authority;
    `tls_name` the name to expect in it, where that isn't the host.
    """

    def __init__(self, target: str, tls_cert_pem: str, macaroon_hex: str, *, tls_name: str = "") -> None:
        self._target = target
        self._tls_cert_pem = tls_cert_pem
        self._macaroon_hex = macaroon_hex
        self._tls_name = tls_name
        self._lock = threading.Lock()
        self._pid = 0
        self._open: Stubs | None = None
        self._inherited: list[Stubs] = []

    def stubs(self) -> Stubs:
        """Return this process's connection. One inherited over a fork is left alone: its threads stayed behind."""
        with self._lock:
            if self._open is not None and self._pid != os.getpid():
                self._inherited.append(self._open)
                self._open = None
            if self._open is None:
                self._open = Stubs(self._channel())
                self._pid = os.getpid()
            return self._open

    def close(self) -> None:
        """Close this process's connection, if it has one. A later call opens a new one."""
        with self._lock:
            if self._open is not None and self._pid == os.getpid():
                self._open.channel.close()
            self._open = None

    def _channel(self) -> grpc.Channel:
        roots = self._tls_cert_pem.encode("ascii") or None
        macaroon = grpc.metadata_call_credentials(_Macaroon(self._macaroon_hex), name="macaroon")
        credentials = grpc.composite_channel_credentials(grpc.ssl_channel_credentials(roots), macaroon)
        names = (("grpc.ssl_target_name_override", self._tls_name),) if self._tls_name else ()
        return grpc.secure_channel(self._target, credentials, options=(*_OPTIONS, *names))


class Stubs:
    """A channel and the services on it."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        self.lightning: Any = stubs.lnrpc_grpc.LightningStub(channel)
        self.invoices: Any = stubs.invoicesrpc_grpc.InvoicesStub(channel)
        self.router: Any = stubs.routerrpc_grpc.RouterStub(channel)


class _Macaroon(grpc.AuthMetadataPlugin):
    """Adds the macaroon to every call."""

    def __init__(self, macaroon_hex: str) -> None:
        self._metadata = (("macaroon", macaroon_hex),)

    def __call__(self, _context: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback) -> None:
        callback(self._metadata, None)
