"""The gateway beside the LiteLLM proxy: what it adds to a call, how many calls a second, streams; and where our own time goes."""

from __future__ import annotations

from benchmarks.gateway.section import measure

__all__ = ["measure"]
