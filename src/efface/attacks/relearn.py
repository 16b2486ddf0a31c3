"""Relearn time: how fast a model relearns forget records, against never-seen records of equal difficulty."""

import copy
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from efface.data.records import Batch, Records
from efface.models.init import unfreeze
from efface.models.running import device_of, mode
from efface.runtime.cost import Meter
from efface.runtime.seeds import seeded
from efface.task import Task
from efface.types import Indices


@dataclass(frozen=True)
class RelearnOptions:
    """How a copy is fine-tuned: full-batch steps of Adam, their rate, and a seed for what model or data set draw.

    The rate is small, so that the whole curve counts and not its end: at 1e-3 the ratio is half as sharp.
    """

    steps: int = 30
    lr: float = 3e-4
    seed: int = 0


@dataclass(frozen=True)
class Relearn:
    """How one copy of a model learned forget records, and another the controls.

    Each curve holds the mean probability given to wrong classes, before each step and after the last.
    """

    forget: tuple[float, ...]
    controls: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Area under the curve of forget records over that of controls: near 1 without a trace, lower with one.

        To be compared with that of retrained models on the same controls, which are never quite as difficult. NaN
        where the controls leave no doubt.
        """
        # unlike a count of steps it is never cut off, and unlike a mean loss no handful of records decides it
        area = sum(self.controls)
        return sum(self.forget) / area if area else math.nan


def matched(difficulty: Tensor, candidates: Tensor, classes: Tensor, candidate_classes: Tensor) -> Tensor:
    """For each record the candidate of its class and of nearest difficulty; no candidate twice.

    The sum of the differences is least. A candidate is of another class only where a class runs short. Matching is
    needed since a handful of hard records decides how fast a set is learned, and one class is learned faster than many.

    Args:
        difficulty: Of each record (n,).
        candidates: Difficulty of each candidate (m,), m >= n.
        classes: Of each record (n,).
        candidate_classes: Of each candidate (m,).

    Returns:
        Rows of candidates (n,).
    """
    cost = (difficulty.double()[:, None] - candidates.double()).abs()
    # a pair of two classes costs more than all differences together
    cost += (float(cost.sum()) + 1) * (classes[:, None] != candidate_classes)
    return torch.from_numpy(linear_sum_assignment(cost.numpy())[1])


def relearn(
    task: Task,
    model: nn.Module,
    forget: tuple[Records, Indices],
    controls: tuple[Records, Indices],
    options: RelearnOptions | None = None,
    meter: Meter | None = None,
) -> Relearn:
    """Fine-tune one copy of `model` on forget records, and another on as many controls.

    In eval mode, so that every model takes the same steps.

    Args:
        task: How to run the model.
        model: Left as it is.
        forget: Records and the positions among them.
        controls: The same of records that the model never saw, `matched` to those of `forget`.
        options: By default those of `RelearnOptions`.
        meter: Counts the work.
    """
    options, meter = options or RelearnOptions(), meter or Meter()
    curves = (
        _doubts(task, model, list(records.stream(at, task.batch_size)), options, meter)
        for records, at in (forget, controls)
    )
    return Relearn(*curves)


def _doubts(
    task: Task, model: nn.Module, batches: list[Batch], options: RelearnOptions, meter: Meter
) -> tuple[float, ...]:
    learner, device, total = copy.deepcopy(model), device_of(model), sum(map(len, batches))
    steps = options.steps
    if not any(p.requires_grad for p in learner.parameters()):
        unfreeze(learner)
    optimiser = torch.optim.Adam([p for p in learner.parameters() if p.requires_grad], lr=options.lr)
    doubts = []
    with seeded(options.seed), mode(learner, training=False), torch.enable_grad():
        for step in range(steps + 1):
            optimiser.zero_grad()
            each = []
            for batch in batches:
                here = batch.to(device)
                loss = F.cross_entropy(task.forward(learner, here.inputs).float(), here.targets, reduction="none")
                if step < steps:
                    (loss.sum() / total).backward()
                each.append(loss.detach().cpu().double())
            doubts.append(float(-torch.expm1(-torch.cat(each)).mean()))
            meter.count(forward=total, backward=total if step < steps else 0)
            if step < steps:
                optimiser.step()
    return tuple(doubts)
