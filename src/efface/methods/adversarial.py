"""A network that distinguishes a model's outputs on never-seen records from others, and a loss against it."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efface.methods.base import descend
from efface.numerics.logits import aligned, centre, fill_masked
from efface.runtime.seeds import seeded


def label_first(logits: Tensor, targets: Tensor) -> Tensor:
    """Centre logits and sort their columns: the label first, then the others from high to low, (records, classes).

    Masked classes, which come last, are 0.
    """
    z = centre(logits)
    return fill_masked(z.gather(1, aligned(z.detach(), targets)), 0.0)


def discriminator(outputs: int, width: int) -> nn.Module:
    """Make a small network from outputs, (records, outputs), to the log-odds of being never seen, (records, 1).

    Args:
        outputs: Number of outputs that it reads.
        width: Hidden units in each of its two layers.
    """
    # float32 whatever the caller's default
    first, second, last = (
        nn.Linear(*shape, dtype=torch.float32) for shape in ((outputs, width), (width, width), (width, 1))
    )
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last)


def adversarial_loss(
    unseen: Tensor, width: int, turns: int, lr: float, seed: int
) -> Callable[[Tensor, Tensor], Tensor]:
    """Make a loss -E log T(x), where T(x) is the probability that a discriminator gives to x being never seen.

    Args:
        unseen: Outputs (records, classes) on all never-seen records; their mean and spread standardise all outputs.
        width: Hidden units in each of the discriminator's two layers.
        turns: Steps of the discriminator's Adam at each call, before the loss is computed.
        lr: Learning rate of that Adam.
        seed: Seed of the discriminator's initial weights.

    Returns:
        A function of the model's outputs x, (records, classes), and of a batch of never-seen ones.
    """
    mean, spread = unseen.mean(0), unseen.std(0, correction=0).clamp(min=1e-6)
    # drawn on the CPU, so that a seed gives the same network on every device
    with seeded(seed):
        network = discriminator(unseen.shape[1], width).to(unseen.device)
    optimiser = torch.optim.Adam(network.parameters(), lr=lr)

    def discriminator_loss(outputs: Tensor, never_seen: bool) -> Tensor:
        log_odds = network((outputs - mean) / spread)
        return F.binary_cross_entropy_with_logits(log_odds, torch.full_like(log_odds, float(never_seen)))

    def loss(own: Tensor, drawn: Tensor) -> Tensor:
        for _ in range(turns):
            descend(optimiser, discriminator_loss(own.detach(), False) + discriminator_loss(drawn, True))
        return discriminator_loss(own, True)

    return loss
