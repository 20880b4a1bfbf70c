"""The peer's workers: a Celery application that keeps nothing, with the product's own Celery settings and broker.

`bare.*` links do nothing at all. `effect.*` links do what our steps do outside, through the same clients, and keep nothing:
an invoice at the node, a judgement and an answer of the model. A link with a `reply_to` says on that Redis list when it ran.
"""

from __future__ import annotations

import os
import secrets
import threading

import redis
from celery import Celery

from config.celery import CELERY
from config.settings import Settings
from shared.agent import prompts
from shared.events.client import connect
from shared.kernel.clock import SystemClock
from shared.lightning.clients.lnd import LndClient
from shared.llm.clients.openai import Upstream
from shared.llm.service import ask

REQUEST = "Say something short."
_clock = SystemClock()

app = Celery("bare")
app.conf.update({**CELERY, "imports": ()}, broker_url=os.environ.get("REDIS_URL", ""))


class _Parts:
    """What a worker talks to, built at its first task."""

    def __init__(self) -> None:
        self.settings = settings = Settings.load(os.environ)
        self.redis: redis.Redis = connect(settings.redis_events_url)
        self.node = LndClient(settings.lnd_grpc, settings.lnd_tls_cert, settings.lnd_macaroon_invoices)
        self.model = Upstream(
            settings.openai_base_url,
            settings.openai_api_key,
            first_token_s=settings.llm_first_token_s,
            deadline_s=settings.llm_deadline_s,
            clock=_clock,
        )


class _Process:
    """What belongs to this process alone."""

    guard = threading.Lock()
    parts: _Parts | None = None


def _parts() -> _Parts:
    with _Process.guard:
        if _Process.parts is None:
            _Process.parts = _Parts()
        return _Process.parts


def _say(reply_to: str, text: str = "") -> None:
    began = _clock.now().timestamp()
    _parts().redis.rpush(reply_to, f"{began} {text}")


@app.task(name="bare.link")
def link(_number: int) -> None:
    """Do nothing."""


@app.task(name="bare.last")
def last(_number: int, reply_to: str) -> None:
    """Say that the chain has come to its end."""
    _say(reply_to)


@app.task(name="effect.invoice")
def invoice(_number: int, reply_to: str) -> None:
    """Make an invoice at the node and say how to pay it."""
    node = _parts().node
    _say(reply_to, node.add_invoice(preimage=secrets.token_bytes(32), amount_msat=10_000, memo="bare", expiry_s=900))


@app.task(name="effect.judge")
def judge(_number: int) -> None:
    """Have the model judge."""
    ask(
        _parts().model,
        model=_parts().settings.eval_model,
        messages=prompts.evaluation(REQUEST),
        schema=prompts.EVALUATION_SCHEMA,
        schema_name="evaluation",
        max_tokens=prompts.EVALUATION_MAX_TOKENS,
        on_token=lambda _text: None,
    )


@app.task(name="effect.answer")
def answer(_number: int) -> None:
    """Have the model answer."""
    settings = _parts().settings
    _parts().model.complete(
        model=settings.work_model,
        messages=prompts.execution(REQUEST),
        max_tokens=settings.max_output_tokens,
        on_token=lambda _text: None,
    )
