"""What tests of a method's first update need: its problem, short runs, and gradients and steps computed apart."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from efface import Result, Task
from efface.data.records import Records
from efface.data.splits import make_splits
from efface.methods import Method
from efface.methods.adversarial import label_first
from efface.methods.base import Problem
from efface.runtime.cost import Meter
from helpers.calls import unlearn
from helpers.tiny import Tiny, mlp

ALL = 100_000  # a batch that takes every record, so that nothing depends on how they are drawn


def problem_of(tiny: Tiny, model: nn.Module, task: Task | None = None, forget_classes: tuple[int, ...] = ()) -> Problem:
    """What a method would get of the tiny problem."""
    task = task or tiny.task()
    splits = make_splits(np.array(tiny.forget), len(tiny.x), len(tiny.holdout_x), seed=0)
    return Problem(
        task=task,
        given=task,
        model=copy.deepcopy(model),
        original=model,
        train=Records(task.train, task),
        holdout=Records(task.holdout, task),
        forget=splits.forget,
        retain=np.setdiff1d(splits.retain, splits.audit_reference),
        all_retain=splits.retain,
        calibration=splits.calibration,
        forget_classes=forget_classes,
        counterfactual=lambda: pytest.fail("the reference model is not for this method"),
        seed=0,
        meter=Meter(),
    )


def read_by(result: Result) -> Tensor:
    """The retain records that the method could read."""
    return torch.from_numpy(np.setdiff1d(result.splits.retain, result.splits.audit_reference))


def stepped(model: nn.Module, loss: Tensor, lr: float) -> None:
    """Gradient descent, by hand."""
    found = torch.autograd.grad(loss, list(model.parameters()))
    with torch.no_grad():
        for p, g in zip(model.parameters(), found, strict=True):
            p -= lr * g


def same(found: nn.Module, wanted: nn.Module, atol: float = 1e-6) -> bool:
    pairs = zip(found.parameters(), wanted.parameters(), strict=True)
    return all(torch.allclose(a, b, atol=atol, rtol=1e-5) for a, b in pairs)


def small(tiny: Tiny) -> nn.Module:
    """A network that fits some of the records, so that no gradient is negligible."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = mlp(8)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(40):
        optimiser.zero_grad()
        F.cross_entropy(model(tiny.x), tiny.y).backward()
        optimiser.step()
    return model.eval()


def in_double(tiny: Tiny) -> Tiny:
    """The problem in float64, with a small network; efface still reads logits as float32."""
    return replace(tiny, model=small(tiny).double(), x=tiny.x.double(), holdout_x=tiny.holdout_x.double())


def close(moved: Tensor, wanted: Tensor, share: float = 1e-5) -> bool:
    """Whether an update is the wanted one, but for a share of its length."""
    return bool(wanted.norm() > 0 and (moved - wanted).norm() < share * wanted.norm())


def flat(model: nn.Module) -> Tensor:
    return parameters_to_vector(model.parameters()).detach()


def slope(model: nn.Module, loss: Tensor) -> Tensor:
    """Gradient of a loss, flat."""
    return torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(model.parameters()))])


def slopes(model: nn.Module, tiny: Tiny, rows: Any) -> list[Tensor]:
    """Gradients of the mean cross-entropy of some training records, one a parameter."""
    loss = F.cross_entropy(model(tiny.x[list(rows)]), tiny.y[list(rows)])
    return list(torch.autograd.grad(loss, list(model.parameters())))


def unlearned(tiny: Tiny, model: nn.Module, method: Method, **more: Any) -> tuple[Result, Tensor]:
    """A run without evaluations, of a model that may be untrained, and the retain records that it may read."""
    call = {"forget": tiny.forget, "task": tiny.task(), "evaluate": False, "checks": False}
    result = unlearn(model, method=method, **{**call, **more})
    return result, read_by(result)


def slow_label_first(z: Tensor, y: Tensor) -> Tensor:
    """Centred logits, the label's first and the others from the highest down, row by row."""
    rows = []
    for one, target in zip(z - z.mean(1, keepdim=True), y.tolist(), strict=True):
        others = sorted((c for c in range(len(one)) if c != target), key=lambda c: -one[c].item())
        rows.append(torch.stack([one[c] for c in (target, *others)]))
    return torch.stack(rows)


def outputs(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        return label_first(model(x), y)


def slow_kl(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """Mean of sum p log(p / q), times the squared temperature, row by row."""
    rows = []
    for t, s in zip(teacher.detach(), student, strict=True):
        p, q = (t / temperature).softmax(0), (s / temperature).softmax(0)
        rows.append(sum(p[c] * (p[c].log() - q[c].log()) for c in range(len(p))))
    return torch.stack(rows).mean() * temperature**2


def adam(before: Tensor, slopes: list[Tensor], lr: float) -> Tensor:
    """Weights after a step of Adam for each slope, which may depend on nothing but its number."""
    first, second, w = torch.zeros_like(before), torch.zeros_like(before), before.clone()
    for k, g in enumerate(slopes, start=1):
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g**2
        w = w - lr * (first / (1 - 0.9**k)) / ((second / (1 - 0.999**k)).sqrt() + 1e-8)
    return w


def placed(model: nn.Module, w: Tensor) -> nn.Module:
    twin = copy.deepcopy(model)
    nn.utils.vector_to_parameters(w, twin.parameters())
    return twin


def steady(slopes: Tensor) -> Tensor:
    """Where a slope is far enough from zero for Adam's first step not to hang on its rounding."""
    return slopes.abs() > 1e-4 * slopes.abs().max()
