"""What is trained in the benchmark: data sets, networks and lengths of training, each under one key."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from benchmarks.harness import kind_networks, kind_sets, networks, sets
from benchmarks.harness.kind_networks import LossFit, sequence_loss
from benchmarks.harness.networks import LEVELS, Fit
from benchmarks.harness.sets import NUMBERS, Data
from efface.errors import RequestError
from efface.kinds import CLASSES, Kind, MultiLabel, Regression, Tokens
from efface.runtime.options import nearest
from efface.task import Task

MAX_USUAL = 15_000
KNOWN = 0.98  # share of its own records that a model knows at the full length of training


@dataclass(frozen=True)
class Problem:
    """A data set, a network and a recipe.

    `epochs` is the length of training, per number of training records: the first epoch after which a model knows 98 %
    of its own records or, where it does not get there, the last one before its training loss has stopped falling.
    `early` is the epoch of the best accuracy on the holdout. Both are what `python -m benchmarks lengths` prints.
    """

    key: str
    load: Callable[[], Data]
    build: Callable[[], nn.Module]
    holdout: int
    test: int
    epochs: dict[int, int]
    early: dict[int, int]
    lr: float = 1e-3
    decay: float = 0.0
    batch: int = 128
    momentum: float | None = None
    perturb: Callable[[Any, torch.Generator], Any] | None = None
    nonmembers: str = "test"  # never-seen records that the loss attack compares with: test, or holdout
    rules: Kind = CLASSES
    loss: Callable[[Tensor, Tensor], Tensor] | None = (
        None  # of what the network gives and the targets; None: of classes
    )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of training records that it comes in."""
        return tuple(self.epochs)

    @property
    def usual(self) -> int:
        """The number of training records where a suite does not say."""
        return max([n for n in self.epochs if n <= MAX_USUAL] or [min(self.epochs)])

    def fit(self, records: int) -> Fit:
        """The recipe for so many training records."""
        recipe = (self.epochs[records], self.lr, self.decay, self.batch, self.momentum)
        return Fit(*recipe) if self.loss is None else LossFit(*recipe, self.loss)

    def task(self, records: int, y: Tensor | None = None) -> Task:
        """The task with so many training records, and with other training labels `y` where they are given.

        Its kind is stated where it is not classes, which efface finds.
        """
        data, n, m = self.load(), records, self.holdout
        own = data.y[:n] if y is None else y
        # so that the holdout and test records are the same at every size
        rest = data.x[-(m + self.test) :], data.y[-(m + self.test) :]
        return Task(
            train=TensorDataset(data.x[:n], own),
            holdout=TensorDataset(rest[0][:m], rest[1][:m]),
            test=TensorDataset(rest[0][m:], rest[1][m:]),
            build_model=self.build,
            fit=self.fit(records),
            perturb=self.perturb,
            kind=None if self.rules is CLASSES else self.rules.measured(self.rules.labels(own)),
        )


def jitter(x: Tensor, generator: torch.Generator) -> Tensor:
    """Noise on the numbers of a row of Adult, which have variance 1."""
    x = x.clone()
    x[:, : len(NUMBERS)] += 0.1 * torch.randn(x[:, : len(NUMBERS)].shape, generator=generator)
    return x


def nudge(x: Tensor, generator: torch.Generator) -> Tensor:
    """One number of Letter in ten moved by one."""
    moved = torch.rand(x.shape, generator=generator) < 0.1
    return (x + moved * (2.0 * torch.randint(2, x.shape, generator=generator) - 1)).clamp(0, LEVELS - 1)


def waver(x: Tensor, generator: torch.Generator) -> Tensor:
    """One number of a pen's stroke in ten moved by ten of a hundred."""
    moved = torch.rand(x.shape, generator=generator) < 0.1
    return (x + moved * (20.0 * torch.randint(2, x.shape, generator=generator) - 10)).clamp(0, 100)


def drop_words(x: Tensor, generator: torch.Generator) -> Tensor:
    """One word in ten left out, or one film or letter."""
    return x.where(torch.rand(x.shape, generator=generator) > 0.1, 0)


PROBLEMS: dict[str, Problem] = {
    p.key: p
    for p in (
        Problem(
            "mnist",
            sets.mnist,
            networks.cnn,
            5000,
            5000,
            {5000: 10, 15000: 7, 60000: 2},
            {5000: 10, 15000: 7, 60000: 2},
        ),
        Problem(
            "fashion",
            sets.fashion,
            networks.cnn,
            5000,
            4800,
            {5000: 44, 15000: 33, 60000: 26},
            {5000: 21, 15000: 26, 60000: 26},
        ),
        # with 5,000 and 15,000 records the rule allows 97 and 140 epochs (98 % is never known); 60 is a cautious length
        Problem(
            "adult",
            sets.adult,
            networks.AdultMLP,
            5000,
            5000,
            {5000: 60, 15000: 60, 38000: 60},
            {5000: 11, 15000: 9, 38000: 10},
            perturb=jitter,
        ),
        Problem(
            "letter",
            sets.letter,
            networks.LetterMLP,
            3000,
            3100,
            {5000: 114, 12500: 65},
            {5000: 99, 12500: 65},
            perturb=nudge,
        ),
        Problem(
            "news",
            sets.news,
            networks.NewsBag,
            3500,
            2700,
            {5000: 26, 12500: 19},
            {5000: 26, 12500: 19},
            perturb=drop_words,
        ),
        Problem("fashion-resnet", sets.fashion, networks.resnet, 5000, 4800, {5000: 9}, {5000: 9}),
        Problem(
            "letter-transformer",
            sets.letter,
            networks.LetterTransformer,
            3000,
            3100,
            {5000: 77},
            {5000: 74},
            perturb=nudge,
        ),
        Problem(
            "fashion-regularised",
            sets.fashion,
            networks.regularised_cnn,
            5000,
            4800,
            {5000: 92},
            {5000: 89},
            decay=0.01,
        ),
        Problem("fashion-batchnorm", sets.fashion, networks.batchnorm_cnn, 5000, 4800, {5000: 16}, {5000: 10}),
        Problem("fashion-mlp", sets.fashion, networks.picture_mlp, 5000, 4800, {15000: 30}, {15000: 14}),
        # the rule says 7 epochs, which teach 98 %; accuracy on the holdout rises until 30
        Problem("pendigits", sets.pendigits, networks.PenMLP, 2000, 1900, {7000: 30}, {7000: 30}, perturb=waver),
        # of a public comparison of tools, whose length of training is given; the test records have clean labels
        Problem(
            "noisy-digits",
            sets.noisy_digits,
            networks.digits_cnn,
            600,
            597,
            {200: 60, 600: 60},
            {200: 60, 600: 60},
            lr=0.05,
            decay=5e-4,
            batch=32,
            momentum=0.9,
            nonmembers="holdout",
        ),
        # lengths by which models are surely better on their own records than on others; the rule is one of classes
        Problem(
            "houses",
            kind_sets.california,
            kind_networks.house_mlp,
            4000,
            4000,
            {10000: 100},
            {10000: 30},
            lr=2e-3,
            batch=256,
            rules=Regression(),
            loss=F.mse_loss,
        ),
        Problem(
            "topics",
            kind_sets.reuters,
            kind_networks.TopicBag,
            2000,
            2000,
            {6000: 50},
            {6000: 25},
            lr=3e-3,
            perturb=drop_words,
            rules=MultiLabel(),
            loss=F.binary_cross_entropy_with_logits,
        ),
        Problem(
            "films",
            kind_sets.sessions,
            kind_networks.FilmGRU,
            550,
            600,
            {3000: 8},
            {3000: 4},
            lr=4e-3,
            batch=64,
            perturb=drop_words,
            rules=Tokens(),
            loss=sequence_loss,
        ),
        Problem(
            "text",
            kind_sets.letters,
            kind_networks.LetterGRU,
            1500,
            1500,
            {2000: 14},
            {2000: 10},
            lr=5e-3,
            batch=64,
            perturb=drop_words,
            rules=Tokens(),
            loss=sequence_loss,
        ),
        # a loader for a local folder; nothing here was run on it, and its length is a guess
        Problem("cifar10", sets.cifar10, networks.cifar_cnn, 5000, 4800, {50000: 30}, {50000: 30}),
    )
}


def problem(key: str) -> Problem:
    """The problem of that key; RequestError for an unknown one, with the nearest known."""
    if key not in PROBLEMS:
        raise RequestError(f"there is no problem {key!r} ({nearest(key, list(PROBLEMS))})")
    return PROBLEMS[key]
