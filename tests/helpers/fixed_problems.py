"""Small problems in float64 that are the same on every processor but for rounding, which stays as small as it begins.

Data come from numpy's generator, weights from full batches, and the networks have no corners.
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset, TensorDataset

from efface import Recipe, Task
from helpers.tiny import Window

CLASSES, FEATURES = 3, 12
REFERENCE = Recipe(epochs=1, lr=1e-2, batch=64, least_steps=24)


@dataclass(frozen=True)
class Fixed:
    """A model that knows the records of its task by heart, and those to forget."""

    task: Task
    original: nn.Module
    forget: tuple[int, ...]
    width: int


def records(n: int, seed: int, noise: float = 0.2) -> tuple[Tensor, Tensor]:
    """Features around a corner for each class, and labels of which a share is drawn at random."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % CLASSES
    x = rng.standard_normal((n, FEATURES))
    x[np.arange(n), y] += 2.5
    y = np.where(rng.random(n) < noise, rng.integers(CLASSES, size=n), y)
    return torch.from_numpy(x), torch.from_numpy(y)


def network(seed: int, width: int = 24, pictures: bool = False) -> nn.Module:
    """An untrained network, whose first layer reads records as they are or as pictures of 3 x 4."""
    rng = np.random.default_rng(seed)
    plain = nn.Linear(FEATURES, width, bias=False)
    first = Window((1, width // 6), 2, (3, 4), bias=False) if pictures else plain
    layers = first, nn.BatchNorm1d(width), nn.Tanh(), nn.Linear(width, CLASSES)
    model = nn.Sequential(*layers).double()
    with torch.no_grad():
        for layer in (layers[0], layers[-1]):
            for p in layer.parameters():
                p.copy_(torch.from_numpy(rng.uniform(-0.3, 0.3, tuple(p.shape))))
    return model


def fit(model: nn.Module, dataset: Dataset[Any], seed: int) -> None:
    """Learn the records by heart, all in one batch, in float64 throughout."""
    rows = [dataset[i] for i in range(len(dataset))]  # type: ignore[arg-type]
    x, y = (torch.stack([torch.as_tensor(r[k]) for r in rows]) for k in (0, 1))
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-2)
    model.train()
    for _ in range(100):
        optimiser.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimiser.step()
    model.eval()


def retrained(given: Fixed, seed: int) -> nn.Module:
    """A network of the same width trained on what is not to be forgotten; on everything where that is nothing."""
    keep = np.setdiff1d(np.arange(len(given.task.train)), given.forget)  # type: ignore[arg-type]
    model = network(seed, given.width)
    fit(model, Subset(given.task.train, keep.tolist()), seed)
    return model


@cache
def few_records() -> Fixed:
    """For methods: 40 of 400 records, a fifth of all with labels at random."""
    return _fixed([records(n, seed=s) for n, s in ((400, 1), (320, 2), (160, 3))], tuple(range(4, 400, 10)), width=24)


@cache
def few_pictures() -> Fixed:
    """For methods that need convolutions: the same records, with a network that has one."""
    given, model = few_records(), network(0, 24, pictures=True)
    fit(model, given.task.train, 0)  # type: ignore[arg-type]
    return replace(given, original=model)


@cache
def many_records() -> Fixed:
    """For the judge: enough records that its tests come out clearly."""
    sets = [records(n, seed=s, noise=0.3) for n, s in ((1400, 4), (1400, 5), (400, 6))]
    return _fixed(sets, tuple(range(3, 1400, 7)), width=64)


@cache
def whole_class() -> Fixed:
    """For the judge: every record of one class of three."""
    sets = [_of_classes(n, seed=s) for n, s in ((1000, 7), (1000, 8), (400, 9))]
    return _fixed(sets, tuple((sets[0][1] == 0).nonzero().flatten().tolist()), width=48)


def _fixed(sets: list[tuple[Tensor, Tensor]], forget: tuple[int, ...], width: int) -> Fixed:
    train, holdout, test = (TensorDataset(*one) for one in sets)
    task = Task(train=train, holdout=holdout, test=test, fit=fit)
    return Fixed(task, retrained(Fixed(task, nn.Identity(), (), width), seed=0), forget, width)


def _of_classes(n: int, seed: int, noise: float = 0.1) -> tuple[Tensor, Tensor]:
    """An eighth of the records in class 0, the others in two more, of which a share has the other's label."""
    rng = np.random.default_rng(seed)
    y = np.where(np.arange(n) % 8 == 0, 0, 1 + np.arange(n) % 2)
    x = rng.standard_normal((n, FEATURES))
    x[np.arange(n), y] += 2.0
    wrong = (rng.random(n) < noise) & (y != 0)
    return torch.from_numpy(x), torch.from_numpy(np.where(wrong, 3 - y, y))
