"""A last layer fitted afresh to what a model computes below its own."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Head = Callable[[Tensor], Tensor]

RIDGE = 1e-3  # of squared weights, beside the mean loss
ROUNDS = 50  # of L-BFGS; twice as many change nothing that an AUC would show
MIN_SCALE = 1e-3  # of a feature, as a share of that of the largest


def probe(features: Tensor, targets: Tensor, classes: int) -> Head:
    """A last layer fitted to features (n, d) of retain records: logistic regression with a small ridge, from zero.

    Gives logits (n, classes), float64, of other features. What it still tells of forget records, no last layer hid.
    """
    x, y = features.double(), targets.cpu()
    mean, std = x.mean(0), x.std(0)
    # a feature that hardly moves on retain records must not rule elsewhere
    scale = std.clamp_min(max(MIN_SCALE * float(std.max()), 1e-12))
    scaled = (x - mean) / scale
    weights = torch.zeros(x.shape[1] + 1, classes, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=ROUNDS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = F.cross_entropy(scaled @ weights[:-1] + weights[-1], y) + RIDGE / 2 * weights[:-1].square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimiser.step(loss)
    fitted = weights.detach()

    def head(others: Tensor) -> Tensor:
        return (others.double() - mean) / scale @ fitted[:-1] + fitted[-1]

    return head
