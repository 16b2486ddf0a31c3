"""Excess distance to retrained models: its value, its intervals over models and its p value."""

import itertools
import math
import time

import numpy as np
import pytest
import torch
from scipy.stats import binom, t
from torch import Tensor

from efface.metrics.distance import excess_d2, permutation, residual_distance, standardise_by_nonmembers
from helpers.draws import normal

RECORDS = 150  # of an interval's simulation
MANY_RECORDS, DISTANCES = 300, 200


def slow_d2(unlearned: list[list[float]], retrained: list[list[float]]) -> float:
    """The formula of the docstring, record by record."""
    k, r, gaps, spreads = len(unlearned), len(retrained), [], []
    for i in range(len(unlearned[0])):
        a, b = [m[i] for m in unlearned], [m[i] for m in retrained]
        mean_a, mean_b = sum(a) / k, sum(b) / r
        spread = (sum((v - mean_a) ** 2 for v in a) + sum((v - mean_b) ** 2 for v in b)) / (k - 1 + r - 1)
        gaps.append((mean_a - mean_b) ** 2 - spread * (1 / k + 1 / r))
        spreads.append(spread)
    return sum(gaps) / sum(spreads)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_the_distance_is_that_of_a_slow_loop(k: int) -> None:
    unlearned, retrained = 0.3 + normal(k, 40), 2 * normal(3, 40, seed=1)
    assert excess_d2(unlearned, retrained) == pytest.approx(slow_d2(unlearned.tolist(), retrained.tolist()))


def distances_of(k: int, r: int, shift: float) -> list[float]:
    """Distances of ensembles of normal statistics with a mean and a spread of their own for each record."""
    found = []
    for trial in range(DISTANCES):
        mean, spread = 3 * normal(MANY_RECORDS, seed=3 * trial), 1.5
        unlearned = mean + spread * (shift + normal(k, MANY_RECORDS, seed=3 * trial + 1))
        found.append(excess_d2(unlearned, mean + spread * normal(r, MANY_RECORDS, seed=3 * trial + 2)))
    return found


@pytest.mark.parametrize(("k", "r"), [(4, 8), (1, 8), (1, 2)])
@pytest.mark.parametrize("shift", [0.0, 0.5, 2.0])
def test_the_distance_is_the_squared_shift_on_average(k: int, r: int, shift: float) -> None:
    """4 standard errors of the mean over trials: a false alarm has a chance of 0.006 %.

    The spread is itself an estimate, so the ratio has a bias of some 2 / (records x degrees of freedom).
    """
    found = distances_of(k, r, shift)
    error = 4 * float(np.std(found)) / math.sqrt(DISTANCES) + 4 * max(shift**2, 1.0) / (MANY_RECORDS * (k + r - 2))
    assert error < 0.15 * (1 + shift**2)  # so that the next line can fail
    assert float(np.mean(found)) == pytest.approx(shift**2, abs=error)


def test_the_distance_has_no_unit_and_no_order() -> None:
    unlearned, retrained = normal(2, 50), 0.5 + normal(3, 50, seed=1)
    distance = excess_d2(unlearned, retrained)
    assert excess_d2(7 * unlearned, 7 * retrained) == pytest.approx(distance)
    assert excess_d2(unlearned + 9, retrained + 9) == pytest.approx(distance)
    assert excess_d2(unlearned.flip(0), retrained.flip(0)) == pytest.approx(distance)
    assert min(distances_of(1, 2, 0.0)) < 0 < distance  # unbiased, so at times negative


def test_a_models_level_and_scale_are_removed() -> None:
    values, control = normal(3, 20), normal(3, 200, seed=1)
    standardised = standardise_by_nonmembers(values, control)
    for i in range(3):
        seen = control[i].numpy()
        expected = (values[i].numpy() - seen.mean()) / seen.std(ddof=1)
        assert standardised[i].numpy() == pytest.approx(expected)
    level, scale = torch.tensor([[5.0], [-3.0], [0.0]]), torch.tensor([[2.0], [0.1], [7.0]])
    assert torch.allclose(standardise_by_nonmembers(level + scale * values, level + scale * control), standardised)
    assert standardise_by_nonmembers(values, torch.ones(3, 200)).isnan().all()


def test_common_shifts_do_not_widen_the_distance_of_retrained_models() -> None:
    """Models with a level and a scale of their own: without them, held-out ones lie a fifth as far from 0."""
    spreads = []
    for removed in (False, True):
        found = []
        for trial in range(60):
            truth, level, scale = 2 * normal(400, seed=trial), normal(6, 1, seed=1000 + trial), 0.1 * normal(6, 1)
            seen = level + scale.exp() * (truth + 0.5 * normal(6, 400, seed=2000 + trial))
            values = standardise_by_nonmembers(seen[:, :100], seen[:, 100:]) if removed else seen[:, :100]
            found.append(excess_d2(values[:3], values[3:]))
        spreads.append(float(np.std(found)))
    assert spreads[1] < spreads[0] / 5


def slow_gap(unlearned: np.ndarray, retrained: np.ndarray) -> tuple[float, float]:
    """Mean squared distance of means less its noise, each ensemble with a variance of its own, and the unit."""
    gaps, units = [], []
    for a, b in zip(unlearned.T, retrained.T, strict=True):
        unit = b.var(ddof=1)
        own = a.var(ddof=1) if len(a) > 1 else unit
        gaps.append((a.mean() - b.mean()) ** 2 - own / len(a) - unit / len(b))
        units.append(unit)
    return float(np.mean(gaps)), float(np.mean(units))


def slow_numbers(o: np.ndarray, u: np.ndarray, r: np.ndarray) -> list[float]:
    (first, unit), (second, _) = slow_gap(o, r), slow_gap(u, r)
    return [first / unit, second / unit, second / first]


def slow_noise(rows: np.ndarray) -> float:
    """Trace of the squared covariance over records, in the mean: unbiased for normal noise."""
    off = rows - rows.mean(0)
    products, q = off @ off.T / rows.shape[1], len(rows) - 1
    return max(0.0, ((products**2).sum() - products.trace() ** 2 / q) / (q * q + q - 2))


def slow_intervals(o: np.ndarray, u: np.ndarray, r: np.ndarray, paired: bool) -> list[tuple[float, float]]:
    """Values and half widths of original, unlearned and share, for three models or more on every side."""
    value, unit = slow_numbers(o, u, r), slow_gap(o, r)[1]

    def left_out(rows: np.ndarray, i: int) -> np.ndarray:
        return np.delete(rows, i, 0)

    groups = [[slow_numbers(o, u, left_out(r, i)) for i in range(len(r))]]
    if paired:
        groups.append([slow_numbers(left_out(o, i), left_out(u, i), r) for i in range(len(o))])
    else:
        groups.append([slow_numbers(left_out(o, i), u, r) for i in range(len(o))])
        groups.append([slow_numbers(o, left_out(u, i), r) for i in range(len(u))])
    chances = []
    for side in (o, u):
        own = slow_noise(side if len(side) >= 4 else r)
        chances.append(2 * (own**0.5 / len(side) + slow_noise(r) ** 0.5 / len(r)) ** 2 / unit**2)
    chances.append(chances[1] / value[0] ** 2)
    found = []
    for j in range(3):
        parts = [(len(g) - 1) ** 2 / len(g) * np.var([x[j] for x in g], ddof=1) for g in groups]
        freedom = sum(parts) ** 2 / sum(p * p / (len(g) - 1) for p, g in zip(parts, groups, strict=True))
        variance = max(sum(parts) - chances[j], chances[j])
        found.append((value[j], float(t.ppf(0.975, freedom)) * variance**0.5))
    return found


@pytest.mark.parametrize(("k", "paired"), [(3, False), (5, False), (5, True)])
def test_residual_distances_are_those_of_slow_loops(k: int, paired: bool) -> None:
    o, u, r = 1 + normal(k, 30), 0.4 + 1.3 * normal(k, 30, seed=1), normal(6, 30, seed=2)
    found = residual_distance(o, u, r, paired=paired)
    expected = slow_intervals(o.numpy(), u.numpy(), r.numpy(), paired)
    for e, (value, half) in zip((found.original, found.unlearned, found.share), expected, strict=True):
        assert (e.value, e.high - e.value, e.value - e.low) == pytest.approx((value, half, half))
    assert found.retrained.value == pytest.approx(excess_d2(r[::2], r[1::2]))
    null = 2 * slow_noise(r.numpy()) * (2 / 3) ** 2 / slow_gap(o.numpy(), r.numpy())[1] ** 2
    assert found.retrained.high - found.retrained.value == pytest.approx(float(t.ppf(0.975, 5)) * null**0.5)


def test_one_model_is_judged_by_the_spread_of_retrained_ones() -> None:
    o, u, r = 1 + normal(1, 40), 0.5 + normal(1, 40, seed=1), normal(8, 40, seed=2)
    found = residual_distance(o, u, r)
    assert found.original.value == pytest.approx(excess_d2(o, r))  # one model: the unit is the same
    assert found.unlearned.value == pytest.approx(excess_d2(u, r))
    # by hand: the deviation of each retrained model, put in the place of the one
    unit, gap = r.var(0).mean(), (o[0] - r.mean(0))
    swapped = (2 * (r - r.mean(0)) * gap).mean(1).var() / unit**2
    rest = torch.stack([torch.cat([r[:i], r[i + 1 :]]) for i in range(8)])
    replicates = torch.tensor([excess_d2(o, rows) for rows in rest]).double()
    jackknife = 7 / 8 * ((replicates - replicates.mean()) ** 2).sum()
    noise = slow_noise(r.numpy())
    chance = 2 * noise * (1 + 1 / 8) ** 2 / unit**2
    freedom = (swapped + jackknife) ** 2 / (swapped**2 / 7 + jackknife**2 / 7)
    half = t.ppf(0.975, float(freedom)) * float(torch.maximum(swapped + jackknife - chance, chance)) ** 0.5
    assert found.original.high - found.original.value == pytest.approx(half, rel=1e-6)


def simulated(
    k: int, share: float, common: float, trials: int = 150, paired: bool = False
) -> tuple[dict[str, float], float]:
    """Share of intervals that hold the truth, and the mean squared width over the variance of what remains."""
    held, widths, values = dict.fromkeys(("original", "unlearned", "retrained", "share"), 0), [], []
    for trial in range(trials):
        seeds = itertools.count(10_000 * k + 10 * trial)

        def noise(models: int, seeds: "itertools.count[int]" = seeds) -> Tensor:
            return normal(models, RECORDS, seed=next(seeds)) + common * normal(models, 1, seed=next(seeds))

        trace = normal(RECORDS, seed=7).abs()
        first = noise(k)
        second = 0.7 * first + 0.51**0.5 * noise(k) if paired else noise(k)
        found = residual_distance(trace + first, share**0.5 * trace + second, noise(max(k, 8)), paired=paired)
        far = float((trace**2).mean()) / (1 + common**2)
        truth = {"original": far, "unlearned": share * far, "retrained": 0.0, "share": share}
        for name in held:
            e = getattr(found, name)
            held[name] += e.low <= truth[name] <= e.high
        widths.append((found.unlearned.high - found.unlearned.low) / 2 / 2.1)
        values.append(found.unlearned.value)
    return {name: n / trials for name, n in held.items()}, float(np.mean(np.square(widths)) / np.var(values))


@pytest.mark.parametrize(
    ("k", "share", "common", "paired"),
    [(8, 0.0, 0.0, False), (8, 0.1, 0.1, False), (8, 0.3, 0.1, True), (8, 1.0, 0.0, False), (1, 0.1, 0.1, False)],
)
def test_the_intervals_cover(k: int, share: float, common: float, paired: bool) -> None:
    """150 samples: an interval that covers 95 % falls below 89 % in 0.1 % of runs."""
    covered, width = simulated(k, share, common, paired=paired)
    assert min(covered.values()) > 0.89, covered
    assert 0.5 < width < 3, "neither too narrow nor empty words"


def test_an_uninformative_original_and_models_that_do_not_differ_are_recognised() -> None:
    r = normal(6, 60, seed=1)
    assert residual_distance(2 + normal(4, 60), normal(4, 60, seed=2), r).informative
    assert not residual_distance(normal(4, 60), normal(4, 60, seed=2), r).informative
    same = r[:1].expand(6, -1)
    for found in (residual_distance(2 + r, r, same), residual_distance(r, r, r * math.nan)):
        numbers = [found.original, found.unlearned, found.retrained, found.share]
        assert all(math.isnan(v) for e in numbers for v in (e.value, e.low, e.high)) and not found.informative
    with pytest.raises(ValueError, match="needs 4 retrained models, not 3"):
        residual_distance(r, r, r[:3])


def slow_permutation(cells: dict[str, tuple[Tensor, Tensor]]) -> dict[str, tuple[float, float]]:
    u, r = (len(rows) for rows in next(iter(cells.values())))
    found: dict[str, list[float]] = {key: [] for key in cells}
    for chosen in itertools.combinations(range(u + r), u):
        others = [i for i in range(u + r) if i not in chosen]
        for key, pair in cells.items():
            rows = torch.cat(pair)
            found[key].append(excess_d2(rows[list(chosen)], rows[others]))
    scaled = {key: (np.array(v) - np.mean(v)) / np.std(v, ddof=1) for key, v in found.items()}
    largest = np.max(list(scaled.values()), axis=0)
    return {key: (np.mean(v >= v[0] - 1e-7), np.mean(largest >= v[0] - 1e-7)) for key, v in scaled.items()}


@pytest.mark.parametrize(("u", "r"), [(1, 6), (3, 3), (3, 5)])
def test_every_permutation_is_that_of_a_slow_loop(u: int, r: int) -> None:
    cells = {
        "near": (0.1 + normal(u, 20), normal(r, 20, seed=1)),
        "far": (1.5 + normal(u, 30, seed=2), normal(r, 30, seed=3)),
    }
    found = permutation(cells, seed=0)
    for key, expected in slow_permutation(cells).items():
        assert found[key] == pytest.approx(expected)
    assert found["far"][0] == pytest.approx((2 if u == r else 1) / math.comb(u + r, u))  # groups of one size: mirrored


def test_drawn_permutations_come_close_to_all_of_them() -> None:
    cells = {
        "one": (0.25 + normal(4, 20), normal(7, 20, seed=1)),
        "two": (normal(4, 20, seed=2), normal(7, 20, seed=3)),
    }
    every, drawn = permutation(cells, seed=0), permutation(cells, seed=0, max_assignments=300)
    assert drawn == permutation(cells, seed=0, max_assignments=300) != permutation(cells, seed=1, max_assignments=300)
    for key in cells:
        assert drawn[key] == pytest.approx(every[key], abs=0.1)
        assert every[key][1] >= every[key][0]
    sure = permutation({"far": (9 + normal(4, 20), normal(7, 20))}, seed=0, max_assignments=99)
    assert sure["far"] == (0.01, 0.01)  # the observed one among a hundred


def test_permutation_keeps_its_level_and_has_power() -> None:
    """400 samples of alike models with a shift common to two cells: rejections at 10 % within a binomial interval."""
    trials, rejected, adjusted, power = 400, 0, 0, 0
    for trial in range(trials):
        shift, one, two = (
            normal(10, 1, seed=trial),
            normal(10, 30, seed=5000 + trial),
            normal(10, 30, seed=9000 + trial),
        )
        cells = {"one": one + 0.3 * shift, "two": two + 0.3 * shift}
        found = permutation({key: (rows[:4], rows[4:]) for key, rows in cells.items()}, seed=trial)
        rejected += found["one"][0] <= 0.1
        adjusted += min(p for _, p in found.values()) <= 0.1
        power += permutation({"far": (0.7 + one[:4], one[4:])}, seed=trial)["far"][0] <= 0.1
    low, high = binom.ppf([0.001, 0.999], trials, 0.1)
    assert low <= rejected <= high and low <= adjusted <= high
    assert power > 0.9 * trials


def test_a_cell_without_a_spread_has_no_p_value() -> None:
    flat = torch.ones(3, 10), torch.ones(4, 10)
    found = permutation({"flat": flat, "far": (3 + normal(3, 10), normal(4, 10, seed=1))}, seed=0)
    assert all(math.isnan(p) for p in found["flat"]) and found["far"][1] < 0.1
    assert all(math.isnan(p) for p in permutation({"flat": flat}, seed=0)["flat"])


def test_64_models_take_seconds_at_most() -> None:
    values, began = normal(96, 2000), time.process_time()
    residual_distance(values[:32], values[32:64], values[64:])
    permutation({str(i): (values[:32], values[32:]) for i in range(4)}, seed=0)
    assert time.process_time() - began < 10  # a fraction of a second, but machines and loads differ
