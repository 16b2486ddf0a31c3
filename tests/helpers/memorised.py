"""A memorised problem that is audited in a fraction of a second, with models retrained without the forget set."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import efface
from efface import Report, Result, Task
from helpers.audits import audited
from helpers.tiny import REFERENCE, memorise, mlp, records

TRAIN, HOLDOUT = 800, 400
FORGET = tuple(range(3, TRAIN, 16))


@dataclass(frozen=True)
class Memorised:
    """800 records, a fifth with random labels, all known by heart; `retrained` are trained without the 50 of FORGET."""

    x: Tensor
    y: Tensor
    task: Task
    original: nn.Module
    retrained: tuple[nn.Module, ...]
    noop: Result
    steered: Result

    def audit(self, result: Result | None = None, **changes: Any) -> Report:
        """An audit by small references; without a result, of the original as the unlearned model."""
        pair = {"original": self.original, "unlearned": self.original, "forget": FORGET, "task": self.task}
        return audited(result, **{**(pair if result is None else {}), "recipe": REFERENCE, **changes})


def make_memorised() -> Memorised:
    (x, y), held, test = records(TRAIN, seed=10), records(HOLDOUT, seed=11), records(HOLDOUT, seed=12)
    keep = np.setdiff1d(np.arange(TRAIN), FORGET)
    models = []
    for seed, rows in enumerate([np.arange(TRAIN), *[keep] * 4]):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            models.append(memorise(mlp(64), x[rows], y[rows], steps=250))
    task = Task(train=TensorDataset(x, y), holdout=TensorDataset(*held), test=TensorDataset(*test))
    noop = efface.unlearn(models[0], forget=FORGET, task=task, method="noop")
    small = efface.methods.get("steer", {"rounds": "2", "steps": "10"})
    steered = efface.unlearn(
        models[0], forget=FORGET, task=task, method=small, options=efface.UnlearnOptions(reference=REFERENCE)
    )
    return Memorised(x, y, task, models[0], tuple(models[1:]), noop, steered)


def readings(report: Report, key: str, group: str = "all") -> dict[str, Any]:
    rows = [m for m in report.metrics if (m.key, m.records) == (key, group)]
    assert len(rows) == 1, f"{len(rows)} rows {key} of {group}"
    return {who: getattr(rows[0], who) for who in ("original", "unlearned", "retrained")}
