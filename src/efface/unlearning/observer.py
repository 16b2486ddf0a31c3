"""The observer: evidence on the working copy at each evaluation of a run."""

from functools import cached_property

from torch import Tensor, nn

from efface.calibration.counterfactual import CounterfactualLogits
from efface.data.splits import Splits
from efface.errors import DivergedError
from efface.methods.base import Step
from efface.metrics.membership import conditional_auc
from efface.metrics.utility import correct, mean_over_records
from efface.models.running import logits_of
from efface.numerics.logits import margin, of_classes
from efface.request import Request
from efface.runtime.cost import Meter
from efface.unlearning.evidence import Evaluation


class Observer:
    """Evaluates a model on the forget set and the stopping part of the holdout, which no method may read.

    Difficulty is the margin expected of a model that never saw the record, by a reference that was trained on neither
    kind but began at weights that knew the forget records; so it serves for requests that look drawn at random.
    `level` is the coverage of each evaluation's interval, already widened for the number of evaluations planned. The first evaluation is
    at the original. Accuracy is that on classes that are to stay.
    """

    def __init__(
        self, request: Request, splits: Splits, expected: CounterfactualLogits, meter: Meter, level: float
    ) -> None:
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

    def evaluate(self, model: nn.Module, step: Step) -> Evaluation:
        """One evaluation, charged to the phase `stop checks`."""
        with self._meter.phase("stop checks"):
            (z_f, z_s), (y_f, y_s), (d_f, d_s) = self._read(model), self._targets, self._difficulty
            m_f, m_s = margin(z_f, y_f), margin(z_s, y_s)
            if m_f.isnan().any() or m_s.isnan().any():
                raise DivergedError(f"the logits became NaN by step {step.index}; nothing was saved")
            seen = conditional_auc(m_f, m_s, d_f, d_s)
            right = correct(z_s, y_s)[~of_classes(y_s, self._request.forget_classes)]
            self._right_before = right if self._right_before is None else self._right_before
            return Evaluation(
                step=step.index,
                auc=seen.estimate(self._level),
                holdout_accuracy=float(right.mean()),
                accuracy_change=mean_over_records(right - self._right_before, self._level, -1.0, 1.0),
                forget_accuracy=float(correct(z_f, y_f).mean()),
                loss=step.loss,
            )
