"""What the embedded stack fills in: the parts whose URL is not set, and the environment its processes get.

Every variable that the user set wins over ours. In production nothing is filled in.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from config.settings import Settings, SettingsError
from devstack.faults import StackFault
from devstack.home import Home, Keys

DEFAULT_WEB_PORT = 3001
LOG_ORIGIN = "lucid.local/log"
FLOWER_USER = "lucid"
TREASURY_WALLET = "sandbox-treasury"
"""What a payout names here; nothing is transferred."""
SIM_MODEL = "sim-small"


@dataclass(frozen=True)
class Plan:
    """Which embedded parts this start needs."""

    postgres: bool
    valkey: bool
    lightning: bool
    witness: bool
    model: bool
    sim_model: bool

    @classmethod
    def of(cls, environment: Mapping[str, str], *, real_model: bool) -> Plan:
        """Fill in for each URL that is not set. Raises `StackFault` in production if any setting is missing."""
        if environment.get("LUCID_ENV") == "production":
            require_settings(environment)
            return cls(**dict.fromkeys((field.name for field in fields(cls)), False))
        return cls(
            postgres=not environment.get("DATABASE_URL"),
            valkey=not environment.get("REDIS_URL"),
            lightning=not environment.get("LND_GRPC"),
            witness=not environment.get("WITNESS_URL"),
            model=real_model and not environment.get("OPENAI_BASE_URL"),
            sim_model=not environment.get("SIM_OPENAI_BASE_URL"),
        )


def require_settings(environment: Mapping[str, str]) -> None:
    """Raise `StackFault` that names every setting the processes would miss."""
    try:
        Settings.load(environment)
    except SettingsError as fault:
        raise StackFault(
            "settings are missing or malformed: " + "; ".join(fault.faults),
            "set them; the embedded stack fills in for what is not set only where LUCID_ENV is not production",
        ) from None


def base_environment(user: Mapping[str, str], *, home: Home) -> dict[str, str]:
    """Answer what every process gets, those of the embedded parts too: the user's environment and where things are."""
    path = os.pathsep.join((str(Path(sys.executable).parent), user.get("PATH") or os.defpath))
    kept = {name: value for name, value in user.items() if value}
    return kept | {"LUCID_HOME": str(home.folder), "PATH": path, "PYTHONUNBUFFERED": "1"}


def own_settings(keys: Keys) -> dict[str, str]:
    """Answer the settings that depend on no part of the stack."""
    return {
        "LUCID_ENV": "embedded",
        "ANONYMOUS_CALLS": "true",
        "SECRET_KEY": keys.secret_key,
        "RECEIPT_SIGNING_KEY": keys.receipt_signing_key,
        "LOG_SIGNING_KEY": keys.log_signing_key,
        "LOG_ORIGIN": LOG_ORIGIN,
        "BTC_PRICE_FEEDS": "fixed=100000",
        "TREASURY_WALLET": TREASURY_WALLET,
        "FLOWER_USER": FLOWER_USER,
        "FLOWER_PASSWORD": keys.flower_password,
        "METRICS_TOKEN": keys.metrics_token,
    }


def lightning_settings(merchant: Mapping[str, str]) -> dict[str, str]:
    """Answer the settings that name the merchant's sandbox node, with its least-privilege macaroons."""
    return {
        "LND_GRPC": merchant["grpc"],
        "LND_TLS_CERT": merchant["tls_cert"],
        "LND_MACAROON_INVOICES": merchant["macaroon_invoices"],
        "LND_MACAROON_PAYMENTS": merchant["macaroon_payments"],
        "LND_NETWORK": "regtest",
    }


def model_settings(base_url: str, *, name: str) -> dict[str, str]:
    """Answer the settings that name the model, which both evaluates and works."""
    return {"OPENAI_BASE_URL": base_url, "EVAL_MODEL": name, "WORK_MODEL": name}


def completed(user: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, str]:
    """Answer both; what the user set wins, and set to nothing is not set (so `Settings` reads it)."""
    return dict(ours) | {name: value for name, value in user.items() if value}
