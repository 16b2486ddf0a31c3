"""Empirical epsilons against slow loops, closed forms and simulation."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from efface.errors import RequestError
from efface.metrics.epsilon import BUFFER, CAP, canary_epsilon, forgetting_quality, unlearning_epsilon
from helpers.draws import normal


def slow_epsilon(unlearned: list[float], retrained: list[float], delta: float) -> float:
    """Every attack as a set of guesses; epsilons from counts of right and wrong ones."""
    ranges = [max(v) - min(v) for v in (unlearned, retrained)]
    if max(ranges) == 0:
        return CAP if unlearned[0] != retrained[0] else 0.0
    if min(ranges) / max(ranges) < 0.01:
        return CAP
    found = [0.0]

    def show(taken_a: list[bool], taken_b: list[bool]) -> None:
        miss, false = 1 - np.mean(taken_a), np.mean(taken_b)
        if miss == false == 0:
            found.append(math.inf)
        elif miss > 0 and false > 0:
            found.extend(math.log((1 - delta - x) / y) for x, y in ((false, miss), (miss, false)) if 1 - delta - x > 0)

    high, low = (retrained, unlearned) if np.median(retrained) > np.median(unlearned) else (unlearned, retrained)
    for threshold in unlearned + retrained:
        show([v >= threshold for v in high], [v >= threshold for v in low])
    narrow, wide = (unlearned, retrained) if ranges[0] < ranges[1] else (retrained, unlearned)
    width, top = min(ranges), max(narrow)
    pooled = sorted(set(unlearned + retrained))
    # ends just beside values, and at the ends of what is allowed
    ends = [v + e for v in pooled for e in (-1e-9, 0, 1e-9)] + [top - BUFFER, top + BUFFER]
    ends += [v + width + e for v in pooled for e in (-BUFFER - 1e-9, -BUFFER + 1e-9, BUFFER - 1e-9)]
    for right in ends:
        if top - BUFFER <= right <= top + BUFFER:
            lefts = [v + e for v in pooled for e in (-1e-9, 0, 1e-9)]
            for left in [*lefts, right - width - BUFFER, right - width + BUFFER]:
                if abs(right - width - left) <= BUFFER + 1e-12 and left <= right:
                    show([left <= v <= right for v in narrow], [left <= v <= right for v in wide])
    return min(max(found), CAP)


@pytest.mark.parametrize(("shift", "scale", "unit"), [(0.0, 1.0, 1.0), (1.0, 1.0, 2.0), (0.2, 0.3, 4.0)])
def test_epsilon_is_that_of_a_slow_loop(shift: float, scale: float, unit: float) -> None:
    unlearned, retrained = unit * (scale * normal(12, 4) + shift), unit * normal(14, 4, seed=1)
    found = unlearning_epsilon(unlearned, retrained)
    pairs = zip(unlearned.T.tolist(), retrained.T.tolist(), strict=True)
    assert found.tolist() == pytest.approx([slow_epsilon(a, b, 1e-5) for a, b in pairs])
    assert torch.allclose(unlearning_epsilon(retrained, unlearned), found)


def test_epsilon_by_hand() -> None:
    """Tens from 0 to 90 against those from 30 to 120; intervals add nothing where they are as wide as either."""
    unlearned = torch.arange(10, dtype=torch.float64)[:, None] * 10
    retrained = unlearned + 30
    # a threshold at 90 misses 6 of 10 and errs on 1; one at 40 misses 1 and errs on 6
    expected = math.log((1 - 1e-5 - 0.6) / 0.1)
    assert float(unlearning_epsilon(unlearned, retrained)) == pytest.approx(expected)
    # delta counts
    assert float(unlearning_epsilon(unlearned, retrained, delta=0.1)) == pytest.approx(math.log((1 - 0.1 - 0.6) / 0.1))


@pytest.mark.parametrize(
    ("narrow", "wide", "expected"),
    [
        # 5 / 1 by an interval from the second narrow value up that reaches the lone wide one, else 4 / 1 by a threshold
        ([0.0, 0.1, 0.2, 0.3, 0.4, 0.5], [-10.0, 0.05, 0.05, 0.05, 2.4, 10.0], 5.0),  # right end within 2 of 0.5
        ([0.0, 0.1, 0.2, 0.3, 0.4, 0.5], [-10.0, 0.05, 0.05, 0.05, 2.55, 10.0], 4.0),
        ([0.0, 0.1, 0.2, 0.3, 0.4, 0.5], [-10.0, -1.9, 0.45, 0.45, 0.45, 10.0], 5.0),  # width within 2 of 0.5
        ([0.0, 0.1, 0.2, 0.3, 0.4, 0.5], [-10.0, -2.2, 0.45, 0.45, 0.45, 10.0], 4.0),
        ([0.0, 0.5, 1.0, 1.5, 2.0, 6.0], [-20.0, -19.0, 0.7, 3.0, 3.5, 20.0], 3.0),  # to 2 is too short: 5 / 1
    ],
)
def test_intervals_are_about_as_wide_as_the_narrower_ensemble(
    narrow: list[float], wide: list[float], expected: float
) -> None:
    unlearned, retrained = (torch.tensor(v, dtype=torch.float64)[:, None] for v in (narrow, wide))
    found = float(unlearning_epsilon(unlearned, retrained, delta=0.0))
    assert found == pytest.approx(slow_epsilon(narrow, wide, 0.0)) == pytest.approx(math.log(expected))


def test_epsilon_at_its_limits() -> None:
    models = normal(40, 3)
    assert unlearning_epsilon(models, models + 100).tolist() == [CAP] * 3
    assert unlearning_epsilon(0.001 * models, models).tolist() == [CAP] * 3  # peaked
    assert unlearning_epsilon(torch.zeros(4, 1), torch.zeros(4, 1)).tolist() == [0.0]
    assert unlearning_epsilon(torch.zeros(4, 1), torch.ones(4, 1)).tolist() == [CAP]
    alike = unlearning_epsilon(models, normal(40, 3, seed=1))
    assert bool((alike > 0).all()) and bool((alike <= math.log(39)).all())
    # two models of a kind show nothing, whatever they are
    apart = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.5], [1.5]])
    assert float(unlearning_epsilon(*apart)) == slow_epsilon([0.0, 1.0], [0.5, 1.5], 1e-5) == 0.0
    with pytest.raises(RequestError, match="at least two"):
        unlearning_epsilon(models[:1], models)


def test_more_models_bring_epsilon_nearer_to_the_truth() -> None:
    """Alike models have epsilon 0; threshold by threshold the excess falls with their number."""
    with_24, with_400 = (float(unlearning_epsilon(normal(n, 20), normal(n, 20, seed=1)).median()) for n in (24, 400))
    assert with_400 < with_24


def test_forgetting_quality_in_bins_of_a_half() -> None:
    epsilon = torch.tensor([0.0, 0.49, 0.5, 1.2, 6.9, 7.0, CAP], dtype=torch.float64)
    points = [1, 1, 1 / 2, 1 / 4, 2.0**-13, 0, 0]  # ceil(log 511) = 7
    assert forgetting_quality(epsilon, 512) == pytest.approx(np.mean(points))
    assert [forgetting_quality(epsilon[[i]], 512) for i in range(7)] == points
    assert forgetting_quality(epsilon[[4]], 64) == 0  # ceil(log 63) = 5
    with pytest.raises(RequestError, match="three models"):
        forgetting_quality(epsilon, 2)


def test_canary_epsilon_in_closed_form() -> None:
    for guesses in (1, 10, 100, 1000):
        low = 0.05 ** (1 / guesses)  # all right: low ^ guesses = 1 - level
        assert canary_epsilon(guesses, guesses) == pytest.approx(max(0.0, math.log(low / (1 - low))))
    assert canary_epsilon(0, 10) == canary_epsilon(5, 10) == canary_epsilon(0, 0) == 0
    with pytest.raises(RequestError, match="no 11 right guesses of 10"):
        canary_epsilon(11, 10)


@given(st.integers(1, 400), st.floats(0, 1), st.sampled_from([0.8, 0.95, 0.99]))
@settings(max_examples=60, deadline=None)
def test_canary_epsilon_is_where_so_many_right_guesses_have_the_chance_of_an_error(
    guesses: int, share: float, level: float
) -> None:
    right = round(share * guesses)
    found = canary_epsilon(right, guesses, level)
    chance = binom.sf(right - 1, guesses, 1 / (1 + math.exp(-found)))
    if found > 0:
        assert chance == pytest.approx(1 - level, rel=1e-6)
    else:
        assert chance >= 1 - level - 1e-9
    assert canary_epsilon(min(right + 1, guesses), guesses, level) >= found
    assert canary_epsilon(right, guesses, (1 + level) / 2) <= found


@pytest.mark.parametrize("epsilon", [0.0, 0.7, 3.0])
@pytest.mark.parametrize("guesses", [20, 200])
def test_the_limit_is_above_the_truth_no_more_often_than_said(epsilon: float, guesses: int) -> None:
    """Randomised response, whose epsilon is exact: 4,000 runs, 4 standard errors above 5 %."""
    rng = np.random.default_rng(0)
    rights = rng.binomial(guesses, 1 / (1 + math.exp(-epsilon)), size=4000)
    limits = {v: canary_epsilon(int(v), guesses) for v in set(rights.tolist())}
    above = np.mean([limits[v] > epsilon for v in rights.tolist()])
    assert above <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / 4000)
