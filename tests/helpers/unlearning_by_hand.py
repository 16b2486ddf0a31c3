"""Short runs of methods, and their gradients computed apart."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from efface import Result
from efface.methods import Method
from efface.methods.adversarial import label_first
from helpers.calls import unlearn
from helpers.tiny import Tiny, mlp

ALL = 100_000  # a batch that takes every record, so that nothing depends on how they are drawn


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
    """A run without evaluations, and the retain records that it may read."""
    plain = {"forget": tiny.forget, "task": tiny.task(), "evaluate": False}
    result = unlearn(model, method=method, **{**plain, **more})
    return result, torch.from_numpy(np.setdiff1d(result.splits.retain, result.splits.audit_reference))


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
