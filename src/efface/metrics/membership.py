"""How well a membership score tells forget records from records that the model never saw."""

import math

import torch
from scipy.stats import norm
from torch import Tensor

from efface.numerics.neighbours import windows
from efface.types import Estimate


def interval(value: float, variance: float, level: float) -> Estimate:
    """A normal interval of coverage `level` around an AUC-like value, cut to [0, 1]."""
    half = float(norm.ppf((1 + level) / 2)) * math.sqrt(max(variance, 0.0))
    return Estimate(value, max(0.0, value - half), min(1.0, value + half), level)


def auc(members: Tensor, strangers: Tensor, level: float = 0.95) -> Estimate:
    """Chance that a member's score exceeds a stranger's, ties counting half, with DeLong's interval.

    Unconditional: 0.5 is the value of perfect forgetting only where the request is a random sample.
    """
    every = torch.zeros(len(members))
    return conditional_auc(members, every, strangers, torch.zeros(len(strangers)), len(strangers), level)[0]


def conditional_auc(
    members: Tensor,
    member_difficulty: Tensor,
    strangers: Tensor,
    stranger_difficulty: Tensor,
    width: int = 50,
    level: float = 0.95,
) -> tuple[Estimate, Tensor]:
    """The same chance among records of equal difficulty, and each member's rank in its window, in [0, 1].

    Each member is compared with the `width` strangers whose difficulty is nearest to its own. The variance is that of
    the two-sample statistic's first-order terms (DeLong 1988, with each stranger weighted by the windows it is in),
    which counts that members share strangers. It is floored at the variance of uniform ranks, 1/12 a record, since a
    handful of records can all have the same rank by chance.
    """
    at = windows(member_difficulty, stranger_difficulty, width)
    values, among = members.double(), strangers.double()[at]
    wins = (among < values[:, None]).double() + 0.5 * (among == values[:, None]).double()
    rank = wins.mean(1)
    value = rank.mean()
    n, k = wins.shape
    own = ((rank - value) ** 2).sum() / max(n - 1, 1)
    shared = torch.zeros(len(strangers), dtype=torch.float64)
    shared.index_add_(0, at.reshape(-1), ((wins - value) / (n * k)).reshape(-1))
    variance = max(float(own), 1 / 12) / n + float((shared**2).sum())
    return interval(float(value), variance, level), rank


def smallest_effect(members: int, strangers: int, level: float) -> float:
    """Half width of an AUC's interval at the null: the smallest shift from 0.5 that so many records can show."""
    variance = (members + strangers + 1) / (12 * members * strangers)
    return float(norm.ppf((1 + level) / 2)) * math.sqrt(variance)
