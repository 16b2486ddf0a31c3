"""Relearn time: how fast a model learns forget records again, against never-seen records of equal difficulty."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from efface.attacks.outputs import RecordSet
from efface.data.records import Batch
from efface.models.init import unfreeze
from efface.models.running import copy_model, device_of, forward, mode
from efface.models.training import adam
from efface.runtime.cost import Meter
from efface.runtime.seeds import seeded
from efface.task import Task

MAX_STEPS = 30
LR = 3e-4  # small, so that the curve, and not its end, counts: at 1e-3 the ratio is half as sharp


@dataclass(frozen=True)
class Relearn:
    """How one copy of a model learned forget records, and another the controls.

    Args:
        forget: Mean doubt of the forget records, before each step and after the last: for classes the
            chance given to wrong ones (`Kind.doubts`).
        controls: The same on the controls.
    """

    forget: tuple[float, ...]
    controls: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Area under the curve of forget records over that of controls: near 1 without a trace, lower with one.

        Compare it with that of retrained models on the same controls, since controls are never exactly as difficult.
        NaN if the model has no doubt of the controls.
        """
        # unlike a number of steps it has no limit, and unlike a mean loss a few records do not dominate it
        area = sum(self.controls)
        return sum(self.forget) / area if area else math.nan


def matched(
    forget: Tensor, candidates: Tensor, forget_classes: Tensor | None, candidate_classes: Tensor | None
) -> Tensor:
    """Assign to each forget record a different candidate of its class and of similar difficulty.

    The sum of the differences of difficulty is minimal; candidates of other classes are used only if a class has too
    few. Difficulty and class are matched since a few difficult records determine how fast a set is learned, and since
    one class is learned faster than many.

    Args:
        forget: Difficulty of each forget record, (n,).
        candidates: Difficulty of each candidate, (m,), m >= n.
        forget_classes: Class of each forget record, (n,); None where records have none.
        candidate_classes: Class of each candidate, (m,); None where records have none.

    Returns:
        Position of the candidate for each forget record, (n,).
    """
    from scipy.optimize import linear_sum_assignment

    cost = (forget.double()[:, None] - candidates.double()).abs()
    if forget_classes is not None and candidate_classes is not None:
        # a pair of two classes costs more than all differences together
        cost += (float(cost.sum()) + 1) * (forget_classes[:, None] != candidate_classes)
    return torch.from_numpy(linear_sum_assignment(cost.numpy())[1])


def relearn(
    task: Task,
    model: nn.Module,
    forget: RecordSet,
    controls: RecordSet,
    seed: int,
    meter: Meter,
    steps: int = MAX_STEPS,
) -> Relearn:
    """Fine-tune one copy of a model on forget records, another on as many records that it never saw.

    Full-batch steps of Adam in eval mode, so that nothing is drawn and every model takes the same ones.

    Args:
        task: How records are read and models called.
        model: The model; it is not changed.
        forget: The forget records.
        controls: Never-seen records, such as `matched` finds.
        seed: Seed for what the model or the data set draws itself.
        meter: Charged with the passes.
        steps: How many steps each copy takes.
    """
    curves = [
        _doubts(task, model, list(s.records.stream(s.positions, task.batch_size)), seed, meter, steps)
        for s in (forget, controls)
    ]
    return Relearn(*curves)


def _doubts(
    task: Task, model: nn.Module, batches: list[Batch], seed: int, meter: Meter, steps: int
) -> tuple[float, ...]:
    """The mean doubt, before each step of a copy of the model and after the last."""
    learner, device, total = copy_model(model, share_frozen=True), device_of(model), sum(map(len, batches))
    if not any(p.requires_grad for p in learner.parameters()):
        unfreeze(learner)
    optimiser = adam(learner.parameters(), LR)
    doubts = []
    with seeded(seed), mode(learner, training=False), torch.enable_grad():
        for step in range(steps + 1):
            optimiser.zero_grad()
            each = []
            for batch in batches:
                here = batch.to(device)
                values = forward(task, learner, here)
                if step < steps:
                    (task.rules.losses(values, here.targets).sum() / total).backward()
                each.append(task.rules.doubts(values.detach(), here.targets).cpu())
            doubts.append(float(torch.cat(each).mean()))
            meter.count(forward=total, backward=total if step < steps else 0)
            if step < steps:
                optimiser.step()
    return tuple(doubts)
