"""Log-probabilities of all classes that keep their precision where a model is sure."""

import torch
from torch import Tensor


def log_probabilities(logits: Tensor) -> tuple[Tensor, Tensor]:
    """log p and log(1 - p) of every class, to full relative precision however near to 0 or 1 p is.

    Args:
        logits: (n, classes).

    Returns:
        log p and log(1 - p), both (n, classes), float64.
    """
    z = logits.double()
    inside = z.log_softmax(1)
    top = z.argmax(1, keepdim=True)
    # only the likeliest class can have p > 1/2, where 1 - p would cancel: there it is the sum over the others
    rest = z.scatter(1, top, -torch.inf).logsumexp(1, keepdim=True) - z.logsumexp(1, keepdim=True)
    outside = torch.log1p(-inside.exp()).scatter(1, top, rest)
    return inside.scatter(1, top, torch.log1p(-rest.exp())), outside


def weighted(log_weights: Tensor, values: Tensor) -> Tensor:
    """exp(log_weights) * values, elementwise; a weight of 0 gives 0 even if the value is infinite."""
    return torch.where(log_weights == -torch.inf, 0.0, log_weights.exp() * values)
