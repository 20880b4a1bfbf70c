"""lnd's compiled gRPC stubs, and nothing else of the package that carries them.

`lndgrpc.__init__` sets `GRPC_SSL_CIPHER_SUITES` for the whole process (which breaks other TLS users) and loads an
abandoned asyncio layer; its client class hides errors and is never used here. So an empty module of that name, with a
search path, stands in for the package, and the environment is put back as it was in case somebody imported the real
one. protobuf knows one copy of lnrpc a process: no other set of lnd stubs may be loaded beside this one.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from types import ModuleType
from typing import Any

_TOUCHED_BY_PACKAGE = "GRPC_SSL_CIPHER_SUITES"


def _register_bare_package() -> None:
    if "lndgrpc" in sys.modules:
        return
    spec = importlib.util.find_spec("lndgrpc")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("lnd-grpc-client is not installed")
    bare = ModuleType("lndgrpc")
    bare.__path__ = list(spec.submodule_search_locations)
    sys.modules["lndgrpc"] = bare


def _load(*names: str) -> list[Any]:
    before = os.environ.get(_TOUCHED_BY_PACKAGE)
    try:
        _register_bare_package()
        return [importlib.import_module(f"lndgrpc.compiled.{name}") for name in names]
    finally:
        if before is None:
            os.environ.pop(_TOUCHED_BY_PACKAGE, None)
        else:
            os.environ[_TOUCHED_BY_PACKAGE] = before


lnrpc, lnrpc_grpc, routerrpc, routerrpc_grpc, invoicesrpc, invoicesrpc_grpc = _load(
    "lightning_pb2", "lightning_pb2_grpc", "router_pb2", "router_pb2_grpc", "invoices_pb2", "invoices_pb2_grpc"
)
