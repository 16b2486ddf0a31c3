"""Minimising a smooth convex function of a few weights."""

from collections.abc import Callable

import torch
from torch import Tensor

ROUNDS = 50  # steps of L-BFGS; twice as many change no AUC of a fitted last layer visibly


def minimise(loss: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> Tensor:
    """The weights at which a loss is least, by L-BFGS from zero, float64.

    Args:
        loss: The loss, a scalar, as a function of the weights.
        shape: The shape of the weights.
    """
    weights = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=ROUNDS, line_search_fn="strong_wolfe")

    def step() -> Tensor:
        optimiser.zero_grad()
        value = loss(weights)
        value.backward()
        return value

    with torch.enable_grad():
        optimiser.step(step)
    return weights.detach()
