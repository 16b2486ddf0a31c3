"""The ROC curve of a membership score, and its true positive rate at few false positives."""

from dataclasses import dataclass

import torch
from torch import Tensor

from efface.numerics.clusters import effective_count, repeats
from efface.types import Estimate

MIN_NEGATIVES = 2000  # with fewer, 1 % of false positives are under 20 records, too few to set a threshold by


@dataclass(frozen=True)
class Curve:
    """The points of an ROC curve, in the order of falling thresholds.

    Args:
        fpr: False positive rates, (points,), rising from 0 to 1.
        tpr: True positive rates, (points,), rising from 0 to 1.
    """

    fpr: Tensor
    tpr: Tensor


def roc(members: Tensor, nonmembers: Tensor) -> Curve:
    """Compute the ROC curve of a membership score.

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


def tpr_at(members: Tensor, nonmembers: Tensor, fpr: float, level: float, clusters: Tensor | None = None) -> Estimate:
    """True positive rate at a threshold with a false positive rate of at most `fpr`.

    The threshold is the lowest with that rate; ties count against the attack.

    Args:
        members: Scores (n,) of members, higher = member.
        nonmembers: Scores (m,) of nonmembers.
        fpr: Allowed share of false positives, in [0, 1).
        level: Coverage of the interval, in (0, 1).
        clusters: The number of each member's group, (n,); None if each is a group of its own.

    Returns:
        The share, in [0, 1], with Clopper and Pearson's interval (1934); for groups of several members it is that of as
        many independent members as say as much (Korn and Graubard 1998).
    """
    from scipy.stats import beta, binomtest

    allowed = int(fpr * len(nonmembers))
    threshold = nonmembers.double().sort(descending=True).values[allowed]
    above = (members.double() > threshold).double()
    found, n = int(above.sum()), len(members)
    if repeats(clusters):
        share, count, tail = found / n, effective_count(above, clusters, level), (1 - level) / 2
        low = float(beta.ppf(tail, share * count, (1 - share) * count + 1)) if found else 0.0
        high = float(beta.ppf(1 - tail, share * count + 1, (1 - share) * count)) if found < n else 1.0
        return Estimate(share, low, high, level)
    interval = binomtest(found, n).proportion_ci(level, method="exact")
    return Estimate(found / n, float(interval.low), float(interval.high), level)
