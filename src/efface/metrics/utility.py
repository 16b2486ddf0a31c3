"""Accuracy and loss with intervals."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from efface.kinds import CLASSES, Kind
from efface.metrics.membership import interval
from efface.numerics.clusters import ClusteredMean, effective_count, repeats
from efface.types import Estimate


def mean_over_records(
    values: Tensor,
    level: float,
    lowest: float = 0.0,
    highest: float = float("inf"),
    clusters: Tensor | None = None,
) -> Estimate:
    """Mean of a statistic over records, with a normal interval, or Student's t over groups of several records.

    Args:
        values: The statistic (n,).
        level: Coverage of the interval, in (0, 1).
        lowest: Least value that the mean can have; the interval is cut there.
        highest: Greatest value that the mean can have.
        clusters: The number of each record's group, (n,); None if each record is a group of its own.

    Returns:
        The mean; its interval is NaN for several records of a single group, which show nothing of other groups.
    """
    if repeats(clusters):
        mean = ClusteredMean(values, clusters)
        if len(mean.sizes) == 1:
            return Estimate.point(float(values.mean()), level)
        return interval(float(values.mean()), mean.variance(float(values.var())), level, lowest, highest, mean.df)
    variance = float(values.var()) / len(values) if len(values) > 1 else 0.0
    return interval(float(values.mean()), variance, level, lowest, highest)


def accuracy(
    logits: Sequence[Tensor], targets: Tensor, level: float, clusters: Tensor | None = None, rules: Kind = CLASSES
) -> Estimate:
    """Accuracy of a model, or what takes its place in other kinds of outputs; the mean of several models.

    Args:
        logits: Logits (n, classes) of each model.
        targets: Labels (n,).
        level: Coverage of the interval, in (0, 1).
        clusters: The number of each record's group, (n,); None if each record is a group of its own. Wilson's interval
            is then that of as many independent records as say as much (Korn and Graubard 1998).
        rules: The kind of the task.

    Returns:
        The share of right answers, in [0, 1], with Wilson's interval (1927) over records. For several models the
        interval is the mean of theirs, which is a little too wide for a mean, but not empty at 0 or 1. Where an answer
        is not simply right or wrong: the mean of `Kind.useful`, with the interval of `mean_over_records`.
    """
    are_right = [rules.useful(z, targets) for z in logits]
    if not rules.has_classes:
        return mean_over_records(torch.stack(are_right).mean(0), level, rules.least, 1.0, clusters)
    right = [int(r.sum()) for r in are_right]
    share = sum(right) / (len(right) * len(targets))
    if repeats(clusters):
        each = [_wilson(float(r.mean()), effective_count(r, clusters, level), level) for r in are_right]
        low, high = (sum(i[end] for i in each) / len(each) for end in (0, 1))
        return Estimate(share, min(share, low), max(share, high), level)
    intervals = [_wilson(k / len(targets), len(targets), level) for k in right]
    low, high = (sum(interval[end] for interval in intervals) / len(right) for end in (0, 1))
    return Estimate(share, min(share, low), max(share, high), level)


def _wilson(share: float, count: float, level: float) -> tuple[float, float]:
    """Wilson's interval (1927) of a share among a number of records that need not be whole."""
    from scipy.stats import norm

    z2 = float(norm.ppf((1 + level) / 2)) ** 2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = math.sqrt(z2 * (share * (1 - share) / count + z2 / (4 * count**2))) / (1 + z2 / count)
    # rounding would leave the end at a share of 0 or 1 next to it
    return 0.0 if share == 0 else max(0.0, middle - half), 1.0 if share == 1 else min(1.0, middle + half)


def mean_loss(
    logits: Sequence[Tensor], targets: Tensor, level: float, clusters: Tensor | None = None, rules: Kind = CLASSES
) -> Estimate:
    """Loss of a model, for classes the cross-entropy; the mean of several models.

    Args:
        logits: Logits (n, classes) of each model.
        targets: Labels (n,).
        level: Coverage of the interval, in (0, 1).
        clusters: As in `mean_over_records`.
        rules: The kind of the task.

    Returns:
        The mean, with an interval over records: minus the log-likelihood in nats where outputs give probabilities, else
        the loss that the model was trained by.
    """
    losses = torch.stack([_loss(rules, z, targets) for z in logits]).mean(0)
    return mean_over_records(losses, level, clusters=clusters)


def _loss(rules: Kind, values: Tensor, labels: Tensor) -> Tensor:
    if rules.is_probable:
        return -rules.log_likelihood(values, labels)
    return rules.losses(values, labels).double()


def tug_of_war(unlearned: Mapping[str, float], retrained: Mapping[str, float]) -> float:
    """Tug-of-war score (arXiv 2406.01257): product over places of 1 - |accuracy_unlearned - accuracy_retrained|.

    Args:
        unlearned: Accuracy, in [0, 1], by place: on forget, retain and test records.
        retrained: Accuracy of retrained models at the same places.

    Returns:
        A number in [0, 1]: 1 if the model is as accurate as retrained ones at all places.
    """
    return math.prod(1 - abs(unlearned[place] - retrained[place]) for place in retrained)
