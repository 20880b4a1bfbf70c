"""Health: is the process there, does what it stands on answer, can a request be served from end to end."""

from __future__ import annotations

import os
import resource
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

from flask import Flask, current_app

from config.queues import QUEUES
from shared.kernel.clock import Clock
from shared.kernel.errors import LucidError, NotFound
from web.context import container
from web.door import Answers, Operations
from web.gateway import schemas
from web.gateway.probes import DEGRADED, DOWN, HEALTHY, PartDown, Probe, Probes

operations = Operations("Health", __name__, description="Health probes")

SLOW_DATABASE_MS = 500
SLOW_REDIS_MS = 100
SLOW_READING_MS = 1000
_EXTENSION = "lucid.health"
_FIXED = "fixed="

Result = dict[str, Any]


class Vitals:
    """What the health routes hold between requests."""

    def __init__(self, clock: Clock) -> None:
        self.probes = Probes(clock)
        self.started = clock.monotonic()
        self.version = _version()


def register(app: Flask, clock: Clock) -> None:
    """Give `app` its vitals."""
    app.extensions[_EXTENSION] = Vitals(clock)


@operations.get(
    "/health",
    "lucid_check_system_health",
    Answers(schemas.SystemHealthSchema, errors=(), also={503: schemas.SystemHealthSchema}),
)
def check_system() -> tuple[Result, int]:
    """Overall health: database and Redis; 503 where one of them is down, or slow (`degraded`)"""
    return _system(_ask(_database(), _redis()))


@operations.get("/health/live", "lucid_check_liveness", Answers(schemas.LivenessSchema, errors=()))
def check_liveness() -> Result:
    """Tell whether the process answers; asks no other part"""
    return {"status": "ok", "timestamp": _timestamp(), "uptime": _uptime()}


@operations.get(
    "/health/ready",
    "lucid_check_readiness",
    Answers(schemas.ReadinessSchema, errors=(), also={503: schemas.NotReadySchema}),
)
def check_readiness() -> tuple[Result, int]:
    """Tell whether a request can be served from end to end: stores, a consumer for every queue, the log"""
    parts = _ask(_database(), _redis(), _workers(), _log())
    down = [name for name, result in parts.items() if result["status"] == DOWN]
    shown: Result = {"status": "not ready" if down else "ready", "timestamp": _timestamp(), "dependencies": parts}
    if down:
        shown["error"] = f"not available: {', '.join(down)}"
    return shown, 503 if down else 200


@operations.get(
    "/health/database",
    "lucid_check_database_health",
    Answers(schemas.HealthCheckResultSchema, errors=(), also={503: schemas.HealthCheckResultSchema}),
)
def check_database() -> tuple[Result, int]:
    """Ask the database for a sign of life"""
    return _one(_database())


@operations.get(
    "/health/redis",
    "lucid_check_redis_health",
    Answers(schemas.HealthCheckResultSchema, errors=(), also={503: schemas.HealthCheckResultSchema}),
)
def check_redis() -> tuple[Result, int]:
    """Ask Redis for a sign of life"""
    return _one(_redis())


@operations.get(
    "/health/nango",
    "lucid_check_nango_health",
    Answers(schemas.HealthCheckResultSchema, errors=(), also={503: schemas.HealthCheckResultSchema}),
)
def check_nango() -> Result:
    """Say that nango is not configured: nothing here uses it, so nothing depends on it"""
    return _nango()


@operations.get("/health/detailed", "lucid_get_detailed_health", Answers(schemas.DetailedHealthSchema, errors=(500,)))
def check_details() -> Result:
    """The parts, the figures and this process; always 200"""
    shown, _status = _system(_ask(_database(), _redis(), _workers(), _log()))
    shown["environment"] = container().settings.env
    shown["statistics"] = _statistics()
    shown["resources"] = _resources()
    return shown


def running_version() -> str:
    """Return the version of the product that this process runs."""
    return _vitals().version


def _system(parts: dict[str, Result]) -> tuple[Result, int]:
    states = {result["status"] for result in parts.values()}
    status = DOWN if DOWN in states else DEGRADED if DEGRADED in states else HEALTHY
    shown = {
        "status": status,
        "timestamp": _timestamp(),
        "uptime": _uptime(),
        "version": _vitals().version,
        "dependencies": {**parts, "nango": _nango(), **_price_feed()},
    }
    return shown, 200 if status == HEALTHY else 503


def _one(probe: Probe) -> tuple[Result, int]:
    result = _ask(probe)[probe.name]
    return result, 503 if result["status"] == DOWN else 200


def _ask(*probes: Probe) -> dict[str, Result]:
    return _vitals().probes.ask(*probes)


def _database() -> Probe:
    database = container().database
    return Probe("database", database.ping, SLOW_DATABASE_MS)


def _redis() -> Probe:
    bus = container().bus
    return Probe("redis", bus.ping, SLOW_REDIS_MS)


def _workers() -> Probe:
    work = container().work

    def ask() -> Result:
        names = [queue.name for queue in QUEUES]
        silent = work.silent_queues(names)
        if silent:
            raise PartDown(f"nobody consumes: {', '.join(silent)}")
        return {"queues": names}

    return Probe("workers", ask, SLOW_READING_MS)


def _log() -> Probe:
    reading = container().reading

    def ask() -> Result:
        try:
            return {"size": reading.head().size}
        except NotFound:
            return {"size": 0}

    return Probe("log", ask, SLOW_READING_MS)


def _nango() -> Result:
    return {
        "status": HEALTHY,
        "details": {"configured": False, "message": "not configured: no part of this service uses it"},
    }


def _price_feed() -> dict[str, Result]:
    """Say so where the bitcoin price is fixed. A real feed is asked by workers, never from here."""
    feeds = container().settings.btc_price_feeds
    if not feeds.startswith(_FIXED):
        return {}
    details = {"fixed": True, "usd_per_btc": feeds.removeprefix(_FIXED), "message": "a fixed price, not the market's"}
    return {"price_feed": {"status": HEALTHY, "details": details}}


def _statistics() -> Result | None:
    try:
        stats = container().reading.stats()
    except LucidError:
        return None
    return {"receipts": stats.total_receipts, "epochs": stats.total_epochs, "epochs_by_status": stats.by_status}


def _resources() -> Result:
    used = resource.getrusage(resource.RUSAGE_SELF)
    memory = {"peak_rss_bytes": used.ru_maxrss * 1024}
    cpu = {
        "user_s": round(used.ru_utime, 2),
        "system_s": round(used.ru_stime, 2),
        "load_1m": round(os.getloadavg()[0], 2),
    }
    return {"memory": memory, "cpu": cpu}


def _vitals() -> Vitals:
    return cast("Vitals", current_app.extensions[_EXTENSION])


def _timestamp() -> str:
    return container().clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")


def _uptime() -> float:
    return round(container().clock.monotonic() - _vitals().started, 1)


def _version() -> str:
    """The installed package's version, or that of the checkout this runs from."""
    try:
        return version("lucid")
    except PackageNotFoundError:
        pyproject = Path(__file__).resolve().parents[2] / "pyproject.toml"
        return str(tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["version"])
