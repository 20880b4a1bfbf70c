"""The map of what runs where, for people and tools: `$LUCID_HOME/endpoints.json` while the stack is ready."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from devstack.files import read_json
from devstack.home import Home, Keys
from devstack.model import chosen_model
from devstack.plan import SIM_MODEL, completed, model_settings, own_settings

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
        "metrics": {
            "url": f"http://127.0.0.1:{environment['PORT']}/metrics",
            "token": environment["METRICS_TOKEN"],
        },
    }
    if lightning is not None:
        for node in ("lnd", "wallet"):
            endpoints[node] = {name: lightning[node][name] for name in _NODE_FIELDS}
        endpoints["lightning_control"] = lightning["control"]
    return endpoints


def settings_of(home: Home, user: Mapping[str, str]) -> dict[str, str]:
    """Answer the environment of a command beside the stack that runs in `home`; what `user` sets wins.

    Just `user` where no stack runs there, and in production. The node's macaroons are both the admin's.
    """
    endpoints, keys = read_json(home.endpoints), Keys.kept(home)
    if not endpoints or keys is None or user.get("LUCID_ENV") == "production":
        return completed(user, {})
    is_simulated = endpoints["llm"] == endpoints["sim_llm"]
    known = own_settings(keys) | {
        "DATABASE_URL": endpoints["database_url"],
        "REDIS_URL": endpoints["redis_url"],
        "SIM_OPENAI_BASE_URL": endpoints["sim_llm"],
        "WITNESS_URL": endpoints["witness"],
        **model_settings(endpoints["llm"], name=SIM_MODEL if is_simulated else chosen_model(user).alias),
    }
    node = endpoints.get("lnd")
    if node is not None:
        known |= {"LND_GRPC": node["grpc"], "LND_TLS_CERT": node["tls_cert"], "LND_MACAROON_INVOICES": node["macaroon"]}
        known |= {"LND_MACAROON_PAYMENTS": node["macaroon"], "LND_NETWORK": "regtest"}
    return completed(user, known)
