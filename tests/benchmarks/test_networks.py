"""Training of the benchmark's networks."""

import torch

from benchmarks.harness.networks import Fit, cnn


def test_networks_train_in_passes_that_give_the_loss() -> None:
    x = torch.randn(65, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    y = torch.arange(65) % 10
    losses = list(Fit(3, lr=1e-2, batch=64).passes(cnn(), x, y, 0))  # the last batch is one record
    assert len(losses) == 3 and losses[-1] < losses[0]
