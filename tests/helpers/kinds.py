"""A problem of each kind that is unlearned in a second or two: noisy records, and a network that knows them."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from efface import Recipe, Task
from helpers.tiny import REFERENCE

FEATURES = 16
RECORDS, HOLDOUT, TEST = 300, 200, 100
LABELS = 5  # of a multi-label record
VALUES = 2  # of a regression's record
POSITIONS, VOCABULARY, IGNORED = 16, 8, -100
FORGET = tuple(range(5, 65, 5))
KEYS = ("classes", "binary", "multilabel", "regression", "tokens")


@dataclass(frozen=True)
class TinyKind:
    """A problem of a kind: `model` knows the training records of `data` by heart; `forget` are 12 of them."""

    key: str
    model: nn.Module
    data: Mapping[str, TensorDataset]
    forget: tuple[int, ...] = FORGET
    reference: Recipe = REFERENCE

    def task(self, **changes: Any) -> Task:
        """The task, with some of its fields changed; by default its kind is found."""
        plain = {"train": self.data["train"], "holdout": self.data["holdout"], "build_model": BUILDERS[self.key]}
        return Task(**{**plain, "fit": self.fit, **changes})

    def fresh(self) -> nn.Module:
        """A copy of the model, for a test that changes it."""
        return copy.deepcopy(self.model)

    def fit(self, model: nn.Module, dataset: Dataset[Any], seed: int) -> None:
        """The training recipe: Adam on all records at once, which leaves the model in eval mode."""
        x, y = (torch.stack(part) for part in zip(*(dataset[i] for i in range(len(dataset))), strict=True))
        train(self.key, model, x, y)


class Sequences(nn.Module):
    """A GRU that says the next item at each position."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 16)
        self.gru = nn.GRU(16, 32, batch_first=True)
        self.head = nn.Linear(32, VOCABULARY)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gru(self.embedding(x))[0])


def mlp(outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(FEATURES, 48), nn.ReLU(), nn.Linear(48, outputs))


BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "classes": lambda: mlp(3),
    "binary": lambda: mlp(1),
    "multilabel": lambda: mlp(LABELS),
    "regression": lambda: mlp(VALUES),
    "tokens": Sequences,
}

# the losses as users write them, so that no test compares a kind with itself
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "classes": F.cross_entropy,
    "binary": lambda z, y: F.binary_cross_entropy_with_logits(z.squeeze(1), y.float()),
    "multilabel": F.binary_cross_entropy_with_logits,
    "regression": F.mse_loss,
    "tokens": lambda z, y: F.cross_entropy(z.flatten(0, 1), y.flatten(), ignore_index=IGNORED),
}


def records(key: str, n: int, seed: int) -> TensorDataset:
    """Records of a kind, whose targets can be told from their inputs in part."""
    generator = torch.Generator().manual_seed(seed)
    if key == "tokens":
        return _sequences(n, generator)
    rules = torch.randn(FEATURES, LABELS, generator=torch.Generator().manual_seed(99)) / 2
    x = torch.randn(n, FEATURES, generator=generator)
    told = x @ rules + torch.randn(n, LABELS, generator=generator)
    targets = {
        "classes": lambda: told[:, :3].argmax(1),
        "binary": lambda: (told[:, 0] > 0).long(),
        "multilabel": lambda: (told > 0).float(),
        "regression": lambda: told[:, :VALUES] * torch.tensor([3.0, 0.5]) + 1,
    }
    return TensorDataset(x, targets[key]())


def train(key: str, model: nn.Module, x: Tensor, y: Tensor, steps: int = 200) -> nn.Module:
    """Train on all records at once, and leave the model in eval mode."""
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    model.train()
    for _ in range(steps):
        optimiser.zero_grad()
        LOSSES[key](model(x), y).backward()
        optimiser.step()
    return model.eval()


@cache
def tiny_kind(key: str) -> TinyKind:
    """The tiny problem of a kind, by its key."""
    sizes = {"train": (RECORDS, 0), "holdout": (HOLDOUT, 1), "test": (TEST, 2)}
    data = {name: records(key, n, seed) for name, (n, seed) in sizes.items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TinyKind(key, train(key, BUILDERS[key](), *data["train"].tensors), data)


def _sequences(n: int, generator: torch.Generator) -> TensorDataset:
    """Walks over items, each likely to be followed by the next one; the last positions of every third do not count."""
    steps = torch.where(torch.rand(n, POSITIONS, generator=generator) < 0.6, 1, 0)
    jumps = torch.randint(VOCABULARY, (n, POSITIONS + 1), generator=generator)
    items = jumps[:, :1]
    for at in range(POSITIONS):
        following = torch.where(steps[:, at] == 1, (items[:, -1] + 1) % VOCABULARY, jumps[:, at + 1])
        items = torch.cat([items, following[:, None]], 1)
    targets = items[:, 1:].clone()
    targets[::3, -3:] = IGNORED
    return TensorDataset(items[:, :-1].clone(), targets)
