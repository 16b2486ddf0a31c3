"""A last layer fitted afresh to what a model computes below its own last layer."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from efface.kinds.base import Head
from efface.numerics.logits import MASKED, is_masked
from efface.numerics.minimise import minimise

RIDGE = 1e-3  # penalty on squared weights, beside the mean loss
MIN_SCALE = 1e-3  # least scale of a feature, as a share of the largest one's


def probe_unmasked(features: Tensor, targets: Tensor, logits: Tensor) -> Head:
    """Fit a last layer as `probe` does, without the classes that the model masks for all records.

    Args:
        features: (n, d).
        targets: Labels (n,).
        logits: The model's logits (n, classes).

    Returns:
        As `probe`; logits of those classes are MASKED.
    """
    classes = logits.shape[1]
    hidden = is_masked(logits).all(0) & (torch.bincount(targets.cpu(), minlength=classes) == 0)
    kept = (~hidden).nonzero().squeeze(1)
    fitted = probe(features, torch.searchsorted(kept, targets.cpu()), len(kept))
    if len(kept) == classes:
        return fitted

    def head(others: Tensor) -> Tensor:
        values = torch.full((len(others), classes), MASKED, dtype=torch.float64)
        return values.index_copy_(1, kept, fitted(others))

    return head


def probe(features: Tensor, targets: Tensor, classes: int) -> Head:
    """Fit a last layer to features of retain records: logistic regression with a small ridge, started at zero.

    Args:
        features: (n, d).
        targets: Labels (n,).
        classes: Number of classes.

    Returns:
        A function from features (m, d) to logits (m, classes), float64.
    """
    labels = targets.cpu()
    return fit_head(features, classes, lambda values: F.cross_entropy(values, labels))


def fit_head(features: Tensor, width: int, loss: Callable[[Tensor], Tensor]) -> Head:
    """Fit a linear layer with a small ridge, started at zero.

    Args:
        features: (n, d).
        width: Number of outputs.
        loss: The mean loss, a convex function of outputs (n, width).

    Returns:
        A function from features (m, d) to outputs (m, width), float64.
    """
    x = features.double()
    mean, std = x.mean(0), x.std(0)
    # a feature that hardly varies on retain records must not dominate elsewhere
    scale = std.clamp_min(max(MIN_SCALE * float(std.max()), 1e-12))
    scaled = (x - mean) / scale

    def penalised(weights: Tensor) -> Tensor:
        return loss(scaled @ weights[:-1] + weights[-1]) + RIDGE / 2 * weights[:-1].square().sum()

    fitted = minimise(penalised, (x.shape[1] + 1, width))

    def head(others: Tensor) -> Tensor:
        return (others.double() - mean) / scale @ fitted[:-1] + fitted[-1]

    return head
