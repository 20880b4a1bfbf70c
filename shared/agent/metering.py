"""Counts every model call, whatever becomes of it, where web can read it (`shared/agent/gauges.py`).

A call is counted in a short transaction of its own right after it, not in the one that finishes its step: a call that failed,
was cut off or lost its lease has no such transaction, and has cost time and tokens all the same.
"""

from __future__ import annotations

from typing import Any

import structlog

from shared.agent.gauges import count_model_call
from shared.db.service import Database
from shared.kernel.clock import Clock
from shared.kernel.errors import Unavailable
from shared.llm.clients.openai import Upstream
from shared.llm.model import Completion, UpstreamError

log = structlog.get_logger(__name__)

OK = "ok"
ABANDONED = "abandoned"
"""Its caller left: a shutdown, or a lease that was lost."""


class MeteredUpstream(Upstream):
    """An upstream whose calls are counted by model and outcome."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        first_token_s: float,
        deadline_s: float,
        clock: Clock,
        database: Database,
    ) -> None:
        super().__init__(base_url, api_key, first_token_s=first_token_s, deadline_s=deadline_s, clock=clock)
        self._database = database

    def complete(self, *, model: str, **request: Any) -> Completion:
        """Ask as `Upstream.complete` does, and count the call."""
        began = self._clock.monotonic()
        outcome, tokens_in, tokens_out = ABANDONED, 0, 0
        try:
            completion = super().complete(model=model, **request)
            outcome, tokens_in, tokens_out = OK, completion.tokens_in, completion.tokens_out
        except UpstreamError as error:
            outcome, tokens_in, tokens_out = error.code, error.partial.tokens_in, error.partial.tokens_out
            raise
        finally:
            latency_ms = round((self._clock.monotonic() - began) * 1000)
            self._count(model, outcome, tokens_in, tokens_out, latency_ms)
        return completion

    def _count(self, model: str, outcome: str, tokens_in: int, tokens_out: int, latency_ms: int) -> None:
        try:
            with self._database.transaction() as tx:
                count_model_call(
                    tx,
                    model=model,
                    outcome=outcome,
                    tokens_in=tokens_in,
                    tokens_out=tokens_out,
                    latency_ms=latency_ms,
                )
        except Unavailable:  # a figure is lost; the answer, which was paid for, is not
            log.warning("model_call_not_counted", model=model, outcome=outcome)
