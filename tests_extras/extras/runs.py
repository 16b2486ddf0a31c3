"""Small runs of unlearning, and what must hold after one."""

from typing import Any

import torch
from torch import nn

import efface
from efface.data.records import Records
from efface.models.running import logits_of
from efface.runtime.cost import Meter

SMALL = efface.UnlearnOptions(reference=efface.Recipe(epochs=1, lr=5e-3, batch=32, least_steps=100))
STEER = efface.methods.Steer(steps=12, travel=3.0)
FORGET = list(range(30))
UNLEARN = efface.unlearn  # which pages are run with another one in place of


def unlearn(model: nn.Module, task: efface.Task, **given: Any) -> efface.Result:
    """`efface.unlearn` by small options."""
    return UNLEARN(model, **{"task": task, "forget": FORGET, "method": STEER, "options": SMALL, **given})


def margins(model: nn.Module, task: efface.Task, at: list[int]) -> torch.Tensor:
    """How well a model knows some training records."""
    records = Records(task.eval_records or task.train, task)
    return task.rules.margin(logits_of(task, model, records, at, Meter()), records.targets(at))


def forgot(result: efface.Result) -> None:
    """The weights moved, the original's did not, and the forget set is known less well than before."""
    before, after = (margins(m, result.task, FORGET).mean() for m in (result.original, result.model))
    assert after < before - 0.1, (before, after)


def same_outputs(one: nn.Module, other: nn.Module, task: efface.Task) -> None:
    """Two models say the same of records."""
    records, at = Records(task.train, task), list(range(20))
    first, second = (logits_of(task, m, records, at, Meter()) for m in (one, other))
    assert torch.allclose(first, second, atol=1e-5)


def moved(one: nn.Module, other: nn.Module) -> set[str]:
    """The names of parameters in which two networks differ."""
    others = dict(other.named_parameters())
    return {name for name, p in one.named_parameters() if not torch.equal(p, others[name])}
