"""Distance of models to retrained models over records, its intervals, and a permutation test of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from efface.runtime.printing import Brief
from efface.types import Estimate

NO_SPREAD = 1e-24  # a smaller variance, as a share of the mean square, is rounding alone: logits are float32
MIN_RETRAINED = 4  # retrained models that a distance with an interval needs
TIE = 1e-9  # relative difference of distances that are equal up to rounding, as when two groups are exchanged


def excess_d2(models: Tensor, retrained: Tensor) -> float:
    """Unbiased squared distance between two ensembles' mean statistics, in units of the spread between trainings.

    The mean over records of (mean_models - mean_retrained)^2 - s^2 (1/k + 1/r), over the mean of s^2, the variance
    within a record pooled over both ensembles.

    Args:
        models: A statistic of n records by k models (k, n).
        retrained: The same by r retrained models (r, n), at least two.

    Returns:
        0 in expectation for models trained alike, whatever their number, so at times negative by chance; greater
        further away. NaN where the models of an ensemble do not differ, so that there is no unit.
    """
    k, r = len(models), len(retrained)
    squares = ((retrained - retrained.mean(0)) ** 2).sum(0) + ((models - models.mean(0)) ** 2).sum(0)
    spread = squares / (k + r - 2)
    if float(spread.mean()) <= NO_SPREAD * float(retrained.square().mean()):
        return float("nan")
    gap = (models.mean(0) - retrained.mean(0)) ** 2 - spread * (1 / k + 1 / r)
    return float(gap.mean() / spread.mean())


def standardise_by_nonmembers(values: Tensor, control: Tensor) -> Tensor:
    """Standardise each model's statistic by its own mean and standard deviation over nonmembers.

    Level and scale are common to all records of a model, so they are no trace of any one record.

    Args:
        values: A statistic of n records by k models (k, n).
        control: The same statistic of m nonmembers (k, m).

    Returns:
        (k, n), float64; NaN for a model whose control does not vary.
    """
    # A regression of each model's control on the ensemble's mean is no sharper (the error of its slope is the same to
    # first order), would tie every model to the others, and blows up for a model that gives NaN.
    control = control.double()
    scale = control.std(1, keepdim=True)
    return (values.double() - control.mean(1, keepdim=True)) / scale.where(scale > 0, math.nan)


@dataclass(frozen=True, repr=False)
class ResidualDistance(Brief):
    """How far models are from retrained ones by excess d2, and which share of the original's distance is left.

    All distances are in units of the spread of the retrained models alone.

    Args:
        original: Distance of the original models.
        unlearned: Distance of the unlearned models.
        retrained: Distance of half of the retrained models to the other half: 0 up to chance.
        share: Distance of the unlearned models over that of the originals: 1 where nothing was unlearned, 0 where
            nothing is left, above 1 where the models were moved further away.
    """

    original: Estimate
    unlearned: Estimate
    retrained: Estimate
    share: Estimate

    @property
    def informative(self) -> bool:
        """Whether the original surely differs from retrained models; otherwise `share` means nothing."""
        return self.original.low > 0


def residual_distance(
    original: Tensor, unlearned: Tensor, retrained: Tensor, level: float = 0.95, paired: bool = False
) -> ResidualDistance:
    """Distances of original and unlearned models to retrained ones, with intervals over other trainings of such models.

    The variance is that of a jackknife over models. For one or two models it is that of retrained models put in their
    place, which supposes that both kinds spread alike. Intervals are Student's t, df by Welch and Satterthwaite.

    Args:
        original: A statistic of n records by the original models (o, n).
        unlearned: The same by the unlearned models (u, n).
        retrained: The same by the retrained models (r, n), at least MIN_RETRAINED.
        level: Coverage of the intervals, in (0, 1).
        paired: Whether unlearned model i was made from original i.

    Returns:
        The distances; NaN where the retrained models do not differ.

    Raises:
        ValueError: There are fewer than MIN_RETRAINED retrained models.
    """
    # No bootstrap: a model drawn twice has no spread to its double, so what makes the distance unbiased would be lost.
    o, u, r = len(original), len(unlearned), len(retrained)
    if r < MIN_RETRAINED:
        raise ValueError(f"a distance with an interval needs {MIN_RETRAINED} retrained models, not {r}")
    gram = _gram(torch.cat([original, unlearned, retrained]))
    first, second, third = list(range(o)), list(range(o, o + u)), list(range(o + u, o + u + r))
    unit = float(_unit(gram, third))
    if not unit > NO_SPREAD * float(retrained.double().square().mean()):
        nothing = Estimate(math.nan, math.nan, math.nan, level)
        return ResidualDistance(nothing, nothing, nothing, nothing)

    def both(a: list[int], b: list[int], c: list[int]) -> Tensor:
        own = _unit(gram, c)
        gaps = torch.stack([_gap(gram, a, c), _gap(gram, b, c)])
        return torch.cat([gaps / own, gaps[1:] / gaps[:1]])

    value = both(first, second, third)
    far, share = float(value[0]) or math.nan, float(value[2])
    parts = [_jackknife([both(first, second, _leave_out(third, i)) for i in range(r)])]
    if paired and o == u > 2:
        parts.append(_jackknife([both(_leave_out(first, i), _leave_out(second, i), third) for i in range(o)]))
    else:
        if o > 2:
            parts.append(_jackknife([both(_leave_out(first, i), second, third) for i in range(o)]))
        else:
            parts.append(_swapped(gram, first, third, [1 / unit, 0, share / (unit * far)]))
        if u > 2:
            parts.append(_jackknife([both(first, _leave_out(second, i), third) for i in range(u)]))
        else:
            parts.append(_swapped(gram, second, third, [0, 1 / unit, 1 / (unit * far)]))
    chance = [_chance(gram, side, third) / unit**2 for side in (first, second)]
    chance.append(chance[1] / far**2)
    before, after, ratio = (
        _estimate(float(value[i]), [(variances[i], df) for variances, df in parts], chance[i], level) for i in range(3)
    )
    halves = retrained[::2].double(), retrained[1::2].double()
    null = 2 * float(_tr2(gram, third)) * (sum(1 / len(h) for h in halves) / unit) ** 2
    same = _estimate(excess_d2(*halves), [(2 * null, r - 1)], null, level)
    return ResidualDistance(before, after, same, ratio)


def chance_error(retrained: Tensor, unlearned: int) -> float:
    """Standard error of the excess d2 of models that are trained as the retrained ones are, for normal noise.

    Args:
        retrained: A statistic of n records by r models (r, n), at least MIN_RETRAINED.
        unlearned: The number of models whose distance is asked for.

    Returns:
        The error, in units of the spread of the retrained models, as excess d2 itself.
    """
    gram, rows = _gram(retrained), list(range(len(retrained)))
    noise = math.sqrt(float(2 * _tr2(gram, rows))) * (1 / unlearned + 1 / len(rows))
    return noise / float(_unit(gram, rows))


def permutation(
    cells: Mapping[str, tuple[Tensor, Tensor]], seed: int, max_assignments: int = 1999
) -> dict[str, tuple[float, float]]:
    """Permutation test, by excess d2, that unlearned models are exchangeable with retrained ones.

    The labels of the models are permuted for all cells at once, and p is adjusted for the number of cells by the
    largest standardised distance over them (Westfall and Young 1993, single step).

    Args:
        cells: For each statistic its values by the unlearned models (u, n) and by the retrained ones (r, n). The
            models are the same in every cell, at least three in all, the unlearned ones made from different originals.
        seed: Seed of the drawn assignments.
        max_assignments: All assignments are made where there are at most so many, otherwise so many are drawn beside
            the observed one.

    Returns:
        For each cell p and adjusted p, one-sided: small where unlearned models lie further from retrained ones than
        such models do from each other. NaN for a cell whose distances are all alike.
    """
    u, r = next((len(a), len(b)) for a, b in cells.values())
    labels = _assignments(u, r, seed, max_assignments)
    found = {key: _permuted(torch.cat(pair), labels) for key, pair in cells.items()}
    scaled = {key: (v - v.mean()) / v.std() for key, v in found.items() if bool(v.std() > TIE * v.abs().mean())}
    if not scaled:
        return {key: (math.nan, math.nan) for key in cells}
    largest = torch.stack(list(scaled.values())).amax(0)
    return {
        key: (_share_above(scaled[key], scaled[key]), _share_above(largest, scaled[key]))
        if key in scaled
        else (math.nan, math.nan)
        for key in cells
    }


def _share_above(values: Tensor, own: Tensor) -> float:
    """Share of `values` at least as large as the observed one of `own`, which comes first."""
    return float((values >= own[0] - TIE * (1 + own[0].abs())).double().mean())


def _assignments(u: int, r: int, seed: int, max_assignments: int) -> Tensor:
    """Which models are called unlearned, (assignments, u + r), the observed one first."""
    if math.comb(u + r, u) <= max_assignments:
        at = torch.tensor(list(combinations(range(u + r), u)))
    else:
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.rand(max_assignments, u + r, generator=generator).argsort(1)[:, :u]
        at = torch.cat([torch.arange(u)[None], drawn])
    return torch.zeros(len(at), u + r, dtype=torch.float64).scatter_(1, at, 1.0)


def _permuted(values: Tensor, labels: Tensor) -> Tensor:
    """Excess d2 under each assignment of labels."""
    gram = _gram(values)
    u, k = float(labels[0].sum()), len(values)
    weights = labels / u - (1 - labels) / (k - u)
    between = ((weights @ gram) * weights).sum(1)
    within = (gram.trace() - between * u * (k - u) / k).clamp_min(0) / (k - 2)
    if float(within.min()) <= NO_SPREAD * float(values.double().square().mean()):
        return torch.zeros(len(labels), dtype=torch.float64)
    return between / within - (1 / u + 1 / (k - u))


def _gram(values: Tensor) -> Tensor:
    """Inner products of models, averaged over records, each record centred: all that the distances depend on."""
    centred = values.double() - values.double().mean(0)
    return centred @ centred.T / centred.shape[1]


def _leave_out(rows: list[int], i: int) -> list[int]:
    return rows[:i] + rows[i + 1 :]


def _cross(gram: Tensor, rows: list[int]) -> Tensor:
    """Squared mean of an ensemble without the noise of its trainings: the mean product of two different models."""
    block = gram[rows][:, rows]
    return (block.sum() - block.trace()) / (len(rows) * (len(rows) - 1))


def _unit(gram: Tensor, rows: list[int]) -> Tensor:
    """Variance between trainings, mean over records."""
    return gram.diagonal()[rows].mean() - _cross(gram, rows)


def _gap(gram: Tensor, rows: list[int], retrained: list[int]) -> Tensor:
    """Unbiased mean squared distance between two ensembles, whose spreads may differ."""
    # the spread of one model is not known: it is taken to be that of the retrained ones
    own = _cross(gram, rows) if len(rows) > 1 else gram[rows[0], rows[0]] - _unit(gram, retrained)
    return own + _cross(gram, retrained) - 2 * gram[rows][:, retrained].mean()


def _jackknife(replicates: list[Tensor]) -> tuple[list[float], int]:
    """Variance of each number by leaving out one model at a time, and its df."""
    rows, k = torch.stack(replicates), len(replicates)
    return ((k - 1) / k * (rows - rows.mean(0)).square().sum(0)).tolist(), k - 1


def _swapped(gram: Tensor, rows: list[int], retrained: list[int], slopes: list[float]) -> tuple[list[float], int]:
    """The same for one or two models, whose spread is not known: by each retrained model's deviation in their place.

    `slopes` say how each number follows the gap.
    """
    shifts = 2 * (gram[rows][:, retrained].mean(0) - gram[retrained][:, retrained].mean(0))
    variance = float(shifts.var()) / len(rows)
    return [variance * slope**2 for slope in slopes], len(retrained) - 1


def _chance(gram: Tensor, rows: list[int], retrained: list[int]) -> float:
    """Variance of a gap whose true value is 0: products of the noise of two trainings, in every pair of models."""
    noise = _tr2(gram, retrained)
    own = _tr2(gram, rows) if len(rows) >= MIN_RETRAINED else noise
    return float(2 * (own.sqrt() / len(rows) + noise.sqrt() / len(retrained)) ** 2)


def _tr2(gram: Tensor, rows: list[int]) -> Tensor:
    """Mean squared product of the noise of two trainings (trace of the squared covariance of records); normal noise."""
    k = len(rows)
    centre = torch.eye(k, dtype=gram.dtype) - 1 / k
    within, q = centre @ gram[rows][:, rows] @ centre, k - 1
    return ((within.square().sum() - within.trace() ** 2 / q) / (q * q + q - 2)).clamp_min(0)


def _estimate(value: float, parts: list[tuple[float, float]], chance: float, level: float) -> Estimate:
    from scipy.stats import t

    # each pair of models counts twice in a jackknife, once for either model, so `chance` is once too much
    variance = sum(v for v, _ in parts)
    df = variance**2 / sum(v * v / f for v, f in parts) if variance > 0 else math.inf
    half = float(t.ppf((1 + level) / 2, df)) * math.sqrt(max(variance - chance, chance))
    return Estimate(value, value - half, value + half, level)
