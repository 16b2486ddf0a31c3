"""The evidence of a run: its evaluations, and why it ended."""

from dataclasses import dataclass
from enum import StrEnum

from efface.runtime.printing import how_many, sheet
from efface.types import Estimate

SHOWN = 8  # evaluations in the text of the evidence


class Outcome(StrEnum):
    """Why a run ended, by its own evidence. "The interval" in the comments is that of the conditional AUC."""

    LOOKS_UNSEEN = "looks_unseen"  # the whole interval lies within the margin of the target
    UNDER_UNLEARNED = "under_unlearned"  # the step limit was reached, and the interval lies on the original's side
    OVER_UNLEARNED = "over_unlearned"  # the step limit was reached, and the interval lies beyond the target
    UNDECIDED = "undecided"  # the step limit was reached, and the interval covers the target
    UTILITY_FLOOR = "utility_floor"  # held-out accuracy, or what else is useful, fell below the floor
    NOT_JUDGED = "not_judged"  # no evidence was collected, or none that can judge this request


@dataclass(frozen=True)
class Evaluation:
    """The evidence at one point of a run.

    Args:
        step: Number of the step after which it was made; 0 is the original.
        auc: The conditional AUC: the probability that the margin of a forget record is above that of a holdout record
            of equal difficulty. It is 0.5 for a model that never saw the forget records, higher if they are remembered,
            and lower if the model does worse on them than on never-seen records.
        holdout_accuracy: Accuracy on the stopping part of the holdout, without classes that are wholly forgotten; for
            kinds of tasks without classes, what else `utility` names.
        accuracy_change: That accuracy less the original's, paired by record; negative for a loss.
        forget_accuracy: Accuracy on the forget set.
        loss: The loss of the step, as the method reports it; NaN for the original.
        utility: What the accuracies are, as the task's kind calls it.
    """

    step: int
    auc: Estimate
    holdout_accuracy: float
    accuracy_change: Estimate
    forget_accuracy: float
    loss: float
    utility: str = "accuracy"


@dataclass(frozen=True, repr=False)
class Evidence:
    """All evaluations of a run, and why it ended.

    Args:
        evaluations: The evaluations in order; the first is of the original. Empty if no evidence was collected.
        outcome: Why the run ended.
        reason: The same as a sentence, with its numbers.
        chosen_step: The step whose weights the result has; 0 is the original.
        target: The conditional AUC that is expected for records that were never seen.
        margin: The distance from the target that counts as no effect.
        planned_evaluations: The number of evaluations that the intervals are corrected for.
    """

    evaluations: tuple[Evaluation, ...]
    outcome: Outcome
    reason: str
    chosen_step: int
    target: float
    margin: float
    planned_evaluations: int

    def __repr__(self) -> str:
        every = self.evaluations
        shown = every if len(every) <= SHOWN else (*every[: SHOWN - 1], every[-1])
        rows = [
            (
                "",
                f"step {e.step}: conditional AUC {e.auc.value:.3f} [{e.auc.low:.3f}, {e.auc.high:.3f}], {e.utility} "
                f"{e.holdout_accuracy:.3f} on the holdout, {e.forget_accuracy:.3f} on the forget set",
            )
            for e in shown
        ]
        left = len(every) - len(shown)
        return sheet(
            f"Evidence: {self.outcome.replace('_', ' ')}; weights of step {self.chosen_step} kept",
            [("reason", self.reason), *rows, ("", f"and {how_many(left, 'more evaluation')}" if left else "")],
        )
