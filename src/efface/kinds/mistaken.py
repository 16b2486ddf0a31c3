"""Outputs that are probabilities or decisions where logits are expected, and what makes logits of them."""

import torch
from torch import Tensor

LOG = ".float().clamp_min(1e-30).log()"
LOGIT = ".float().logit(eps=1e-6)"


def not_logits_of_classes(outputs: Tensor, trained: bool) -> tuple[str, str] | None:
    """Why outputs, (n, classes), cannot be logits: they look as if a softmax, or a sigmoid for each class, made them.

    Returns:
        As `Kind.not_logits`.
    """
    values = outputs.double()
    # a sum of rounded numbers; for more classes than that, the largest dominate the sum
    slack = max(1e-3, 4 * torch.finfo(outputs.dtype).eps)
    total = values.sum(1)
    if bool((values < 0).any()) or bool((total <= 0).any()):
        return None
    if bool(((total / total.mean() - 1).abs() <= slack).all()):
        if bool(((values == 0) | (values == total[:, None])).all()):
            return (
                "the model returns decisions (1 for a class, 0 for others), not logits: take its softmax or argmax off",
                "",
            )
        return (
            "the model returns probabilities (none is negative, and all records have the same sum), not logits: take "
            "its softmax off",
            LOG,
        )
    if trained and len(values) > 1 and bool((values <= 1).all()):
        return (
            "all outputs of the model lie between 0 and 1, like those of a sigmoid for each class: return the logits "
            "from before it; if these are logits, subtract 1 from them by Task.forward, which changes no softmax",
            "",
        )
    return None


def not_logits_of_sigmoids(outputs: Tensor, trained: bool) -> tuple[str, str] | None:
    """Why outputs, of any shape, cannot be logits of yes or no: all lie between 0 and 1, as if a sigmoid made them.

    Returns:
        As `Kind.not_logits`.
    """
    if not trained or len(outputs) < 2 or not bool(((outputs >= 0) & (outputs <= 1)).all()):
        return None
    if bool(((outputs == 0) | (outputs == 1)).all()):
        return "the model returns decisions (0 or 1), not logits: return what they are made of", ""
    return (
        "all outputs of the model lie between 0 and 1, like probabilities that a sigmoid made, and are no logits: take "
        "the sigmoid off",
        LOGIT,
    )
