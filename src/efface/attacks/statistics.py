"""Attacks that read one statistic of the model's output."""

from collections.abc import Sequence

import torch
from torch import Tensor

from efface.attacks.views import View
from efface.numerics.logits import log_likelihood, margin, other_gap


def loss(view: View, references: Sequence[View]) -> Tensor:
    """Log-probability of the label (Yeom et al., arXiv 1709.01604): members have a lower loss."""
    return log_likelihood(view.logits, view.targets)


def plain_margin(view: View, references: Sequence[View]) -> Tensor:
    """Log-odds of the label."""
    return margin(view.logits, view.targets)


def other_classes(view: View, references: Sequence[View]) -> Tensor | None:
    """Gap between the two best classes other than the label, which is no part of the margin; None with two classes."""
    return other_gap(view.logits, view.targets) if view.logits.shape[1] > 2 else None


def perturbed_margin(view: View, references: Sequence[View]) -> Tensor | None:
    """Mean margin over slightly changed copies of the record: what is known beyond the very record that was moved."""
    if view.copies is None:
        return None
    return torch.stack([margin(z, view.targets) for z in view.copies]).mean(0)
