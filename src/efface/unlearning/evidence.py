"""What a stop rule saw of a run, and why the run ended."""

from dataclasses import dataclass
from enum import StrEnum

from efface.types import Estimate


class Outcome(StrEnum):
    """Why the step loop ended, in words of the evidence that the stop rule saw."""

    LOOKS_UNSEEN = "looks_unseen"  # the whole interval lies within the margin of the target
    UNDER_UNLEARNED = "under_unlearned"  # step limit reached, interval wholly above the target
    OVER_UNLEARNED = "over_unlearned"  # interval wholly below the target
    UNDECIDED = "undecided"  # step limit reached, interval covers the target but is wider than the margin
    UTILITY_FLOOR = "utility_floor"  # held-out accuracy fell below the floor
    NOT_JUDGED = "not_judged"  # no stop rule was asked for


@dataclass(frozen=True)
class Evaluation:
    """What the stop rule saw at one check: the conditional AUC of forget against holdout records, and utility.

    `auc` is the chance that a forget record's margin exceeds that of a holdout record of the same difficulty: 0.5
    for a model that never saw it, higher while it is remembered, lower where the model shuns it. `accuracy_change` is
    the held-out accuracy less the original's, paired on the same records.
    """

    step: int
    auc: Estimate
    holdout_accuracy: float
    accuracy_change: Estimate
    forget_accuracy: float
    loss: float


@dataclass(frozen=True)
class Evidence:
    """Everything that the stop rule saw, and why the loop ended."""

    evaluations: tuple[Evaluation, ...]
    outcome: Outcome
    reason: str
    chosen_step: int
    target: float
    margin: float
    planned_evaluations: int
