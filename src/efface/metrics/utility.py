"""Accuracy and loss with intervals."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from efface.metrics.membership import interval
from efface.numerics.logits import log_likelihood
from efface.types import Estimate


def correct(logits: Tensor, targets: Tensor) -> Tensor:
    """Whether each record is classified correctly: 1.0 if its label has the highest logit, else 0.0.

    Args:
        logits: Logits, (n, classes).
        targets: Labels, (n,).

    Returns:
        Numbers 0 or 1, (n,), float64.
    """
    return (logits.argmax(1) == targets).double()


def mean_over_records(values: Tensor, level: float, lowest: float = 0.0, highest: float = float("inf")) -> Estimate:
    """Mean of a statistic over records, with a normal interval.

    Args:
        values: The statistic (n,).
        level: Coverage of the interval, in (0, 1).
        lowest: Least value that the mean can have; the interval is cut there.
        highest: Greatest value that the mean can have.
    """
    variance = float(values.var()) / len(values) if len(values) > 1 else 0.0
    return interval(float(values.mean()), variance, level, lowest, highest)


def accuracy(logits: Sequence[Tensor], targets: Tensor, level: float) -> Estimate:
    """Accuracy of a model, or the mean accuracy of several.

    Args:
        logits: Logits (n, classes) of each model.
        targets: Labels (n,).
        level: Coverage of the interval, in (0, 1).

    Returns:
        The share of right answers, in [0, 1], with Wilson's interval (1927) over records. For several models the
        interval is the mean of theirs, which is a little too wide for a mean, but not empty at 0 or 1.
    """
    from scipy.stats import binomtest

    right = [int(correct(z, targets).sum()) for z in logits]
    intervals = [binomtest(k, len(targets)).proportion_ci(level, method="wilson") for k in right]
    share = sum(right) / (len(right) * len(targets))
    low, high = (sum(float(getattr(i, end)) for i in intervals) / len(right) for end in ("low", "high"))
    return Estimate(share, min(share, low), max(share, high), level)


def mean_loss(logits: Sequence[Tensor], targets: Tensor, level: float) -> Estimate:
    """Cross-entropy of a model, or the mean of several.

    Args:
        logits: Logits (n, classes) of each model.
        targets: Labels (n,).
        level: Coverage of the interval, in (0, 1).

    Returns:
        The mean, in nats, with a normal interval over records.
    """
    return mean_over_records(torch.stack([-log_likelihood(z, targets) for z in logits]).mean(0), level)


def tug_of_war(unlearned: Mapping[str, float], retrained: Mapping[str, float]) -> float:
    """Tug-of-war score (arXiv 2406.01257): product over places of 1 - |accuracy_unlearned - accuracy_retrained|.

    Args:
        unlearned: Accuracy, in [0, 1], by place: on forget, retain and test records.
        retrained: Accuracy of retrained models at the same places.

    Returns:
        A number in [0, 1]: 1 if the model is as accurate as retrained ones at all places.
    """
    return math.prod(1 - abs(unlearned[place] - retrained[place]) for place in retrained)
