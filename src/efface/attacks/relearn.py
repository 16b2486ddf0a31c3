"""Relearn time: how fast a model learns forget records again, against never-seen records of equal difficulty."""

import copy
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efface.data.records import Batch, Records
from efface.models.init import unfreeze
from efface.models.running import device_of, mode
from efface.runtime.cost import Meter
from efface.runtime.seeds import seeded
from efface.task import Task
from efface.types import Indices

MAX_STEPS = 30
LR = 3e-4  # small, so that the curve, and not its end, tells: at 1e-3 the ratio is half as sharp


@dataclass(frozen=True)
class Relearn:
    """How one copy of a model learned forget records, and another the controls.

    Of each its doubt, the mean chance given to wrong classes, before each step and after the last.
    """

    forget: tuple[float, ...]
    controls: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Area under the curve of forget records over that of controls: near 1 without a trace, lower with one.

        To be compared with that of retrained models on the same controls, which are never quite as difficult. NaN
        where the controls leave no doubt.
        """
        # never cut off, as a count of steps is; and no few records rule it, as they rule a mean loss
        area = sum(self.controls)
        return sum(self.forget) / area if area else math.nan


def matched(ours: Tensor, candidates: Tensor, our_classes: Tensor, candidate_classes: Tensor) -> Tensor:
    """For each record's difficulty (n,), the row of the candidate (m,) of its class and of nearest difficulty: (n,).

    None twice, so m >= n; the sum of the differences is least. Another class only where a class runs short. A few hard
    records rule how fast a set is learned, and one class is learned faster than many.
    """
    from scipy.optimize import linear_sum_assignment

    cost = (ours.double()[:, None] - candidates.double()).abs()
    # a pair of two classes costs more than all differences together
    cost += (float(cost.sum()) + 1) * (our_classes[:, None] != candidate_classes)
    return torch.from_numpy(linear_sum_assignment(cost.numpy())[1])


def relearn(
    task: Task,
    model: nn.Module,
    records: Records,
    positions: Indices,
    controls: tuple[Records, Indices],
    most_steps: int = MAX_STEPS,
    lr: float = LR,
    seed: int = 0,
    meter: Meter | None = None,
) -> Relearn:
    """Fine-tune one copy of `model` on the records, another on as many, `matched`, that it never saw.

    Full-batch steps of Adam in eval mode, so that nothing is drawn and every model takes the same ones; `seed` is for
    what the model or the data set draws itself.
    """
    meter = meter or Meter()
    again, new = (
        _doubts(task, model, list(of.stream(at, task.batch_size)), most_steps, lr, seed, meter)
        for of, at in ((records, positions), controls)
    )
    return Relearn(again, new)


def _doubts(
    task: Task, model: nn.Module, batches: list[Batch], steps: int, lr: float, seed: int, meter: Meter
) -> tuple[float, ...]:
    learner, device, total = copy.deepcopy(model), device_of(model), sum(map(len, batches))
    if not any(p.requires_grad for p in learner.parameters()):
        unfreeze(learner)
    optimiser = torch.optim.Adam([p for p in learner.parameters() if p.requires_grad], lr=lr)
    doubts = []
    with seeded(seed), mode(learner, training=False), torch.enable_grad():
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
