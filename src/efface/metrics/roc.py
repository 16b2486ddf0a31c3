"""The curve of an attack over all thresholds, and its power where false alarms are few."""

from dataclasses import dataclass

import torch
from torch import Tensor

from efface.types import Estimate

MIN_NEGATIVES = 2000  # below so many, 1 % of false positives is a score or two of records and its threshold a guess


@dataclass(frozen=True)
class Curve:
    """False and true positive rates (each from 0 to 1, rising) as the threshold falls over all scores."""

    fpr: Tensor
    tpr: Tensor


def roc(members: Tensor, nonmembers: Tensor) -> Curve:
    """The curve of a membership score.

    Args:
        members: Scores (n,) of members, higher = member.
        nonmembers: Scores (m,) of nonmembers.

    Returns:
        Points from (0, 0) to (1, 1), one for each distinct score; equal scores are passed in one step.
    """
    from sklearn.metrics import roc_curve

    scores = torch.cat([members, nonmembers]).double().numpy()
    is_member = torch.cat([torch.ones(len(members)), torch.zeros(len(nonmembers))]).numpy()
    fpr, tpr, _ = roc_curve(is_member, scores, drop_intermediate=False)
    return Curve(torch.from_numpy(fpr), torch.from_numpy(tpr))


def tpr_at(members: Tensor, nonmembers: Tensor, fpr: float, level: float) -> Estimate:
    """Share of members above the threshold that at most `fpr` of nonmembers pass.

    The threshold is the lowest that keeps to `fpr`; ties count against the attack.

    Args:
        members: Scores (n,) of members, higher = member.
        nonmembers: Scores (m,) of nonmembers.
        fpr: Allowed share of false positives, in [0, 1).
        level: Coverage of the interval, in (0, 1).

    Returns:
        The share, in [0, 1], with Clopper and Pearson's interval (1934).
    """
    from scipy.stats import binomtest

    allowed = int(fpr * len(nonmembers))
    threshold = nonmembers.double().sort(descending=True).values[allowed]
    found, n = int((members.double() > threshold).sum()), len(members)
    interval = binomtest(found, n).proportion_ci(level, method="exact")
    return Estimate(found / n, float(interval.low), float(interval.high), level)
