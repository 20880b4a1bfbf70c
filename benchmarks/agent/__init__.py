"""The paid agent's sessions and refunds: what a request costs beside the model, fifty holders at once, how soon a refund is paid."""

from __future__ import annotations

from benchmarks.agent.section import measure

__all__ = ["measure"]
