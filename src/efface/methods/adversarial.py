"""Telling never-seen records from others by what a model says of them, and being trained against it."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efface.methods.base import descend
from efface.numerics.logits import aligned, centre
from efface.runtime.seeds import seeded


def label_first(logits: Tensor, targets: Tensor) -> Tensor:
    """Centred logits (records, classes), the label's first and the others from the highest down."""
    z = centre(logits)
    return z.gather(1, aligned(z.detach(), targets))


def discriminator(outputs: int, width: int) -> nn.Module:
    """A small network from outputs to the log-odds of being never seen."""
    # a dtype of its own, whatever the caller's default
    first, second, last = (
        nn.Linear(*shape, dtype=torch.float32) for shape in ((outputs, width), (width, width), (width, 1))
    )
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last)


def adversarial_loss(
    unseen: Tensor, width: int, turns: int, lr: float, seed: int
) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss -E log T(x) of a model's own outputs x and of never-seen ones y, where T(x) is how far x passes for a y.

    T is a discriminator, which takes `turns` steps of Adam on the cross-entropy of telling x from y at each call,
    before it is fooled. `unseen` are all never-seen outputs, which standardise what it reads.
    """
    mean, spread = unseen.mean(0), unseen.std(0, correction=0).clamp(min=1e-6)
    # drawn on the CPU, so that a seed gives the same network on every device
    with seeded(seed):
        judge = discriminator(unseen.shape[1], width).to(unseen.device)
    optimiser = torch.optim.Adam(judge.parameters(), lr=lr)

    def discriminator_loss(outputs: Tensor, never_seen: bool) -> Tensor:
        said = judge((outputs - mean) / spread)
        return F.binary_cross_entropy_with_logits(said, torch.full_like(said, float(never_seen)))

    def fool(own: Tensor, drawn: Tensor) -> Tensor:
        for _ in range(turns):
            descend(optimiser, discriminator_loss(own.detach(), False) + discriminator_loss(drawn, True))
        return discriminator_loss(own, True)

    return fool
