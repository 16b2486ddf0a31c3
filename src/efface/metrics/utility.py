"""Accuracy and loss with intervals."""

from collections.abc import Sequence

import torch
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
    """Accuracy, averaged over models where there are several; the interval is over records."""
    return mean_over_records(torch.stack([correct(z, targets) for z in logits]).mean(0), level, highest=1.0)


def mean_loss(logits: Sequence[Tensor], targets: Tensor, level: float) -> Estimate:
    """Cross-entropy (nats), averaged over models where there are several; the interval is over records."""
    return mean_over_records(torch.stack([-log_likelihood(z, targets) for z in logits]).mean(0), level)
