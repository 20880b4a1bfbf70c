"""The map of what runs where, for people and tools: `$LUCID_HOME/endpoints.json` while the stack is ready."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NODE_FIELDS = ("grpc", "rest", "tls_cert", "macaroon")


def describe(environment: Mapping[str, str], *, lightning: Mapping[str, Any] | None) -> dict[str, Any]:
    """Build the map from the processes' environment and the Lightning nodes' own words (None: they are not ours).

    `macaroon` is each node's admin macaroon in hex, `tls_cert` a path.
    """
    endpoints: dict[str, Any] = {
        "web": f"http://127.0.0.1:{environment['PORT']}",
        "flower": {
            "url": f"http://127.0.0.1:{environment['FLOWER_PORT']}",
            "user": environment["FLOWER_USER"],
            "password": environment["FLOWER_PASSWORD"],
        },
        "database_url": environment["DATABASE_URL"],
        "redis_url": environment["REDIS_URL"],
        "llm": environment["OPENAI_BASE_URL"],
        "sim_llm": environment.get("SIM_OPENAI_BASE_URL", ""),
        "witness": environment.get("WITNESS_URL", ""),
    }
    if lightning is not None:
        for node in ("lnd", "wallet"):
            endpoints[node] = {name: lightning[node][name] for name in _NODE_FIELDS}
        endpoints["lightning_control"] = lightning["control"]
    return endpoints
