"""KLoM, empirical epsilons and adjusted p-values against slow loops, closed forms and simulation."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, ks_2samp
from torch import Tensor

from efface.errors import RequestError
from efface.metrics.epsilon import BUFFER, CAP, canary_epsilon, forgetting_quality, unlearning_epsilon
from efface.metrics.klom import BINS, CLIP, FLOOR, klom
from efface.metrics.multiplicity import benjamini_hochberg, holm


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# KLoM


def slow_klom(ours: list[float], theirs: list[float]) -> float:
    """One record, a bin at a time; the greatest of all is in no bin unless others equal it."""
    ours, theirs = ([min(max(v, -CLIP), CLIP) for v in values] for values in (ours, theirs))
    low, high = min(ours + theirs), max(ours + theirs)
    high = high if high > low else low + 1
    tied = (ours + theirs).count(high) > 1
    counts = []
    for values in (ours, theirs):
        inside = [0] * BINS
        for v in values:
            if v < high or tied:
                inside[min(int((v - low) / (high - low) * BINS), BINS - 1)] += 1
        counts.append([c / sum(inside) for c in inside])
    floored = [max(q, FLOOR) if p > 0 else q for p, q in zip(*counts, strict=True)]
    return sum(p * math.log(p / (q / sum(floored))) for p, q in zip(counts[0], floored, strict=True) if p > 0)


@pytest.mark.parametrize(("k", "r", "scale"), [(32, 32, 1.0), (40, 35, 5.0), (32, 32, 90.0)])
def test_klom_is_that_of_a_slow_loop(k: int, r: int, scale: float) -> None:
    ours, theirs = scale * (0.5 + normal(k, 25)), scale * 2 * normal(r, 25, seed=1)
    found = klom(ours, theirs)
    assert found.dtype == torch.float64 and found.shape == (25,)
    expected = [slow_klom(a, b) for a, b in zip(ours.T.tolist(), theirs.T.tolist(), strict=True)]
    assert found.tolist() == pytest.approx(expected, abs=1e-12)
    assert bool((found >= 0).all()) and float(found.max()) <= -math.log(FLOOR) + 1e-3


def test_klom_by_hand() -> None:
    """Unlearned margins half in the first and half in the tenth bin, retrained ones a quarter and three quarters."""
    ours = torch.tensor([0.0] * 16 + [9.5] * 16, dtype=torch.float64)[:, None]
    theirs = torch.tensor([0.0] * 10 + [9.5] * 30 + [20.0], dtype=torch.float64)[:, None]
    # the lone greatest is not counted, so the shares are of 40
    expected = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert float(klom(ours, theirs)) == pytest.approx(expected)
    # and the other way round
    expected = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    assert float(klom(theirs, ours)) == pytest.approx(expected)


def test_klom_where_an_ensemble_has_no_spread() -> None:
    still = torch.full((32, 3), 7.0)
    assert klom(still, still).tolist() == [0.0] * 3
    far = -math.log(FLOOR / (1 + FLOOR))
    assert klom(still + 1, still).tolist() == pytest.approx([far] * 3)
    # all beyond the clip: the published code has them in no bin, and so a distance of 0
    assert klom(torch.full((32, 2), math.inf), normal(32, 2)).tolist() == pytest.approx([far] * 2)


def test_klom_refuses_few_models() -> None:
    for k, r in ((31, 32), (32, 8)):
        with pytest.raises(RequestError, match="at least 32"):
            klom(normal(k, 4), normal(r, 4))


@given(st.integers(0, 10**6), st.floats(0.1, 10), st.floats(-3, 3))
@settings(max_examples=25, deadline=None)
def test_klom_has_no_unit_and_no_order(seed: int, scale: float, shift: float) -> None:
    ours, theirs = 0.5 * normal(32, 4, seed=seed), normal(33, 4, seed=seed + 1)
    found = klom(ours, theirs)
    assert bool((found >= 0).all())
    assert torch.equal(klom(ours.flip(0), theirs.flip(0)), found)
    assert torch.equal(klom(ours[:, [2]], theirs[:, [2]]), found[[2]])
    assert torch.allclose(klom(scale * ours + shift, scale * theirs + shift), found)


# epsilon of the unlearning challenge


def slow_epsilon(ours: list[float], theirs: list[float], delta: float) -> float:
    """Every attack as a set of guesses; epsilons from counts of right and wrong ones."""
    ranges = [max(v) - min(v) for v in (ours, theirs)]
    if max(ranges) == 0:
        return CAP if ours[0] != theirs[0] else 0.0
    if min(ranges) / max(ranges) < 0.01:
        return CAP
    found = [0.0]

    def show(taken_a: list[bool], taken_b: list[bool]) -> None:
        miss, false = 1 - np.mean(taken_a), np.mean(taken_b)
        if miss == false == 0:
            found.append(math.inf)
        elif miss > 0 and false > 0:
            found.extend(math.log((1 - delta - x) / y) for x, y in ((false, miss), (miss, false)) if 1 - delta - x > 0)

    high, low = (theirs, ours) if np.median(theirs) > np.median(ours) else (ours, theirs)
    for threshold in ours + theirs:
        show([v >= threshold for v in high], [v >= threshold for v in low])
    narrow, wide = (ours, theirs) if ranges[0] < ranges[1] else (theirs, ours)
    width, top = min(ranges), max(narrow)
    pooled = sorted(set(ours + theirs))
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
    ours, theirs = unit * (scale * normal(12, 4) + shift), unit * normal(14, 4, seed=1)
    found = unlearning_epsilon(ours, theirs)
    pairs = zip(ours.T.tolist(), theirs.T.tolist(), strict=True)
    assert found.tolist() == pytest.approx([slow_epsilon(a, b, 1e-5) for a, b in pairs])
    assert torch.allclose(unlearning_epsilon(theirs, ours), found)


def test_epsilon_by_hand() -> None:
    """Tens from 0 to 90 against those from 30 to 120; intervals add nothing where they are as wide as either."""
    ours = torch.arange(10, dtype=torch.float64)[:, None] * 10
    theirs = ours + 30
    # a threshold at 90 misses 6 of 10 and errs on 1; one at 40 misses 1 and errs on 6
    expected = math.log((1 - 1e-5 - 0.6) / 0.1)
    assert float(unlearning_epsilon(ours, theirs)) == pytest.approx(expected)
    # delta counts
    assert float(unlearning_epsilon(ours, theirs, delta=0.1)) == pytest.approx(math.log((1 - 0.1 - 0.6) / 0.1))


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
    ours, theirs = (torch.tensor(v, dtype=torch.float64)[:, None] for v in (narrow, wide))
    found = float(unlearning_epsilon(ours, theirs, delta=0.0))
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
    few, many = (float(unlearning_epsilon(normal(n, 20), normal(n, 20, seed=1)).median()) for n in (24, 400))
    assert many < few


def test_forgetting_quality_in_bins_of_a_half() -> None:
    epsilon = torch.tensor([0.0, 0.49, 0.5, 1.2, 6.9, 7.0, CAP], dtype=torch.float64)
    points = [1, 1, 1 / 2, 1 / 4, 2.0**-13, 0, 0]  # ceil(log 511) = 7
    assert forgetting_quality(epsilon, 512) == pytest.approx(np.mean(points))
    assert [forgetting_quality(epsilon[[i]], 512) for i in range(7)] == points
    assert forgetting_quality(epsilon[[4]], 64) == 0  # ceil(log 63) = 5
    with pytest.raises(RequestError, match="three models"):
        forgetting_quality(epsilon, 2)


# epsilon of canaries


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


# adjusted p-values


def slow_holm(p: list[float]) -> list[float]:
    """The smallest level at which Holm's procedure, step by step, rejects each."""
    adjusted = []
    for mine in p:
        # mine is rejected once every one up to it passes its own step
        upto = sorted(q for q in p if q <= mine)
        adjusted.append(min(1.0, max((len(p) - i) * q for i, q in enumerate(upto))))
    return adjusted


def slow_benjamini_hochberg(p: list[float]) -> list[float]:
    ordered = sorted(p)
    return [min(1.0, min(len(p) * q / (i + 1) for i, q in enumerate(ordered) if q >= mine)) for mine in p]


P = st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.01, 0.5, 1.0])), min_size=1, max_size=12)


@given(P)
@settings(max_examples=80, deadline=None)
def test_adjusted_p_values_are_those_of_slow_loops(p: list[float]) -> None:
    values = torch.tensor(p, dtype=torch.float64)
    order = torch.randperm(len(p), generator=torch.Generator().manual_seed(len(p)))
    for adjust, slow in ((holm, slow_holm), (benjamini_hochberg, slow_benjamini_hochberg)):
        found = adjust(values)
        assert found.tolist() == pytest.approx(slow(p), abs=1e-12)
        assert bool((found >= values - 1e-15).all()) and float(found.max()) <= 1
        assert torch.allclose(adjust(values[order]), found[order])
    assert bool((holm(values) >= benjamini_hochberg(values) - 1e-12).all())


def test_adjusted_p_values_by_hand() -> None:
    p = torch.tensor([0.01, 0.04, 0.03, 0.005], dtype=torch.float64)
    assert holm(p).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert benjamini_hochberg(p).tolist() == pytest.approx([0.02, 0.04, 0.04, 0.02])


def test_no_and_wrong_p_values() -> None:
    for adjust in (holm, benjamini_hochberg):
        assert adjust(torch.tensor([])).tolist() == []
        for wrong in ([0.5, 1.1], [-0.1], [float("nan")], [[0.1]]):
            with pytest.raises(RequestError, match="p-values"):
                adjust(torch.tensor(wrong))


def test_holm_keeps_the_chance_of_any_false_alarm() -> None:
    """5 true and 5 false hypotheses, dependent: 4,000 trials, 4 standard errors above 5 %; Bonferroni rejects less."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=(4000, 1))
    z = 0.6 * common + 0.8 * rng.normal(size=(4000, 10)) + np.repeat([0.0, 2.5], 5)
    p = torch.from_numpy(1 - np.vectorize(lambda v: 0.5 * math.erfc(-v / math.sqrt(2)))(z)).clamp(0, 1)
    rejected = torch.stack([holm(row) for row in p]) <= 0.05
    assert float(rejected[:, :5].any(1).double().mean()) <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / 4000)
    assert float(rejected[:, 5:].double().mean()) > float((p[:, 5:] <= 0.005).double().mean())


def test_klom_of_models_that_are_alike_is_above_0_and_falls_with_their_number() -> None:
    """Why it is to be compared with the value between two halves of the retrained models."""
    few, many = (float(klom(normal(n, 50), normal(n, 50, seed=1)).mean()) for n in (32, 512))
    assert 0 < many < few / 2
    halves = klom(normal(32, 50, seed=2), normal(32, 50, seed=3)), klom(normal(32, 50, seed=4), normal(32, 50, seed=5))
    assert ks_2samp(halves[0].numpy(), halves[1].numpy()).pvalue > 0.001
