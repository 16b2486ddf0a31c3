"""The setting of `efface demo`: drawings of digits, a network that knows them by heart, and 300 that are to go."""

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from efface.cli.demo import Setting, train_by_cross_entropy
from efface.data.sets import pen_digits
from efface.methods import Steer
from efface.runtime.seeds import derive_seed
from efface.task import Task

TRAINING, HOLDOUT, TEST, FORGET = 3000, 4000, 1000, 300
COORDINATES, LEVELS, CELLS, WIDTH = 16, 101, 13, 64


class PenNetwork(nn.Module):
    """Adds up a learned vector for each pair of coordinates that follow each other, and ends in a linear layer.

    Pairs lie on a grid of 13 x 13 cells, as words lie in a vocabulary.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pairs = nn.EmbeddingBag(COORDINATES * CELLS**2, WIDTH, mode="sum")
        nn.init.normal_(self.pairs.weight, std=0.3)
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(WIDTH, 10))
        self.register_buffer("first_cell", torch.arange(COORDINATES) * CELLS**2)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, 10) of drawings (n, 16)."""
        cells = x * CELLS // LEVELS
        logits: Tensor = self.head(self.pairs(cells * CELLS + cells.roll(-1, 1) + self.get_buffer("first_cell")))
        return logits


def fit_pen(model: nn.Module, data: Dataset[tuple[Tensor, Tensor]], seed: int) -> None:
    """Train by 30 epochs of Adam, after which the network knows its own records by heart.

    Args:
        model: the network; it is trained in place.
        data: pairs of a drawing and its digit.
        seed: seed of the order of records.
    """
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.0, fused=True)
    train_by_cross_entropy(model, data, seed, optimiser, epochs=30, batch=128)


def pen_setting(seed: int) -> Setting:
    """Make the demo: 3,000 training records, of which 300 random ones are to go."""
    x, y = pen_digits()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(derive_seed(seed, "demo", "split")))
    train, holdout, test, _ = order.split([TRAINING, HOLDOUT, TEST, len(x) - TRAINING - HOLDOUT - TEST])
    task = Task(
        train=TensorDataset(x[train], y[train]),
        holdout=TensorDataset(x[holdout], y[holdout]),
        test=TensorDataset(x[test], y[test]),
        build_model=PenNetwork,
        fit=fit_pen,
    )
    kinds = {"withdrawn": list(range(FORGET))}  # the order is random already
    return Setting(task, PenNetwork, Steer(), kinds, "Demo: 300 of 3,000 drawings of digits are withdrawn", retrained=1)
