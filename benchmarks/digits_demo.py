"""A task on handwritten digits for other scripts: a CNN that knows 1,000 records by heart, 15 % of them mislabelled."""

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from efface.cli.demo import Setting, small_cnn, train_by_cross_entropy
from efface.data.sets import digits, plant_label_noise
from efface.methods import Steer
from efface.runtime.seeds import derive_seed
from efface.task import Task

NOISE = 0.15  # share of wrong labels planted in training and holdout alike


def digits_cnn() -> nn.Module:
    """Make the network of the digits demo, with about 60,000 weights."""
    return small_cnn(8, (32, 64), 128)


def fit_digits(model: nn.Module, data: Dataset[tuple[Tensor, Tensor]], seed: int) -> None:
    """Train by 60 epochs of SGD with momentum and weight decay, enough to memorise all labels, wrong ones included.

    Args:
        model: the network; it is trained in place.
        data: pairs of an image and its class.
        seed: seed of the order of records.
    """
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    train_by_cross_entropy(model, data, seed, optimiser, epochs=60, batch=32)


def digits_setting(seed: int) -> Setting:
    """Make the digits demo: 1,000 training records with some wrong labels; 48 to forget, half of them mislabelled."""
    x, y = digits()
    y, wrong = plant_label_noise(y, 10, NOISE, derive_seed(seed, "demo", "noise"))
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(derive_seed(seed, "demo", "split")))
    train, holdout, test = order[:1000], order[1000:1480], order[1480:]
    task = Task(
        train=TensorDataset(x[train], y[train]),
        holdout=TensorDataset(x[holdout], y[holdout]),
        test=TensorDataset(x[test], y[test]),
        build_model=digits_cnn,
        fit=fit_digits,
    )
    odd = wrong[train]
    kinds = {
        "ordinary": (~odd).nonzero().flatten()[:24].tolist(),
        "wrongly labelled": odd.nonzero().flatten()[:24].tolist(),
    }
    return Setting(task, digits_cnn, Steer(), kinds, "Demo: handwritten digits, 15 % of the labels wrong")
