"""Kinds of requests on a data set of three_sets.py, and the models that each is judged by."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from three_sets import Records
from torch import Tensor

import efface
from efface.data.records import Records as Readable
from efface.ensembles import Plan, train_ensemble
from efface.models import Recipe, logits_of
from efface.numerics.logits import margin
from efface.runtime import Meter

HALVES = 8  # models on random halves that the memorised records are chosen by
CLASS = {"fashion": 3, "news": 7}  # adult has two classes: without one nothing is left to tell apart


@dataclass(frozen=True)
class Request:
    """Positions to forget, and the task, whose labels some requests have changed."""

    task: efface.Task
    forget: np.ndarray


def request(name: str, records: Records, kind: str, draw: int, cache: Path) -> Request:
    rng = np.random.default_rng([draw, 7])
    n, task = records.train, records.task()
    if kind.startswith("random"):  # random1, random10, random.5
        size = round(n * float(kind.removeprefix("random")) / 100)
        return Request(task, np.sort(rng.choice(n, size, replace=False)))
    if kind == "flipped":
        at = np.sort(rng.choice(n, n // 100, replace=False))
        classes = int(records.y.max()) + 1
        y = records.y[:n].clone()
        y[at] = (y[at] + torch.from_numpy(rng.integers(1, classes, len(at)))) % classes
        return Request(records.task(y), at)
    if kind == "memorised":
        score = memorisation(records, cache)
        # the draw takes one of every three of the most memorised 3 %
        top = np.argsort(-score)[: 3 * (n // 100)]
        return Request(task, np.sort(top[draw % 3 :: 3]))
    if kind == "class":
        return Request(task, np.flatnonzero((records.y[:n] == CLASS[name] + draw).numpy()))
    if kind == "cluster":
        flat = described(name, records)
        inside = PCA(32, random_state=0).fit_transform(flat)
        label = KMeans(50, n_init=1, random_state=draw).fit_predict(inside)
        sizes = np.bincount(label)
        return Request(task, np.flatnonzero(label == np.argsort(abs(sizes - n // 50))[0]))
    raise SystemExit(f"no kind of request {kind!r}")


def described(name: str, records: Records) -> np.ndarray:
    """Inputs as vectors that distance makes sense of."""
    x = records.x[: records.train]
    if name == "news":  # words as counts
        counts = torch.zeros(len(x), int(records.x.max()) + 1).scatter_add_(1, x, torch.ones(x.shape))
        counts[:, 0] = 0
        return torch.nn.functional.normalize(counts.sqrt(), dim=1).numpy()
    return x.flatten(1).float().numpy()


def memorisation(records: Records, cache: Path) -> np.ndarray:
    """How much higher a record's margin is in models that saw it: (records,), from models on random halves."""
    task, n = records.task(), records.train
    rng = np.random.default_rng(99)
    inside = np.stack([rng.permutation(np.arange(n) % 2 == 0) for _ in range(HALVES)])
    models = trained(task, records, [np.flatnonzero(row) for row in inside], range(9000, 9000 + HALVES), cache)
    z = torch.stack([margins(task, m) for m in models]).numpy()
    held = inside.sum(0).clip(1), (~inside).sum(0).clip(1)
    score = (z * inside).sum(0) / held[0] - (z * ~inside).sum(0) / held[1]
    score[(inside.sum(0) < 2) | ((~inside).sum(0) < 2)] = -np.inf
    return score


def margins(task: efface.Task, model: torch.nn.Module) -> Tensor:
    data = Readable(task.train, task)
    every = np.arange(len(data))
    return margin(logits_of(task, model, data, every, Meter()), data.targets(every))


def trained(task, records, positions, seeds, cache: Path):
    plans = [Plan(None, np.asarray(at), seed) for at, seed in zip(positions, seeds, strict=True)]
    done = train_ensemble(
        task,
        records.build(),
        plans,
        recipe=Recipe(),
        use_fit=True,
        meter=Meter(),
        cache=cache,
        progress=False,
    )
    return done.models


def originals(asked: Request, records: Records, count: int, cache: Path):
    return trained(asked.task, records, [np.arange(records.train)] * count, range(count), cache)


def retrained(asked: Request, records: Records, count: int, cache: Path):
    kept = np.setdiff1d(np.arange(records.train), asked.forget)
    return trained(asked.task, records, [kept] * count, range(1000, 1000 + count), cache)
