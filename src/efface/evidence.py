"""What the stop rule looks at: are forget records still told from never-seen records of the same difficulty?"""

from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from efface.errors import DivergedError
from efface.expected import Expected
from efface.metrics.membership import separate
from efface.metrics.utility import correct, mean_over_records
from efface.models import logits_of
from efface.numerics.logits import margin, of_classes
from efface.requests import Request
from efface.runtime import Meter
from efface.types import Indices, Look, Splits, Step


class Observer:
    """Takes looks at a model on the forget set and the stopping part of the holdout, which no method may read.

    Difficulty is the margin expected of a model that never saw the record, by a reference that was trained on neither
    kind but began at weights that knew the forget records; so it serves for requests that look drawn at random.
    `level` is the coverage of each look's interval, already widened for the number of looks planned. The first look is
    at the original. Accuracy is that on classes that are to stay.
    """

    def __init__(self, request: Request, splits: Splits, expected: Expected, meter: Meter, level: float) -> None:
        self._request, self._splits, self._expected, self._meter = request, splits, expected, meter
        self._level = level
        self._right_before: Tensor | None = None

    @cached_property
    def _targets(self) -> tuple[Tensor, Tensor]:
        return self._request.train.targets(self._splits.forget), self._request.holdout.targets(self._splits.stopping)

    @cached_property
    def _difficulty(self) -> tuple[Tensor, Tensor]:
        splits = self._splits
        return self._expected.of_training(splits.forget).score, self._expected.of_holdout(splits.stopping).score

    def _read(self, model: nn.Module) -> tuple[Tensor, Tensor]:
        request, splits = self._request, self._splits
        return (
            logits_of(request.task, model, request.train, splits.forget, self._meter),
            logits_of(request.task, model, request.holdout, splits.stopping, self._meter),
        )

    def look(self, model: nn.Module, step: Step) -> Look:
        """One look, charged to the phase `stop checks`."""
        with self._meter.phase("stop checks"):
            (z_f, z_s), (y_f, y_s), (d_f, d_s) = self._read(model), self._targets, self._difficulty
            m_f, m_s = margin(z_f, y_f), margin(z_s, y_s)
            if m_f.isnan().any() or m_s.isnan().any():
                raise DivergedError(f"the logits became NaN by step {step.index}; nothing was saved")
            seen = separate(m_f, m_s, d_f, d_s)
            right = correct(z_s, y_s)[~of_classes(y_s, self._request.emptied)]
            self._right_before = right if self._right_before is None else self._right_before
            return Look(
                step=step.index,
                auc=seen.estimate(self._level),
                holdout_accuracy=float(right.mean()),
                accuracy_change=mean_over_records(right - self._right_before, self._level, -1.0, 1.0),
                forget_accuracy=float(correct(z_f, y_f).mean()),
                loss=step.loss,
            )


def check_reference(request: Request, strangers: Indices, reference: nn.Module, meter: Meter) -> str | None:
    """Why the reference cannot serve: it is no better than guessing the commonest class of the holdout; else None.

    No better means within two standard errors of that guess's accuracy, on the holdout positions `strangers`.
    """
    targets = request.holdout.targets(strangers)
    stay = ~np.isin(targets.numpy(), request.emptied)
    if not stay.any():
        return "the holdout has no records of the classes that stay: give some"
    strangers, targets = strangers[stay], targets[torch.from_numpy(stay)]
    z = logits_of(request.task, reference, request.holdout, strangers, meter)
    right = float((z.argmax(1) == targets).double().mean())
    chance = float(torch.bincount(targets).max()) / len(targets)
    if right > chance + 2 * (chance * (1 - chance) / len(targets)) ** 0.5:
        return None
    return (
        f"the reference model is no better than chance on the holdout (accuracy {right:.3f}, commonest class "
        f"{chance:.3f}): give Task.build_model, or a longer recipe for the reference"
    )
