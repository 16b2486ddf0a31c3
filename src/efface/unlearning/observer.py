"""The observer: evaluates a model during a run."""

from functools import cached_property

from torch import Tensor, nn

from efface.calibration.counterfactual import CounterfactualLogits
from efface.errors import DivergedError
from efface.methods.base import Step
from efface.metrics.membership import conditional_auc
from efface.metrics.utility import mean_over_records
from efface.models.running import logits_of
from efface.numerics.clusters import Clusters
from efface.unlearning.evidence import Evaluation
from efface.unlearning.run import Run

# Coverage of the intervals of all evaluations of a run together. An interval within a margin then amounts to two
# one-sided tests at 5 %. Each evaluation gets its Bonferroni share of the remaining 10 %.
COVERAGE = 0.90


class Observer:
    """Evaluates a model on the forget set and the stopping part of the holdout, which no method may read.

    Difficulty is the margin that is expected of a model that never saw the record. The reference model behind it was
    trained on neither kind of record, but it began at weights that knew the forget records, so it is suitable only for
    requests that look drawn at random. Accuracy, or what else the task's kind calls utility, leaves out the classes
    that are wholly forgotten.

    Args:
        run: The run.
        counterfactual: The expected logits, which give the difficulty of each record.
    """

    def __init__(self, run: Run, counterfactual: CounterfactualLogits) -> None:
        self._run, self._counterfactual = run, counterfactual
        self._level = 1 - (1 - COVERAGE) / run.method.max_evaluations
        self._useful_before: Tensor | None = None

    def evaluate(self, model: nn.Module, step: Step) -> Evaluation:
        """Evaluate a model, charged to the phase `stop checks`; the first call must be for the original.

        Args:
            model: The model.
            step: The step after which it is evaluated.

        Raises:
            DivergedError: The model's logits hold NaN.
        """
        with self._run.meter.phase("stop checks"):
            (z_forget, z_stopping), (y_forget, y_stopping) = self._read(model), self._targets
            rules = self._run.request.task.rules
            margins = rules.margin(z_forget, y_forget), rules.margin(z_stopping, y_stopping)
            if any(bool(m.isnan().any()) for m in margins):
                raise DivergedError(f"the logits became NaN by step {step.index}; nothing was saved")
            auc = conditional_auc(*margins, *self._difficulty, clusters=self._clusters)
            stays = ~rules.is_erased(y_stopping, self._run.request.forget_classes)
            useful = rules.useful(z_stopping, y_stopping)[stays]
            if self._useful_before is None:
                self._useful_before = useful
            of_stopping = self._clusters[1]
            of_stays = None if of_stopping is None else of_stopping[stays]
            change, most = useful - self._useful_before, 1.0 if rules.is_probable else float("inf")
            return Evaluation(
                step=step.index,
                auc=auc.estimate(self._level),
                holdout_accuracy=float(useful.mean()),
                accuracy_change=mean_over_records(change, self._level, -most, most, of_stays),
                forget_accuracy=float(rules.useful(z_forget, y_forget).mean()),
                loss=step.loss,
                utility=rules.measure,
            )

    @cached_property
    def _targets(self) -> tuple[Tensor, Tensor]:
        request, splits = self._run.request, self._run.splits
        return request.train.targets(splits.forget), request.holdout.targets(splits.stopping)

    @cached_property
    def _clusters(self) -> Clusters:
        request, splits = self._run.request, self._run.splits
        return request.clusters_of(splits.forget), request.clusters_of(splits.stopping, "holdout")

    @cached_property
    def _difficulty(self) -> tuple[Tensor, Tensor]:
        splits = self._run.splits
        forget = self._counterfactual.of_training(splits.forget)
        return forget.score, self._counterfactual.of_holdout(splits.stopping).score

    def _read(self, model: nn.Module) -> tuple[Tensor, Tensor]:
        request, splits, meter = self._run.request, self._run.splits, self._run.meter
        return (
            logits_of(request.task, model, request.train, splits.forget, meter),
            logits_of(request.task, model, request.holdout, splits.stopping, meter),
        )
