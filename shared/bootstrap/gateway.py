"""Door one: API keys, the catalogue, inference runs."""

from __future__ import annotations

from shared.bootstrap.agent import AgentParts


class GatewayParts(AgentParts):
    """Door one: API keys, the catalogue, inference runs."""
