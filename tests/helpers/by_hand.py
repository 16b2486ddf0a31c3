"""What tests of a method's first update need: its problem, a run without looks, and plain descent by hand."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import efface
from efface import Task
from efface.data.records import Records
from efface.data.splits import make_splits
from efface.methods import Method
from efface.methods.base import Problem
from efface.runtime.cost import Meter
from helpers.tiny import Tiny

ALL = 100_000  # a batch that takes every record


def problem_of(tiny: Tiny, model: nn.Module, task: Task | None = None, forget_classes: tuple[int, ...] = ()) -> Problem:
    """What a method would get of the tiny problem."""
    task = task or tiny.task()
    splits = make_splits(np.array(tiny.forget), len(tiny.x), len(tiny.holdout_x), seed=0)
    return Problem(
        task=task,
        model=copy.deepcopy(model),
        original=model,
        train=Records(task.train, task),
        holdout=Records(task.holdout, task),
        forget=splits.forget,
        retain=np.setdiff1d(splits.retain, splits.audit_reference),
        everything_kept=splits.retain,
        calibration=splits.calibration,
        forget_classes=forget_classes,
        expected=lambda: pytest.fail("the reference model is not for this method"),
        seed=0,
        meter=Meter(),
    )


def unlearned(tiny: Tiny, method: Method, model: nn.Module | None = None) -> efface.Result:
    return efface.unlearn(
        model or tiny.model,
        forget=tiny.forget,
        task=tiny.task(),
        method=method,
        options=efface.UnlearnOptions(evaluate=False),
    )


def read_by(result: efface.Result) -> Tensor:
    return torch.from_numpy(np.setdiff1d(result.splits.retain, result.splits.audit_reference))


def stepped(model: nn.Module, loss: Tensor, lr: float) -> None:
    """Plain gradient descent, by hand."""
    found = torch.autograd.grad(loss, list(model.parameters()))
    with torch.no_grad():
        for p, g in zip(model.parameters(), found, strict=True):
            p -= lr * g


def same(ours: nn.Module, wanted: nn.Module, atol: float = 1e-6) -> bool:
    pairs = zip(ours.parameters(), wanted.parameters(), strict=True)
    return all(torch.allclose(a, b, atol=atol, rtol=1e-5) for a, b in pairs)
