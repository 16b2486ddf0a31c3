"""The confidence sequence: its capital against exact products, its limits against a search, and its coverage."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from efface import RequestError
from efface.metrics.confidence_sequence import (
    MIN_VALUES,
    SHARES,
    STAKES,
    log_capital,
    mean_interval,
    values_needed,
)

SOME = st.lists(st.floats(0, 1), min_size=1, max_size=30)


def slow_capital(values: list[Fraction], mean: Fraction, above: bool) -> Fraction:
    """The capital that bets have made of 1, stake by stake, exactly."""
    total = Fraction(0)
    for stake, share in zip(STAKES, SHARES, strict=True):
        capital = Fraction(share)
        for v in values:
            gain = (v - mean) / mean if above else (mean - v) / (1 - mean)
            capital *= 1 + Fraction(stake) * gain
        total += capital
    return total


def test_the_capital_is_that_of_exact_products() -> None:
    rng = np.random.default_rng(0)
    for above in (True, False):
        values = [Fraction(int(k), 50) for k in rng.integers(0, 51, 25)]
        mean = Fraction(11, 20)
        found = log_capital([float(v) for v in values], float(mean), above)
        assert found == pytest.approx(math.log(slow_capital(values, mean, above)), rel=1e-9)
    assert sum(SHARES) == 1 and log_capital([], 0.3, True) == pytest.approx(0.0)


def test_the_limits_are_where_a_search_finds_them() -> None:
    rng = np.random.default_rng(1)
    values, needed = rng.beta(5, 4, 60).tolist(), math.log(20)
    found, grid = mean_interval(values, 0.9), np.linspace(0.001, 0.999, 999)
    kept = [
        m for m in grid if log_capital(values, m, above=True) < needed and log_capital(values, m, above=False) < needed
    ]
    assert (found.low, found.high) == pytest.approx((min(kept), max(kept)), abs=0.001)
    assert found.value == pytest.approx(np.mean(values)) and found.level == 0.9


@given(SOME)
def test_the_interval_holds_the_mean_and_is_the_same_in_any_order_and_mirrored(values: list[float]) -> None:
    found = mean_interval(values, 0.9)
    assert 0 <= found.low <= found.value <= found.high <= 1
    back, mirrored = mean_interval(values[::-1], 0.9), mean_interval([1 - v for v in values], 0.9)
    assert (back.low, back.high) == pytest.approx((found.low, found.high), abs=1e-6)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((found.low, found.high), abs=1e-6)
    wider = mean_interval(values, 0.99)
    assert wider.low <= found.low + 1e-6 and found.high <= wider.high + 1e-6


DRAWS = 300
KINDS = {
    "coins": lambda rng, n: rng.integers(0, 2, n).astype(float),
    "uniform": lambda rng, n: rng.random(n),
    "narrow": lambda rng, n: rng.beta(40, 40, n),
    # rarely far off, which no sample shows for long
    "rare": lambda rng, n: np.where(rng.random(n) < 0.1, 0.0, 0.5 / 0.9),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_limit_is_ever_beyond_the_mean_in_at_most_5_percent_of_draws(kind: str) -> None:
    """Looked at 20 times. At a true rate of 5 % more draws than allowed have a chance of 0.1 %, for each limit."""
    rng, needed, beyond = np.random.default_rng(2), math.log(20), [0, 0]
    for _ in range(DRAWS):
        values = KINDS[kind](rng, 100).tolist()
        for k, above in enumerate((True, False)):
            beyond[k] += any(log_capital(values[:n], 0.5, above) >= needed for n in range(5, 101, 5))
    assert max(beyond) <= binom.ppf(0.999, DRAWS, 0.05)


def test_expectations_may_vary_as_long_as_their_average_stays() -> None:
    """They begin low and end high, and are 0.5 or less on average at every look. The chance to fail is 0.1 %."""
    rng, needed = np.random.default_rng(3), math.log(20)
    expected, beyond = np.repeat([0.35, 0.65], 50), 0
    for _ in range(DRAWS):
        values = rng.binomial(4, expected) / 4
        beyond += any(log_capital(values[:n].tolist(), 0.5, above=True) >= needed for n in range(5, 101, 5))
    assert beyond <= binom.ppf(0.999, DRAWS, 0.05)


def test_how_many_values_it_takes_is_what_repeating_them_shows() -> None:
    values = np.random.default_rng(4).normal(0.6, 0.2, 20).clip(0, 1).tolist()
    needed, enough = math.log(20), values_needed(values, 0.5, True, 0.05)
    assert enough is not None
    times = next(k for k in range(1, 100) if log_capital(values * k, 0.5, above=True) >= needed)
    assert (times - 1) * 20 < enough <= times * 20
    assert values_needed(values * times, 0.5, True, 0.05) == 20 * times
    assert values_needed(values, 0.5, False, 0.05) is None, "their mean lies above"
    assert values_needed(values[: MIN_VALUES - 1], 0.5, True, 0.05) is None


def test_without_values_everything_is_possible() -> None:
    found = mean_interval([], 0.9)
    assert math.isnan(found.value) and (found.low, found.high) == (0.0, 1.0)
    least = mean_interval([5e-324], 0.9)
    assert (least.low, least.value) == (0.0, 5e-324) and 0.9 < least.high < 1
    one = mean_interval([1.0], 0.9)
    assert 0 < one.low < 0.05 and one.high == 1.0


@pytest.mark.parametrize(("values", "level"), [([1.5], 0.9), ([-0.1], 0.9), ([math.nan], 0.9), ([0.5], 1.0)])
def test_what_is_no_value_and_no_level_is_refused(values: list[float], level: float) -> None:
    with pytest.raises(RequestError, match="values from 0 to 1"):
        mean_interval(values, level)
