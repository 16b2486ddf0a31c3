"""A confidence sequence: an interval for the mean of bounded values that may be looked at after each of them.

It is made by betting (Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting", JRSS B
86:1-27): against each mean that is supposed, a gambler stakes a part of a capital on every value. Where the mean is the
true one, no way of betting makes 1 / alpha of a capital of 1, at any time, with a chance above alpha (Ville 1939). So a
mean against which as much was won is excluded. The capital is divided between stakes that never change (a mixture, as
in Orabona and Jun 2024, "Tight concentrations and confidence sequences from the regret of universal portfolio").

Since stakes never change, the order of the values does not matter, and expectations may vary from value to value: where
the average of those so far is the supposed mean, or lies on the side that is bet against, the product of
1 + stake x gain of all values is at most exp(stake x sum of expected gains), so at most 1, in expectation. So such a
mean is excluded no more often.
"""

import math
from collections.abc import Sequence

import numpy as np

from efface.errors import RequestError
from efface.types import Estimate

# Each is a part of the largest stake that cannot lose more than there is. The largest gets half of the capital, since
# it decides after few values; the next ones, which decide after many, a half of what is left each.
STAKES = tuple(0.95 / 2**k for k in range(10))
SHARES = tuple(0.5 ** min(k + 1, len(STAKES) - 1) for k in range(len(STAKES)))
MIN_VALUES = 5  # with fewer, nothing is said of how many more it would take
EDGE = 1e-9  # means nearer to 0 or 1 are not supposed
MAX_VALUES = 10_000  # that `values_needed` counts up to


def log_capital(values: Sequence[float], mean: float, above: bool) -> float:
    """Logarithm of the capital that bets against a mean have made of 1.

    Args:
        values: The values, each from 0 to 1.
        mean: The mean that is supposed, in (0, 1).
        above: Whether the bets are that the true mean lies above `mean`; else that it lies below.

    Returns:
        The natural logarithm, of either sign; 0 without values.
    """
    return _log_sum([math.log(s) + won for s, won in zip(SHARES, _won(values, mean, above), strict=True)])


def mean_interval(values: Sequence[float], level: float) -> Estimate:
    """The mean of the values, with the interval that the confidence sequence has reached.

    Args:
        values: The values, each from 0 to 1, in any order.
        level: One less the chance of each limit twice: at 0.90 each limit, at whatever times it is looked at, is ever
            beyond the true mean with a chance of at most 5 %.

    Returns:
        The mean with its interval, all from 0 to 1; without values the mean is NaN and the interval everything.

    Raises:
        RequestError: A value is not from 0 to 1, or the level not in (0, 1).
    """
    if not 0 < level < 1 or not all(0 <= v <= 1 for v in values):
        raise RequestError("a confidence sequence takes values from 0 to 1 and a level between them")
    if not values:
        return Estimate(math.nan, 0.0, 1.0, level)
    needed, mean = math.log(2 / (1 - level)), math.fsum(values) / len(values)
    low = _limit(values, mean, needed, above=True)
    return Estimate(mean, low, _limit(values, mean, needed, above=False), level)


def values_needed(values: Sequence[float], mean: float, above: bool, alpha: float) -> int | None:
    """About how many values it takes to exclude a mean, if those to come are like those so far.

    Args:
        values: The values so far, each from 0 to 1.
        mean: The mean to exclude, in (0, 1).
        above: Whether it is to be excluded since the true mean lies above it; else since it lies below.
        alpha: The chance of excluding it wrongly, in (0, 1).

    Returns:
        The number of values, with those so far, at least as many as those; None with fewer than MIN_VALUES, or if so
        many values as MAX_VALUES would not exclude it.
    """
    if len(values) < MIN_VALUES:
        return None
    won, needed = _won(values, mean, above), math.log(1 / alpha)

    def excludes(count: int) -> bool:
        """Whether so many values would; the capital is convex in their number, so this changes at most once."""
        rate = count / len(values)
        return _log_sum([math.log(s) + rate * w for s, w in zip(SHARES, won, strict=True)]) >= needed

    if excludes(len(values)):
        return len(values)
    low, high = len(values), MAX_VALUES
    if not excludes(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if excludes(middle) else (middle, high)
    return high


def _won(values: Sequence[float], mean: float, above: bool) -> list[float]:
    """For each stake the logarithm of what a capital of 1 has become by it."""
    given = np.asarray(values, dtype=np.float64)
    gains = (given - mean) / mean if above else (mean - given) / (1 - mean)
    won: list[float] = np.log1p(np.outer(STAKES, gains)).sum(1).tolist()
    return won


def _log_sum(logs: Sequence[float]) -> float:
    """The logarithm of a sum of exponentials."""
    largest = max(logs)
    return largest + math.log(math.fsum(math.exp(x - largest) for x in logs))


def _limit(values: Sequence[float], mean: float, needed: float, above: bool) -> float:
    """The mean nearest to that of the values that is excluded; 0 or 1 if none is."""
    # the further a mean lies from the values, the more is won against it
    outside, inside = (0.0, mean) if above else (1.0, mean)
    if abs(outside - inside) < EDGE:
        return outside
    for _ in range(24):
        middle = (outside + inside) / 2
        if log_capital(values, middle, above) >= needed:
            outside = middle
        else:
            inside = middle
    return outside
