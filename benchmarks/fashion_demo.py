"""The demo on all 60,000 records of Fashion-MNIST, and its task for other scripts: `python -m benchmarks demo`."""

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from benchmarks.harness.fashion import fashion_mnist
from efface.cli.demo import Setting, small_cnn, train_plainly
from efface.methods import Steer
from efface.runtime.seeds import derive_seed
from efface.task import Task


def fashion_cnn() -> nn.Module:
    """The network of the Fashion-MNIST demo and benchmark, some 220,000 weights."""
    return small_cnn(28, (16, 32), 128)


def fit_fashion(model: nn.Module, data: Dataset[tuple[Tensor, Tensor]], seed: int) -> None:
    """22 epochs of Adam, after which the model knows 98 % of its own records."""
    train_plainly(model, data, seed, torch.optim.Adam(model.parameters(), lr=1e-3), epochs=22, batch=128)


def fashion_setting(seed: int) -> Setting:
    """All 60,000 Fashion-MNIST records with their own labels; 600 random ones to forget."""
    x, y, x_held, y_held = fashion_mnist()
    order = torch.randperm(len(x_held), generator=torch.Generator().manual_seed(derive_seed(seed, "demo", "split")))
    holdout, test = order[:4000], order[4000:]
    forget = torch.randperm(len(x), generator=torch.Generator().manual_seed(derive_seed(seed, "demo", "forget")))[:600]
    task = Task(
        train=TensorDataset(x, y),
        holdout=TensorDataset(x_held[holdout], y_held[holdout]),
        test=TensorDataset(x_held[test], y_held[test]),
        build_model=fashion_cnn,
        fit=fit_fashion,
    )
    return Setting(
        task, fashion_cnn, Steer(), {"random": forget.tolist()}, "Demo: Fashion-MNIST, 60,000 records, 600 to forget"
    )
