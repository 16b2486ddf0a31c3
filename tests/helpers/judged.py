"""Audits that several tests look at: a small problem with a fast Task.fit, each audit of it made once a session."""

import atexit
import copy
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from efface import Report, Result, Task
from efface.data.records import Records
from efface.models.training import retrain
from efface.runtime.cost import Meter
from helpers.audits import audited
from helpers.calls import unlearn
from helpers.tiny import FEATURES, REFERENCE, memorise, mlp
from helpers.tiny import records as noisy_records

TRAIN, HOLDOUT, TEST, WIDTH = 480, 400, 300, 48
FORGET = tuple(range(4, 444, 11))  # 40 records of all classes
MODELS = 8
GONE = 0  # the class of the class request


def fit(model: nn.Module, dataset: Dataset[Any], seed: int) -> None:
    """Know the records by heart, a tenth of a second a model; at the top level, so that workers can find it."""
    rows = [dataset[i] for i in range(len(dataset))]  # type: ignore[arg-type]
    x, y = (torch.stack([torch.as_tensor(r[k]) for r in rows]) for k in (0, 1))
    memorise(model, x, y, steps=100)


@dataclass(frozen=True)
class Judged:
    """A problem whose records the original knows by heart, and the one place where its audits are kept."""

    x: Tensor
    y: Tensor
    task: Task
    original: nn.Module
    forget: tuple[int, ...]

    def without(self, seed: int) -> nn.Module:
        """A model trained as the original was, without the forget set."""
        keep = np.setdiff1d(np.arange(len(self.y)), self.forget)
        return retrain(self.task, self.original, keep, seed, Meter(), REFERENCE)

    def unlearned(self, method: str, **changes: Any) -> Result:
        return unlearn(
            self.original, forget=self.forget, method=method, reference=REFERENCE, **{"task": self.task, **changes}
        )

    def audit(self, result: Result | None = None, **changes: Any) -> Report:
        """An audit by two small references; without a result, of the original as the unlearned model."""
        pair = {"original": self.original, "unlearned": self.original, "forget": self.forget, "task": self.task}
        common = {"recipe": REFERENCE, "references": 2, "models": MODELS, "jobs": 1, "progress": False}
        return audited(result, **{**common, **(pair if result is None else {}), **changes})


def _judged(x: Tensor, y: Tensor, task: Task, forget: tuple[int, ...]) -> Judged:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        original = mlp(WIDTH)
    whole = Judged(x, y, task, original, ())
    return Judged(x, y, task, whole.without(seed=77), forget)


@cache
def problem() -> Judged:
    """A fifth of the labels at random; `forget` are 40 records."""
    (x, y), held, test = (noisy_records(n, seed=s) for n, s in ((TRAIN, 20), (HOLDOUT, 21), (TEST, 22)))
    task = Task(train=TensorDataset(x, y), holdout=TensorDataset(*held), test=TensorDataset(*test), fit=fit)
    return _judged(x, y, task, FORGET)


def _of_classes(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """An eighth of the records in class GONE, the others in two more; a tenth of those have the other's label."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.where(torch.arange(n) % 8 == 0, GONE, 1 + torch.arange(n) % 2)
    x = torch.randn(n, FEATURES, generator=generator)
    x[torch.arange(n), y] += 2.5
    wrong = (torch.rand(n, generator=generator) < 0.1) & (y != GONE)
    return x, torch.where(wrong, 3 - y, y)


@cache
def class_problem() -> Judged:
    """A request for every record of one class."""
    (x, y), held = _of_classes(TRAIN, 30), _of_classes(2 * HOLDOUT, 31)
    task = Task(train=TensorDataset(x, y), holdout=TensorDataset(*held), fit=fit)
    return _judged(x, y, task, tuple((y == GONE).nonzero().flatten().tolist()))


KEPT = TemporaryDirectory(prefix="efface-judged-", ignore_cleanup_errors=True)
atexit.register(KEPT.cleanup)  # before the interpreter warns of a folder that it has to remove itself


def kept_models() -> Path:
    """The folder in which the ensembles of this session are kept."""
    return Path(KEPT.name)


@cache
def strong(method: str) -> Report:
    """The strong audit of a run of `method`, with everything trained for it in `kept_models`."""
    judged = problem()
    return judged.audit(judged.unlearned(method), level="strong", cache=kept_models())


@cache
def alone() -> Report:
    """A strong audit of a model retrained elsewhere, of which no method is known."""
    judged = problem()
    return judged.audit(unlearned=judged.without(seed=5), level="strong", cache=kept_models())


def stable(report: Report) -> dict[str, Any]:
    """The document without what time, load and the state of the clone decide, or where the models came from."""
    document = {k: v for k, v in report.document.items() if k not in ("created", "cost", "git")}
    if document["ensembles"] is not None:
        document["ensembles"] = {k: v for k, v in document["ensembles"].items() if k not in ("cpu_s", "found")}
    return document


def reordered(judged: Judged, order: Any) -> Task:
    """The task with its holdout records in another order."""
    x, y = judged.task.holdout.tensors  # type: ignore[attr-defined]
    return replace(judged.task, holdout=TensorDataset(x[order], y[order]))


def tune(model: nn.Module, x: Tensor, y: Tensor, steps: int = 60) -> nn.Module:
    """A copy of a model, trained further."""
    return memorise(copy.deepcopy(model), x, y, steps=steps, lr=3e-3)


def records_of(judged: Judged) -> Records:
    return Records(judged.task.train, judged.task)
