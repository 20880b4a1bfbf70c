"""The statistics of few samples: a share with its interval, and whether two ways of judging the same programs differ."""

from __future__ import annotations

import math
from dataclasses import dataclass

_Z = 1.959964
"""The normal distribution's 97.5 % quantile."""


@dataclass(frozen=True)
class Share:
    """`hits` of `of`, with Wilson's interval of 95 %. Nothing of nothing has no value and says nothing: 0 to 1."""

    hits: int
    of: int

    @property
    def value(self) -> float | None:
        """Return the share itself."""
        return self.hits / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float]:
        """Return Wilson's score interval (E. B. Wilson, 1927)."""
        if not self.of:
            return 0.0, 1.0
        share, spread = self.hits / self.of, _Z**2 / self.of
        middle = share + spread / 2
        reach = _Z * math.sqrt(share * (1 - share) / self.of + spread / (4 * self.of))
        low, high = (middle - reach) / (1 + spread), (middle + reach) / (1 + spread)
        return 0.0 if self.hits == 0 else low, 1.0 if self.hits == self.of else high


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p of McNemar's test, from the pairs that only the first or only the second got right."""
    pairs, fewer = only_first + only_second, min(only_first, only_second)
    if not pairs:
        return 1.0
    outcomes: int = 2**pairs
    tail = sum(math.comb(pairs, hits) for hits in range(fewer + 1)) / outcomes
    return min(1.0, 2 * tail)
