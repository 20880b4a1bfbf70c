"""A node's two ports: gRPC, and REST in front of it. Taking a node down closes both."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import grpc

from devstack.lightning.calls_invoices import invoices_rpcs
from devstack.lightning.calls_lightning import lightning_rpcs
from devstack.lightning.calls_router import router_rpcs
from devstack.lightning.dispatch import Node, generic_handlers
from devstack.lightning.gateway import Gateway

# An open stream keeps a thread; the pool starts one only when it is needed.
_THREADS = 256
# lnd's own keepalive policy: pings no closer than 5 s, and none without a call under way.
_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 5000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5000),
    ("grpc.keepalive_permit_without_calls", 0),
)


class PortTaken(Exception):
    """Something else listens on an address that this node has to keep."""


class NodeServers:
    """The listening half of a node; its books stay open while it is down."""

    def __init__(self, node: Node, *, host: str, grpc_port: int, rest_port: int) -> None:
        self._node = node
        self._host = host
        self._grpc_port = grpc_port
        self._rest_port = rest_port
        self._rpcs = [*lightning_rpcs(node), *router_rpcs(node), *invoices_rpcs(node)]
        self._lock = threading.Lock()
        self._server: grpc.Server | None = None
        self._gateway: Gateway | None = None

    @property
    def grpc_target(self) -> str:
        """Return host and port of gRPC."""
        return f"{self._host}:{self._grpc_port}"

    @property
    def rest_url(self) -> str:
        """Return the base URL of REST."""
        return f"https://{self._host}:{self._rest_port}"

    @property
    def is_down(self) -> bool:
        """True while nothing listens."""
        return self._server is None

    def start(self) -> None:
        """Listen; does nothing when listening already. Raises `PortTaken`."""
        with self._lock:
            if self._server is None:
                self._server = self._listening_grpc()
                self._gateway = self._listening_rest()

    def stop(self) -> None:
        """Close both ports and break every stream off; does nothing when down already."""
        with self._lock:
            if self._gateway is not None:
                self._gateway.shutdown()
                self._gateway.server_close()
                self._gateway = None
            if self._server is not None:
                stopped = self._server.stop(grace=None)
                self._node.hub.wake()
                stopped.wait(5)
                self._server = None

    def _listening_grpc(self) -> grpc.Server:
        identity = self._node.identity
        server = grpc.server(
            ThreadPoolExecutor(_THREADS, thread_name_prefix=f"{identity.name}-grpc"),
            handlers=generic_handlers(self._node, self._rpcs),
            options=_OPTIONS,
        )
        pair = (identity.tls_key.read_bytes(), identity.tls_cert.read_bytes())
        try:
            port = server.add_secure_port(self.grpc_target, grpc.ssl_server_credentials([pair]))
        except RuntimeError as fault:
            raise PortTaken(f"{self.grpc_target} (gRPC of {identity.name}): {fault}") from fault
        if port != self._grpc_port:
            raise PortTaken(f"{self.grpc_target} (gRPC of {identity.name})")
        server.start()
        return server

    def _listening_rest(self) -> Gateway:
        identity = self._node.identity
        try:
            gateway = Gateway(
                (self._host, self._rest_port),
                grpc_target=self.grpc_target,
                cert=identity.tls_cert,
                key=identity.tls_key,
                rpcs=self._rpcs,
            )
        except OSError as fault:
            raise PortTaken(f"{self.rest_url} (REST of {identity.name}): {fault}") from fault
        threading.Thread(target=gateway.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        return gateway
