"""Kinds of deletion requests on a problem of the benchmark, and the models that each is judged by."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from torch import Tensor, nn

from benchmarks.harness.problems import Problem
from efface.data.records import Records
from efface.models.ensembles import ModelSpec, Training, train_ensemble
from efface.models.running import logits_of
from efface.runtime.cost import Meter
from efface.task import Task
from efface.types import Floats, Indices

HALVES = 8  # models on random halves that the memorised records are chosen by
HALVES_SEED, RETRAINED_SEED = 9000, 1000  # originals have the seeds from 0
CLASS = 3  # of a class request at draw 0; another draw takes another class
PARTS = 4  # requests of a sequence
KINDS = ("random", "memorised", "flipped", "class", "cluster", "sequence")
OF_CLASSES = ("flipped", "class")  # those that only a problem with classes has
SHARE = 0.01  # of the training records, where a suite does not say


@dataclass(frozen=True)
class BenchRequest:
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
        return len(self.task.train)

    @property
    def retain(self) -> Indices:
        """The retain set."""
        return np.setdiff1d(np.arange(self.records), self.forget)


def make_request(problem: Problem, records: int, kind: str, share: float, draw: int, cache: Path) -> BenchRequest:
    """Draw a request.

    Args:
        problem: whose training records to forget.
        records: number of training records.
        kind: random: drawn at random. memorised: a third of three times as many records, those that models most know
            only if they saw them, by eight models on random halves. flipped: drawn at random, with wrong labels in the
            training set. class: all records of a class. cluster: a cluster of inputs of about twice the size asked
            for. sequence: as random, in four requests in turn.
        share: of the training records, to forget.
        draw: another one takes other records.
        cache: folder of the models by which memorised records are chosen.

    Returns:
        The request, with the task in which it is made.
    """
    task, rng, data = problem.task(records), np.random.default_rng([draw, 7]), problem.load()
    size = max(1, round(share * records))
    if kind == "memorised":
        score = memorisation_scores(problem, records, cache)
        return BenchRequest(problem, task, (np.sort(np.argsort(-score)[: 3 * size][draw % 3 :: 3]),))
    if kind == "class":
        return BenchRequest(problem, task, (np.flatnonzero((data.y[:records] == CLASS + draw).numpy()),))
    if kind == "cluster":
        inside = PCA(min(32, data.x[0].numel()), random_state=0).fit_transform(_described(data.x[:records]))
        label = KMeans(max(2, round(0.5 / share)), n_init=1, random_state=draw).fit_predict(inside)
        nearest = np.argsort(abs(np.bincount(label) - 2 * size))[0]
        return BenchRequest(problem, task, (np.flatnonzero(label == nearest),))
    drawn = np.sort(rng.choice(records, size, replace=False))
    if kind == "flipped":
        y = data.y[:records].clone()
        y[drawn] = (y[drawn] + torch.from_numpy(rng.integers(1, data.classes, size))) % data.classes
        return BenchRequest(problem, problem.task(records, y), (drawn,))
    if kind == "sequence":
        parts = np.array_split(np.random.default_rng(3).permutation(drawn), PARTS)
        return BenchRequest(problem, task, tuple(np.sort(p) for p in parts))
    return BenchRequest(problem, task, (drawn,))


def train_originals(request: BenchRequest, count: int, cache: Path) -> list[nn.Module]:
    """Models trained on all records, the same for all requests that change no label."""
    return train_models(request, [np.arange(request.records)] * count, 0, cache)


def train_retrained(request: BenchRequest, count: int, cache: Path) -> list[nn.Module]:
    """Models trained without the forget records."""
    return train_models(request, [request.retain] * count, RETRAINED_SEED, cache)


def train_models(request: BenchRequest, positions: list[Indices], seed: int, cache: Path) -> list[nn.Module]:
    """One model for each of the sets of training records, with seeds from `seed` on, in this process."""
    specs = [ModelSpec(None, at, seed + i) for i, at in enumerate(positions)]
    training = Training(cache=cache, jobs=1, progress=False)
    return train_ensemble(request.task, request.problem.build(), specs, training, Meter()).models


def half_models(problem: Problem, records: int, cache: Path) -> tuple[NDArray[np.bool_], list[nn.Module]]:
    """Models on random halves of the training records, and who was in which: (models, records)."""
    rng = np.random.default_rng(99)
    inside = np.stack([rng.permutation(np.arange(records) % 2 == 0) for _ in range(HALVES)])
    whole = BenchRequest(problem, problem.task(records), (np.arange(0),))
    return inside, train_models(whole, [np.flatnonzero(row) for row in inside], HALVES_SEED, cache)


def memorisation_scores(problem: Problem, records: int, cache: Path) -> Floats:
    """How much higher a record's margin is in models that saw it: (records,)."""
    inside, models = half_models(problem, records, cache)
    task = problem.task(records)
    z = torch.stack([margins_of(task, m) for m in models]).numpy()
    saw, missed = inside.sum(0), (~inside).sum(0)
    score: Floats = (z * inside).sum(0) / saw.clip(1) - (z * ~inside).sum(0) / missed.clip(1)
    score[(saw < 2) | (missed < 2)] = -np.inf
    return score


def margins_of(task: Task, model: nn.Module) -> Tensor:
    """A model's margin on each training record."""
    data = Records(task.train, task)
    every = np.arange(len(data))
    return task.rules.margin(logits_of(task, model, data, every, Meter()), data.targets(every))


def _described(x: Tensor) -> Floats:
    """Inputs as vectors that distance makes sense of: words as normalised roots of their counts."""
    if x.is_floating_point():
        flat: Floats = x.flatten(1).numpy()
        return flat
    counts = torch.zeros(len(x), int(x.max()) + 1).scatter_add_(1, x, torch.ones(x.shape))
    counts[:, 0] = 0
    words: Floats = torch.nn.functional.normalize(counts.sqrt(), dim=1).numpy()
    return words
