"""lnd's compiled messages, taken from `lnd-grpc-client` without running that package's own `__init__`.

Its `__init__` rewrites `GRPC_SSL_CIPHER_SUITES` for the whole process and loads an abandoned asyncio layer. An empty
`lndgrpc` module with a search path makes the compiled files importable and leaves the rest on disk.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any


def _register_bare_package() -> None:
    if "lndgrpc" in sys.modules:
        return
    spec = importlib.util.find_spec("lndgrpc")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("lnd-grpc-client is not installed")
    bare = ModuleType("lndgrpc")
    bare.__path__ = list(spec.submodule_search_locations)
    sys.modules["lndgrpc"] = bare


_register_bare_package()

lnrpc: Any = importlib.import_module("lndgrpc.compiled.lightning_pb2")
routerrpc: Any = importlib.import_module("lndgrpc.compiled.router_pb2")
invoicesrpc: Any = importlib.import_module("lndgrpc.compiled.invoices_pb2")
