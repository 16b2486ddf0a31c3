"""Accuracy and loss with intervals."""

import math
from collections.abc import Mapping, Sequence

import torch
from scipy.stats import norm
from torch import Tensor

from efface.metrics.membership import interval
from efface.numerics.logits import log_likelihood
from efface.types import Estimate


def correct(logits: Tensor, targets: Tensor) -> Tensor:
    """1.0 where the label has the highest logit, else 0.0."""
    return (logits.argmax(1) == targets).double()


def mean_over_records(values: Tensor, level: float, lowest: float = 0.0, highest: float = float("inf")) -> Estimate:
    """Mean of a statistic (n,) with a normal interval over records, cut to [lowest, highest]."""
    variance = float(values.var()) / len(values) if len(values) > 1 else 0.0
    return interval(float(values.mean()), variance, level, lowest, highest)


def accuracy(logits: Sequence[Tensor], targets: Tensor, level: float) -> Estimate:
    """Accuracy, averaged over models where there are several, with Wilson's interval (1927) over records.

    The interval is that of one model's accuracy: a little too wide for a mean, but not empty at 0 or 1.
    """
    share, n = float(torch.stack([correct(z, targets) for z in logits]).mean()), len(targets)
    z2 = float(norm.ppf((1 + level) / 2)) ** 2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return Estimate(share, min(share, middle - half), max(share, middle + half), level)


def mean_loss(logits: Sequence[Tensor], targets: Tensor, level: float) -> Estimate:
    """Cross-entropy (nats), averaged over models where there are several; the interval is over records."""
    return mean_over_records(torch.stack([-log_likelihood(z, targets) for z in logits]).mean(0), level)


def tug_of_war(unlearned: Mapping[str, float], retrained: Mapping[str, float]) -> float:
    """Tug-of-war score (arXiv 2406.01257): product over places of 1 - |accuracy_unlearned - accuracy_retrained|.

    Accuracies, in [0, 1], of the same places: forget, retain and test. 1 where the model is as accurate everywhere.
    """
    return math.prod(1 - abs(unlearned[place] - retrained[place]) for place in retrained)
