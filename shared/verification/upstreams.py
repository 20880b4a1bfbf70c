"""Which model is asked for whom, and what it is reckoned to cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from shared.access.model import Mode
from shared.kernel.errors import Unavailable
from shared.verification.tools import FaultCode

NO_SIMULATION = "test keys run on the simulated model, and this service has none: SIM_OPENAI_BASE_URL is not set"


@dataclass(frozen=True)
class Prices:
    """What a million tokens cost in USD, which is so many micro-USD a token."""

    input_usd_per_mtok: Decimal
    output_usd_per_mtok: Decimal

    def cost_microusd(self, tokens_in: int, tokens_out: int) -> int:
        """Return what these tokens cost, rounded up."""
        return math.ceil(tokens_in * self.input_usd_per_mtok + tokens_out * self.output_usd_per_mtok)


@dataclass(frozen=True)
class ConfiguredModel:
    """A model that verifications of one mode ask: by which name, and at which of the operator's addresses."""

    name: str
    base_url: str


class Models:
    """Which model is asked for whom. A test key's verifications go to the simulated one."""

    def __init__(self, by_mode: Mapping[Mode, ConfiguredModel]) -> None:
        self._by_mode = dict(by_mode)

    def of(self, mode: Mode) -> ConfiguredModel:
        """Return the model. Raises `Unavailable` (code `upstream_error`) where there is none."""
        model = self._by_mode.get(mode)
        if model is None:
            raise Unavailable(NO_SIMULATION, retry_after_s=3600, code=FaultCode.UPSTREAM_ERROR)
        return model
