"""Every setting, read once from the environment, frozen. `.env.example` mirrors this page (a test compares them).

A start with three variables missing reports all three: `Settings.load` collects every fault before it raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit


class SettingsError(Exception):
    """The environment is incomplete or malformed. `faults` holds one line a variable."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("settings: " + "; ".join(faults))


@dataclass(frozen=True)
class Settings:
    """What the operator decided. Units stand in the names: `_s` seconds, `_sats`, `_usd`, `_msat`."""

    env: str
    database_url: str
    database_pool_size: int
    redis_url: str
    redis_events_url: str
    secret_key: bytes

    lnd_grpc: str
    lnd_tls_cert: str
    lnd_macaroon_invoices: str
    lnd_macaroon_payments: str
    lnd_network: str

    openai_base_url: str
    openai_api_key: str
    sim_openai_base_url: str
    upstreams: str
    upstream_region: str
    eval_model: str
    work_model: str
    verification_model: str
    sim_model: str
    llm_first_token_s: float
    llm_deadline_s: float

    treasury_wallet: str
    log_origin: str
    receipt_signing_key: bytes
    log_signing_key: bytes
    witness_url: str
    witness_key: str
    epoch_max_receipts: int
    epoch_max_age_s: int

    btc_price_feeds: str
    btc_price_max_age_s: int
    eval_fee_sats: int
    input_usd_per_mtok: Decimal
    output_usd_per_mtok: Decimal
    max_output_tokens: int
    max_request_chars: int
    infra_usd: Decimal
    margin_pct: Decimal
    invoice_expiry_s: int
    max_unpaid_invoices: int
    price_patience_s: int
    payout_wait_s: float
    require_claim_proof: bool
    session_minimum_sats: int
    session_idle_s: int
    l402_deposit_sats: int
    withdraw_days: int
    macaroon_rotation_days: int
    demo_calls_per_hour: int
    demo_calls_per_hour_in_all: int

    lease_s: float
    rescue_after_s: float
    max_attempts: int
    sync_wait_s: float
    invoice_wait_s: float
    admin_key: str
    anonymous_calls: bool
    anonymous_per_minute: int
    key_per_minute: int
    disconnect_grace_s: float
    verification_deadline_s: float
    retention_days: int
    sandbox_cache: Path
    sandbox_runs: int
    signups_per_address_hour: int
    max_code_chars: int
    max_task_chars: int
    max_context_chars: int
    cors_origins: str
    trusted_proxies: int
    flower_user: str
    flower_password: str
    metrics_token: str
    log_level: str

    @property
    def is_production(self) -> bool:
        """True unless the embedded stack set `LUCID_ENV=embedded`."""
        return self.env == "production"

    @classmethod
    def load(cls, environment: Mapping[str, str]) -> Settings:
        """Read `environment`. Raises `SettingsError` with every missing or malformed variable at once."""
        reader = _Reader(environment)
        redis_url = reader.text("REDIS_URL")
        values: dict[str, Any] = {
            "env": reader.one_of("LUCID_ENV", ("production", "embedded"), "production"),
            "database_url": _postgres_scheme(reader.text("DATABASE_URL")),
            "database_pool_size": reader.integer("DATABASE_POOL_SIZE", 8, least=1),
            "redis_url": redis_url,
            "redis_events_url": reader.text("REDIS_EVENTS_URL", _next_redis_db(redis_url)),
            "secret_key": reader.key("SECRET_KEY"),
            "lnd_grpc": reader.text("LND_GRPC"),
            "lnd_tls_cert": reader.pem("LND_TLS_CERT"),
            "lnd_macaroon_invoices": reader.text("LND_MACAROON_INVOICES"),
            "lnd_macaroon_payments": reader.text("LND_MACAROON_PAYMENTS", ""),
            "lnd_network": reader.one_of("LND_NETWORK", ("mainnet", "testnet", "signet", "regtest"), "mainnet"),
            "openai_base_url": reader.text("OPENAI_BASE_URL"),
            "openai_api_key": reader.text("OPENAI_API_KEY", ""),
            "sim_openai_base_url": reader.text("SIM_OPENAI_BASE_URL", ""),
            "upstreams": reader.text("UPSTREAMS", ""),
            "upstream_region": reader.text("UPSTREAM_REGION", "local"),
            "eval_model": reader.text("EVAL_MODEL"),
            "work_model": reader.text("WORK_MODEL"),
            "verification_model": reader.text("VERIFICATION_MODEL", ""),
            "sim_model": reader.text("SIM_MODEL", "sim-small"),
            "llm_first_token_s": reader.number("LLM_FIRST_TOKEN_S", 60.0),
            "llm_deadline_s": reader.number("LLM_DEADLINE_S", 180.0),
            "treasury_wallet": reader.text("TREASURY_WALLET", ""),
            "log_origin": reader.text("LOG_ORIGIN"),
            "receipt_signing_key": reader.key("RECEIPT_SIGNING_KEY"),
            "log_signing_key": reader.key("LOG_SIGNING_KEY"),
            "witness_url": reader.text("WITNESS_URL", ""),
            "witness_key": reader.text("WITNESS_KEY", ""),
            "epoch_max_receipts": reader.integer("EPOCH_MAX_RECEIPTS", 100, least=1),
            "epoch_max_age_s": reader.integer("EPOCH_MAX_AGE_S", 3600, least=1),
            "btc_price_feeds": reader.text(
                "BTC_PRICE_FEEDS",
                "coinbase=https://api.coinbase.com/v2/prices/BTC-USD/spot,"
                "kraken=https://api.kraken.com/0/public/Ticker?pair=XBTUSD,"
                "bitstamp=https://www.bitstamp.net/api/v2/ticker/btcusd/",
            ),
            "btc_price_max_age_s": reader.integer("BTC_PRICE_MAX_AGE_S", 600, least=1),
            "eval_fee_sats": reader.integer("EVAL_FEE_SATS", 10, least=1),
            "input_usd_per_mtok": reader.usd("INPUT_USD_PER_MTOK", "3"),
            "output_usd_per_mtok": reader.usd("OUTPUT_USD_PER_MTOK", "15"),
            "max_output_tokens": reader.integer("MAX_OUTPUT_TOKENS", 1024, least=1),
            "max_request_chars": reader.integer("MAX_REQUEST_CHARS", 8000, least=1),
            "infra_usd": reader.usd("INFRA_USD", "0.005"),
            "margin_pct": reader.usd("MARGIN_PCT", "40"),
            "invoice_expiry_s": reader.integer("INVOICE_EXPIRY_S", 900, least=1),
            "max_unpaid_invoices": reader.integer("MAX_UNPAID_INVOICES", 50, least=1),
            "price_patience_s": reader.integer("PRICE_PATIENCE_S", 600, least=0),
            "payout_wait_s": reader.number("PAYOUT_WAIT_S", 10.0),
            "require_claim_proof": reader.flag("REQUIRE_CLAIM_PROOF", False),
            "session_minimum_sats": reader.integer("SESSION_MINIMUM_SATS", 50, least=1),
            "session_idle_s": reader.integer("SESSION_IDLE_S", 86_400, least=1),
            "l402_deposit_sats": reader.integer("L402_DEPOSIT_SATS", 200, least=100),
            "withdraw_days": reader.integer("WITHDRAW_DAYS", 30, least=1),
            "macaroon_rotation_days": reader.integer("MACAROON_ROTATION_DAYS", 90, least=1),
            "demo_calls_per_hour": reader.integer("DEMO_CALLS_PER_HOUR", 5, least=0),
            "demo_calls_per_hour_in_all": reader.integer("DEMO_CALLS_PER_HOUR_IN_ALL", 500, least=0),
            "lease_s": reader.number("LEASE_S", 30.0),
            "rescue_after_s": reader.number("RESCUE_AFTER_S", 30.0),
            "max_attempts": reader.integer("MAX_ATTEMPTS", 3, least=1),
            "sync_wait_s": reader.number("SYNC_WAIT_S", 300.0),
            "invoice_wait_s": reader.number("INVOICE_WAIT_S", 10.0),
            "admin_key": reader.secret("ADMIN_KEY", least=32),
            "anonymous_calls": reader.flag("ANONYMOUS_CALLS", False),
            "anonymous_per_minute": reader.integer("ANONYMOUS_PER_MINUTE", 60, least=1),
            "key_per_minute": reader.integer("KEY_PER_MINUTE", 600, least=1),
            "disconnect_grace_s": reader.number("DISCONNECT_GRACE_S", 5.0),
            "verification_deadline_s": reader.number("VERIFICATION_DEADLINE_S", 900.0),
            "retention_days": reader.integer("RETENTION_DAYS", 0, least=0),
            "signups_per_address_hour": reader.integer("SIGNUPS_PER_ADDRESS_HOUR", 5, least=0),
            "sandbox_cache": reader.cache("SANDBOX_CACHE", "sandbox"),
            "sandbox_runs": reader.integer("SANDBOX_RUNS", 2, least=1),
            "max_code_chars": reader.integer("MAX_CODE_CHARS", 100_000, least=1),
            "max_task_chars": reader.integer("MAX_TASK_CHARS", 20_000, least=1),
            "max_context_chars": reader.integer("MAX_CONTEXT_CHARS", 20_000, least=1),
            "cors_origins": reader.text("CORS_ORIGINS", "*"),
            "trusted_proxies": reader.integer("TRUSTED_PROXIES", 0, least=0),
            "flower_user": reader.text("FLOWER_USER"),
            "flower_password": reader.text("FLOWER_PASSWORD"),
            "metrics_token": reader.text("METRICS_TOKEN", ""),
            "log_level": reader.one_of("LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), "INFO"),
        }
        if reader.faults:
            raise SettingsError(reader.faults)
        return cls(**values)


class _Reader:
    """Collects faults instead of raising at the first one."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._values = {name: value for name, value in environment.items() if value != ""}
        self.faults: list[str] = []

    def text(self, name: str, default: str | None = None) -> str:
        value = self._values.get(name)
        if value is not None:
            return value
        if default is None:
            self.faults.append(f"{name} is not set")
            return ""
        return default

    def one_of(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        value = self.text(name, default)
        if value not in allowed:
            self.faults.append(f"{name} must be one of {', '.join(allowed)}")
        return value

    def integer(self, name: str, default: int, *, least: int) -> int:
        return int(
            self._parsed(name, default, int, lambda value: value >= least, f"a whole number of at least {least}")
        )

    def number(self, name: str, default: float) -> float:
        return float(self._parsed(name, default, float, lambda value: 0 < value < 1e9, "a number above 0"))

    def flag(self, name: str, default: bool) -> bool:
        return self.one_of(name, ("true", "false"), "true" if default else "false") == "true"

    def usd(self, name: str, default: str) -> Decimal:
        wanted = "a decimal of at least 0"
        parsed = self._parsed(name, Decimal(default), Decimal, lambda value: value.is_finite() and value >= 0, wanted)
        return Decimal(parsed)

    def key(self, name: str) -> bytes:
        value = self.text(name)
        try:
            key = bytes.fromhex(value)
        except ValueError:
            key = b""
        if value and len(key) != 32:
            self.faults.append(f"{name} must be 64 hex digits (32 random bytes)")
        return key

    def secret(self, name: str, *, least: int) -> str:
        """A password that may be missing, but not short: `least` characters."""
        value = self.text(name, "")
        if value and len(value) < least:
            self.faults.append(f"{name} must have at least {least} characters")
        return value

    def cache(self, name: str, folder: str) -> Path:
        """A folder for what can be made again; by default `folder` within this user's caches."""
        base = self._values.get("XDG_CACHE_HOME") or f"{self._values.get('HOME', '~')}/.cache"
        return Path(self.text(name, f"{base}/lucid/{folder}")).expanduser().absolute()

    def pem(self, name: str) -> str:
        """A certificate as PEM text, or the path of a file that holds it."""
        value = self.text(name)
        if not value or "BEGIN CERTIFICATE" in value:
            return value.replace("\\n", "\n")
        try:
            return Path(value).read_text(encoding="ascii")
        except (OSError, ValueError):
            self.faults.append(f"{name} is neither PEM text nor a readable file")
            return ""

    def _parsed(self, name: str, default: Any, parse: Any, accept: Any, wanted: str) -> Any:
        raw = self._values.get(name)
        if raw is None:
            return default
        try:
            value = parse(raw)
            accepted = accept(value)
        except (ValueError, ArithmeticError):
            accepted = False
        if not accepted:
            self.faults.append(f"{name} must be {wanted}")
            return default
        return value


def _postgres_scheme(url: str) -> str:
    """Heroku hands out `postgres://`."""
    return "postgresql://" + url.removeprefix("postgres://") if url.startswith("postgres://") else url


def _next_redis_db(url: str) -> str:
    """Event streams live beside the broker, never in its logical database (`docs/decisions/0003`)."""
    parts = urlsplit(url)
    database = parts.path.strip("/")
    following = int(database) + 1 if database.isdigit() else 1
    return urlunsplit(parts._replace(path=f"/{following}")) if url else ""
