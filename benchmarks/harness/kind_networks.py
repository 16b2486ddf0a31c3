"""The networks of the benchmark for targets that are no classes, and how they are trained."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.harness.kind_sets import FILMS, HOUSES, IGNORED, LETTERS, TOPICS, VOCABULARY
from benchmarks.harness.networks import Fit


def house_mlp() -> nn.Module:
    """Four linear layers for the 8 numbers of a block of houses, one value."""
    return nn.Sequential(
        nn.Linear(len(HOUSES), 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(),
        nn.Linear(128, 1),
    )  # fmt: skip


class TopicBag(nn.Module):
    """The mean of an article's word vectors through two layers, a logit for each topic; word 0 is no word."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(VOCABULARY + 1, 64, mode="mean", padding_idx=0)
        self.layers = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, TOPICS))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, topics)."""
        z: Tensor = self.layers(self.words(x))
        return z


class FilmGRU(nn.Module):
    """Films as vectors through a GRU, a logit for each film at each position; film 0 is none."""

    def __init__(self) -> None:
        super().__init__()
        self.films = nn.Embedding(FILMS + 1, 64, padding_idx=0)
        self.gru = nn.GRU(64, 64, batch_first=True)
        self.head = nn.Linear(64, FILMS + 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, positions, films + 1)."""
        z: Tensor = self.head(self.gru(self.films(x))[0])
        return z


class LetterGRU(nn.Module):
    """A language model of letters: a GRU, which at each position has read the letters before the one it guesses."""

    def __init__(self) -> None:
        super().__init__()
        self.letters = nn.Embedding(LETTERS, 32)
        self.gru = nn.GRU(32, 128, batch_first=True)
        self.head = nn.Linear(128, LETTERS)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, positions, letters)."""
        z: Tensor = self.head(self.gru(self.letters(x))[0])
        return z


def sequence_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of the classes at all positions that count."""
    return F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=IGNORED)


@dataclass(frozen=True)
class LossFit(Fit):
    """As `Fit` with Adam, by another loss than that of classes; its own class, so that models of `Fit` keep their keys.

    `loss` is called with what the model gives and the targets.
    """

    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy

    def passes(self, model: nn.Module, x: Tensor, y: Tensor, seed: int) -> Iterator[float]:
        """Train, and give the mean training loss after each epoch."""
        device = next(model.parameters()).device
        order = torch.Generator().manual_seed(seed)
        optimiser = self._optimiser(model)
        for _ in range(self.epochs):
            model.train()
            total = 0.0
            for rows in torch.randperm(len(x), generator=order).split(self.batch):
                optimiser.zero_grad()
                loss = self.loss(model(x[rows].to(device)), y[rows].to(device))
                loss.backward()
                optimiser.step()
                total += float(loss.detach()) * len(rows)
            yield total / len(x)
