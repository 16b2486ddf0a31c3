"""The networks of the benchmark, small enough for a laptop's CPU, and how they are trained."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset, TensorDataset

from benchmarks.harness.sets import CATEGORIES, NUMBERS, WORDS

MAX_VALUES = 48  # of a category
LEVELS = 16  # of a number of Letter
LETTERS = 26


def cnn(dropout: float = 0.0) -> nn.Module:
    """Two convolutions, the first on patches of 4 x 4 pixels, and two linear layers for pictures (1, 28, 28)."""
    layers = [
        nn.Conv2d(1, 16, 4, stride=4), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
        nn.Flatten(), *([nn.Dropout(dropout)] if dropout else []),
        nn.Linear(32 * 49, 64), nn.ReLU(), *([nn.Dropout(dropout)] if dropout else []),
        nn.Linear(64, 10),
    ]  # fmt: skip
    return nn.Sequential(*layers)


def cifar_cnn() -> nn.Module:
    """Two strided convolutions and two linear layers for pictures (3, 32, 32), 10 classes."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 5, stride=2, padding=2), nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(64 * 64, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


def regularised_cnn() -> nn.Module:
    """`cnn` with half of its features and hidden units dropped in training."""
    return cnn(dropout=0.5)


def batchnorm_cnn() -> nn.Module:
    """`cnn` with BatchNorm behind both convolutions, and no other way around them."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 4, stride=4), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 49, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def picture_mlp() -> nn.Module:
    """Three linear layers for pictures (1, 28, 28), 10 classes: no convolution, and every pixel is read alone."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)
    )


def digits_cnn() -> nn.Module:
    """Two convolutions with pooling and two linear layers for pictures (1, 8, 8), 10 classes."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10),
    )  # fmt: skip


class Block(nn.Module):
    """Two 3 x 3 convolutions with BatchNorm, and a way around them."""

    def __init__(self, inside: int, out: int, stride: int) -> None:
        super().__init__()
        self.way = nn.Sequential(
            nn.Conv2d(inside, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(),
            nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out),
        )  # fmt: skip
        self.around = nn.Sequential(nn.Conv2d(inside, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        """Features (n, out, h, w)."""
        y: Tensor = F.relu(self.way(x) + self.around(x))
        return y


def resnet() -> nn.Module:
    """A small residual network with BatchNorm for pictures (1, 28, 28), 10 classes."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 4, 4, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        Block(16, 16, 1), Block(16, 32, 2),
        nn.Flatten(), nn.Linear(32 * 16, 10),
    )  # fmt: skip


class AdultMLP(nn.Module):
    """Numbers and embedded categories of Adult through three layers, 2 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(MAX_VALUES, 8) for _ in CATEGORIES)
        width = len(NUMBERS) + 8 * len(CATEGORIES)
        self.layers = nn.Sequential(nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 2))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, 2) of rows: the numbers, then the categories' codes."""
        numbers, codes = x[:, : len(NUMBERS)], x[:, len(NUMBERS) :].long()
        z: Tensor = self.layers(torch.cat([numbers, *(e(codes[:, i]) for i, e in enumerate(self.embeddings))], 1))
        return z


class LetterMLP(nn.Module):
    """The 16 numbers of Letter, brought to about unit variance, through three layers, 26 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(16, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, LETTERS)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, 26)."""
        z: Tensor = self.layers((x - 7) / 2.5)
        return z


class PenMLP(nn.Module):
    """The 16 numbers of pen-based digits, brought to about unit variance, through four narrow layers, 10 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 10)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, 10)."""
        z: Tensor = self.layers((x - 50) / 35)
        return z


class LetterTransformer(nn.Module):
    """The 16 numbers of Letter as embedded tokens through an encoder layer, 26 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.values = nn.Embedding(16 * LEVELS, 32)  # a value means another thing at each place
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(32, LETTERS)
        self.register_buffer("place", LEVELS * torch.arange(16))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, 26)."""
        z: Tensor = self.head(self.encoder(self.values(x.long() + self.get_buffer("place"))).mean(1))
        return z


class NewsBag(nn.Module):
    """The mean of a document's word vectors through two layers, 20 classes; word 0 is no word."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(WORDS + 1, 64, mode="mean", padding_idx=0)
        self.layers = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 20))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, 20)."""
        z: Tensor = self.layers(self.words(x))
        return z


@dataclass(frozen=True)
class Fit:
    """So many epochs at a constant rate of Adam, with weight decay apart; a training recipe for `Task.fit`.

    With `momentum`, of SGD with momentum and weight decay in the gradient, under a rate that falls as a cosine.
    """

    epochs: int
    lr: float = 1e-3
    decay: float = 0.0
    batch: int = 128
    momentum: float | None = None

    def __call__(self, model: nn.Module, dataset: Dataset[Any], seed: int) -> None:
        """Train in place, and leave the model in eval mode."""
        for _ in self.passes(model, *tensors_of(dataset), seed):
            pass
        model.eval()

    def passes(self, model: nn.Module, x: Tensor, y: Tensor, seed: int) -> Iterator[float]:
        """Train, and give the mean training loss after each epoch."""
        device = next(model.parameters()).device
        order = torch.Generator().manual_seed(seed)
        optimiser = self._optimiser(model)
        steps = self.epochs * -(-len(x) // self.batch)
        schedule = None if self.momentum is None else torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in range(self.epochs):
            model.train()
            total = 0.0
            for rows in torch.randperm(len(x), generator=order).split(self.batch):
                if len(rows) < 2 <= len(x):  # a single record breaks BatchNorm
                    continue
                optimiser.zero_grad()
                loss = F.cross_entropy(model(x[rows].to(device)), y[rows].to(device))
                loss.backward()
                optimiser.step()
                if schedule is not None:
                    schedule.step()
                total += float(loss.detach()) * len(rows)
            yield total / len(x)

    def _optimiser(self, model: nn.Module) -> torch.optim.Optimizer:
        if self.momentum is None:
            return torch.optim.AdamW(model.parameters(), lr=self.lr, weight_decay=self.decay, fused=True)
        return torch.optim.SGD(model.parameters(), lr=self.lr, momentum=self.momentum, weight_decay=self.decay)


def tensors_of(dataset: object) -> tuple[Tensor, Tensor]:
    """Inputs and labels of a TensorDataset, or of subsets of one."""
    if isinstance(dataset, Subset):
        x, y = tensors_of(dataset.dataset)
        rows = torch.as_tensor(dataset.indices)
        return x[rows], y[rows]
    if not isinstance(dataset, TensorDataset):
        raise TypeError(f"expected a TensorDataset or a Subset of one, got {type(dataset).__name__}")
    x, y = dataset.tensors
    return x, y
