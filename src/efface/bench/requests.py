"""Kinds of deletion requests on a problem of the benchmark, and the models that each is judged by."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from torch import Tensor, nn

from efface.bench.problems import Problem
from efface.data.records import Records
from efface.ensembles import ModelSpec, Training, train_ensemble
from efface.models import logits_of
from efface.numerics.logits import margin
from efface.runtime import Meter
from efface.task import Task
from efface.types import Floats, Indices

HALVES = 8  # models on random halves that the memorised records are chosen by
HALVES_SEED, RETRAINED_SEED = 9000, 1000  # originals have the seeds from 0
CLASS = 3  # of a class request at draw 0; another draw takes another class
PARTS = 4  # requests of a sequence
KINDS = ("random", "memorised", "flipped", "class", "cluster", "sequence")
SHARE = 0.01  # of the training records, where a suite does not say


@dataclass(frozen=True)
class Asked:
    """Training records to forget, in the parts that they are asked for in, and the task."""

    problem: Problem
    task: Task
    parts: tuple[Indices, ...]

    @property
    def forget(self) -> Indices:
        """All of them, sorted."""
        return np.sort(np.concatenate(self.parts))

    @property
    def records(self) -> int:
        """Number of training records."""
        return len(self.task.train)  # type: ignore[arg-type]

    @property
    def kept(self) -> Indices:
        """The retain set."""
        return np.setdiff1d(np.arange(self.records), self.forget)


def ask(problem: Problem, records: int, kind: str, share: float, draw: int, cache: Path) -> Asked:
    """Draw a request: another `draw` takes other records.

    random: drawn at random. memorised: a third of the records that models most know only if they saw them, three times
    as many as asked for, by eight models on random halves. flipped: drawn at random, with wrong labels in the training
    set. class: all records of a class. cluster: a cluster of inputs of about
    twice the size asked for. sequence: as random,
    asked for in four requests in turn.
    """
    task, rng, data = problem.task(records), np.random.default_rng([draw, 7]), problem.load()
    size = max(1, round(share * records))
    if kind == "memorised":
        score = _memorisation(problem, records, cache)
        return Asked(problem, task, (np.sort(np.argsort(-score)[: 3 * size][draw % 3 :: 3]),))
    if kind == "class":
        return Asked(problem, task, (np.flatnonzero((data.y[:records] == CLASS + draw).numpy()),))
    if kind == "cluster":
        inside = PCA(min(32, data.x[0].numel()), random_state=0).fit_transform(_described(data.x[:records]))
        label = KMeans(max(2, round(0.5 / share)), n_init=1, random_state=draw).fit_predict(inside)
        nearest = np.argsort(abs(np.bincount(label) - 2 * size))[0]
        return Asked(problem, task, (np.flatnonzero(label == nearest),))
    drawn = np.sort(rng.choice(records, size, replace=False))
    if kind == "flipped":
        y = data.y[:records].clone()
        y[drawn] = (y[drawn] + torch.from_numpy(rng.integers(1, data.classes, size))) % data.classes
        return Asked(problem, problem.task(records, y), (drawn,))
    if kind == "sequence":
        parts = np.array_split(np.random.default_rng(3).permutation(drawn), PARTS)
        return Asked(problem, task, tuple(np.sort(p) for p in parts))
    return Asked(problem, task, (drawn,))


def originals(asked: Asked, count: int, cache: Path) -> list[nn.Module]:
    """Models trained on all records, the same for all requests that change no label."""
    return trained(asked, [np.arange(asked.records)] * count, 0, cache)


def retrained(asked: Asked, count: int, cache: Path) -> list[nn.Module]:
    """Models trained without the forget records."""
    return trained(asked, [asked.kept] * count, RETRAINED_SEED, cache)


def trained(asked: Asked, positions: list[Indices], seed: int, cache: Path) -> list[nn.Module]:
    """One model for each of the sets of training records, with seeds from `seed` on, in this process."""
    specs = [ModelSpec(None, at, seed + i) for i, at in enumerate(positions)]
    training = Training(cache=cache, jobs=1, progress=False)
    return train_ensemble(asked.task, asked.problem.build(), specs, training, Meter()).models


def half_models(problem: Problem, records: int, cache: Path) -> tuple[NDArray[np.bool_], list[nn.Module]]:
    """Models on random halves of the training records, and who was in which: (models, records)."""
    rng = np.random.default_rng(99)
    inside = np.stack([rng.permutation(np.arange(records) % 2 == 0) for _ in range(HALVES)])
    whole = Asked(problem, problem.task(records), (np.arange(0),))
    return inside, trained(whole, [np.flatnonzero(row) for row in inside], HALVES_SEED, cache)


def _memorisation(problem: Problem, records: int, cache: Path) -> Floats:
    """How much higher a record's margin is in models that saw it: (records,)."""
    inside, models = half_models(problem, records, cache)
    task = problem.task(records)
    z = torch.stack([_margins(task, m) for m in models]).numpy()
    saw, missed = inside.sum(0), (~inside).sum(0)
    score: Floats = (z * inside).sum(0) / saw.clip(1) - (z * ~inside).sum(0) / missed.clip(1)
    score[(saw < 2) | (missed < 2)] = -np.inf
    return score


def _margins(task: Task, model: nn.Module) -> Tensor:
    data = Records(task.train, task)
    every = np.arange(len(data))
    return margin(logits_of(task, model, data, every, Meter()), data.targets(every))


def _described(x: Tensor) -> Floats:
    """Inputs as vectors that distance makes sense of: words as normalised roots of their counts."""
    if x.is_floating_point():
        flat: Floats = x.flatten(1).numpy()
        return flat
    counts = torch.zeros(len(x), int(x.max()) + 1).scatter_add_(1, x, torch.ones(x.shape))
    counts[:, 0] = 0
    words: Floats = torch.nn.functional.normalize(counts.sqrt(), dim=1).numpy()
    return words
