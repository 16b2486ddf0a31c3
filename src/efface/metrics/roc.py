"""The curve of an attack over all thresholds, and its power where false alarms are few."""

from dataclasses import dataclass

import torch
from scipy.stats import beta
from torch import Tensor

from efface.types import Estimate

MIN_NEGATIVES = 2000  # below so many, 1 % of false positives is a score or two of records and its threshold a guess


@dataclass(frozen=True)
class Curve:
    """False and true positive rates (each from 0 to 1, rising) as the threshold falls over all scores."""

    fpr: Tensor
    tpr: Tensor


def roc(members: Tensor, nonmembers: Tensor) -> Curve:
    """The curve of a score that is higher for members; equal scores are passed in one step."""
    thresholds = torch.cat([members, nonmembers]).double().unique().flip(0)
    return Curve(*(_passed(group, thresholds) for group in (nonmembers, members)))


def _passed(values: Tensor, thresholds: Tensor) -> Tensor:
    ordered = values.double().sort().values
    passed = len(values) - torch.searchsorted(ordered, thresholds)
    return torch.cat([torch.zeros(1, dtype=torch.float64), passed.double() / len(values)])


def tpr_at(members: Tensor, nonmembers: Tensor, fpr: float, level: float) -> Estimate:
    """Share of members above the threshold that at most `fpr` of nonmembers pass, with Clopper and Pearson's interval.

    The threshold is the lowest that keeps to `fpr`; ties count against the attack.
    """
    allowed = int(fpr * len(nonmembers))
    threshold = nonmembers.double().sort(descending=True).values[allowed]
    caught, n = int((members.double() > threshold).sum()), len(members)
    tail = (1 - level) / 2
    low = float(beta.ppf(tail, caught, n - caught + 1)) if caught else 0.0
    high = float(beta.ppf(1 - tail, caught + 1, n - caught)) if caught < n else 1.0
    return Estimate(caught / n, low, high, level)
