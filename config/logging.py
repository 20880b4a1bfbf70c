"""Structured logs: one JSON object a line, a correlation id on each, secrets and public ids masked."""

from __future__ import annotations

import logging
import re
import secrets
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import structlog

_correlation: ContextVar[str] = ContextVar("correlation_id", default="")

_SECRETS = (
    re.compile(r"\b(job|ses|req|clm|run)_[0-9a-f]{32}\b"),
    re.compile(r"\b(lk_live|lk_test)_[0-9a-f]{8,}\b"),
    re.compile(r"(?i)\b(lnbcrt|lnbc|lntb|lntbs)[0-9]{1,12}[munp]?1[02-9ac-hj-np-z]{20,}"),
    re.compile(r"(?i)(://[^:/@\s]*:)[^@/\s]+(@)"),
    re.compile(r"(?i)\b(bearer|basic|l402|lsat)\s+[a-z0-9+/=_.:-]{8,}"),
)
# each says at INFO what a row, a metric or Flower says better
_NOISY = (
    "celery.worker.strategy",
    "celery.app.trace",
    "celery.beat",
    "httpx",
    "httpx2",
    "httpcore",
    "httpcore2",
    "openai",
    "kombu",
    "amqp",
)
_SECRET_FIELDS = re.compile(r"(?i)(macaroon|password|secret|preimage|authorization|api_key|token|private_key)$")


def correlation_id() -> str:
    """Return the id that ties this work to the request that caused it; empty outside any."""
    return _correlation.get()


def bind_correlation_id(value: str) -> None:
    """Take over a correlation id from a header, an outbox row or a task."""
    _correlation.set(value)


@contextmanager
def correlated(value: str) -> Iterator[None]:
    """Log what happens inside under this correlation id, and under the one of before again afterwards."""
    token = _correlation.set(value)
    try:
        yield
    finally:
        _correlation.reset(token)


def new_correlation_id() -> str:
    """Return a fresh correlation id (64 random bits: it identifies, it opens nothing)."""
    return secrets.token_hex(8)


def configure_logging(*, role: str, level: str) -> None:
    """Send structlog and the standard library to stderr as JSON lines."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_context(role),
        structlog.processors.format_exc_info,
        mask,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                mask,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)


def mask(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace secrets and public ids (they are keys to money) in every text of an event."""
    for name, value in event.items():
        if _SECRET_FIELDS.search(name):
            event[name] = "***"
        elif isinstance(value, str):
            event[name] = masked(value)
    return event


def masked(text: str) -> str:
    """Return `text` without secrets and public ids."""
    for pattern in _SECRETS:
        text = pattern.sub(
            lambda found: "".join((found[1], "***", *found.groups()[1:])) if found.lastindex else "***", text
        )
    return text


def _with_context(role: str) -> Any:
    def add(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["role"] = role
        if cid := correlation_id():
            event["cid"] = cid
        return event

    return add
