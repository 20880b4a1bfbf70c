"""What a request would cost, told before anything is made: the arithmetic of the invoices, with a price that nothing locks."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from shared.agent.admission import require_admissible
from shared.agent.model import Estimate
from shared.agent.pricing import Rates, estimate, evaluation_most, request_most
from shared.kernel.clock import Clock
from shared.kernel.money import whole_sats
from shared.lightning.clients.price import PriceFeeds


@dataclass(frozen=True)
class Forecast:
    """What a request costs at most: as a job (`eval_sats` and the work's estimate), and on a session's balance. Sats are whole.

    `price_age_s`: since when (seconds) the feeds have said what `work.btc_price_usd` is.
    """

    eval_sats: int
    work: Estimate
    session_eval_sats: int
    session_sats: int
    price_source: str
    price_age_s: int

    @property
    def work_sats(self) -> int:
        """What the work invoice would ask for."""
        return whole_sats(self.work.amount_msat)

    @property
    def btc_price_usd(self) -> Decimal:
        """The price that all of it is told at."""
        return self.work.btc_price_usd


class Estimates:
    """Tells costs. Reads nothing but the price, and changes nothing."""

    def __init__(
        self, *, prices: PriceFeeds, rates: Rates, eval_fee_sats: int, max_request_chars: int, clock: Clock
    ) -> None:
        self._prices = prices
        self._rates = rates
        self._eval_fee_sats = eval_fee_sats
        self._max_request_chars = max_request_chars
        self._clock = clock

    def of(self, request: str) -> Forecast:
        """Return what `request` costs at most. Raises `InvalidInput` as creating a job does, `NoTrustworthyPrice`."""
        require_admissible(request, max_chars=self._max_request_chars)
        price = self._prices.quote()
        chars = len(request)
        return Forecast(
            eval_sats=self._eval_fee_sats,
            work=estimate(self._rates, request_chars=chars, btc_price_usd=price.usd),
            session_eval_sats=whole_sats(evaluation_most(self._rates, request_chars=chars, btc_price_usd=price.usd)),
            session_sats=whole_sats(request_most(self._rates, request_chars=chars, btc_price_usd=price.usd)),
            price_source=price.source,
            price_age_s=max(0, int((self._clock.now() - price.at).total_seconds())),
        )
