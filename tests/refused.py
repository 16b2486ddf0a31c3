"""Data sets and models that efface refuses."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from tiny import RECORDS, Tiny, mlp
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset


class Augmenting(Dataset):
    """Turns half of the records round, each time others; number 7 always comes as it is."""

    def __init__(self, tiny: Tiny) -> None:
        self.tiny = tiny

    def __len__(self) -> int:
        return RECORDS

    def __getitem__(self, at: int) -> tuple[Tensor, Tensor]:
        turned = at != 7 and torch.rand(()) < 0.5
        return self.tiny.x[at].flip(0) if turned else self.tiny.x[at], self.tiny.y[at]


class Streaming(IterableDataset):
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(())

    def __len__(self) -> int:
        return RECORDS


class Scaled(nn.Module):
    """A parameter of its own, and no way to reset it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.net(x)


class Wrapped(nn.Module):
    """The model's logits, changed by a function."""

    def __init__(self, change: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.net, self.change = mlp(), change

    def forward(self, x: Tensor) -> Any:
        return self.change(self.net(x))


def poisoned(tiny: Tiny) -> nn.Module:
    broken = tiny.fresh()
    with torch.no_grad():
        broken[2].bias[0] = float("nan")
    return broken


def fails(z: Tensor) -> Tensor:
    raise ValueError("no such\nthing")
