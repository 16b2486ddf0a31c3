"""Tasks of any size for measuring a store: `benchmarks.store_task:records_60000` is one of 60,000 records.

Three noisy classes in 16 features, ids that are people's addresses, and a network of 963 weights that takes a second to
train: what a store costs here is the store's own, and that of reading so many records.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from efface import Task

CLASSES, FEATURES = 3, 16
HOLDOUT, TRAINED_ON, STEPS = 2000, 4000, 100
PREFIX = "records_"


def __getattr__(name: str) -> Callable[[], Task]:
    """The task of so many records as a name says; made when it is called, not when this is imported."""
    count = name.removeprefix(PREFIX)
    if not name.startswith(PREFIX) or not count.isdecimal():
        raise AttributeError(name)
    return partial(make_task, int(count))


def make_task(count: int) -> Task:
    """The task of so many training records."""
    return Task(
        train=TensorDataset(*draw(count, 0)),
        holdout=TensorDataset(*draw(HOLDOUT, 1)),
        ids=[person(at) for at in range(count)],
        build_model=network,
    )


def person(at: int) -> str:
    """The id of a record."""
    return f"person-{at:07d}@example.org"


def draw(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Features around a corner for each class, and labels of which a fifth is drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % CLASSES
    x = torch.randn(count, FEATURES, generator=generator)
    x[torch.arange(count), y] += 3.5
    drawn = torch.randint(CLASSES, (count,), generator=generator)
    return x, torch.where(torch.rand(count, generator=generator) < 0.2, drawn, y)


def network() -> nn.Module:
    """The network, untrained."""
    return nn.Sequential(nn.Linear(FEATURES, 48), nn.ReLU(), nn.Linear(48, CLASSES))


def trained(task: Task) -> nn.Module:
    """The network, trained on the first records of a task."""
    torch.manual_seed(0)
    model, (x, y) = network(), task.train[:TRAINED_ON]
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(STEPS):
        optimiser.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimiser.step()
    return model.eval()
