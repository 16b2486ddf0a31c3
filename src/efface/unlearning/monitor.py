"""The monitor: evaluates the working copy during a run, may end the run by a stop rule, and chooses the weights."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from efface.calibration.assumptions import Assumption
from efface.methods.base import Method, Step
from efface.models.checkpoint import copy_state
from efface.unlearning.evidence import Evaluation, Evidence, Outcome
from efface.unlearning.observer import Observer
from efface.unlearning.stopping import Decision, StopRule, conclude

# Assumptions that the run's own evidence needs. Its reference model began at weights that knew the forget records, so
# without them forget records and nonmembers of equal score are not comparable, even once they are forgotten.
NEEDED = {"alike", "classes stay"}
NOT_RANDOM = "the run's own evidence judges only requests that look drawn at random; an audit can tell"
TOO_FAR = (Outcome.UTILITY_FLOOR, Outcome.OVER_UNLEARNED)


class Monitor:
    """Evaluates one run, and decides when it ends.

    If the request does not look drawn at random, only lost utility ends the run early, and the run is not judged.

    Args:
        model: The working copy.
        original: The original, whose weights are restored if no others can be kept.
        observer: Makes the evaluations.
        rule: The rule that may end the run; not used for a control.
        method: The method that changes the model.
        assumptions: The assumptions of calibration, and whether the request meets them.
    """

    def __init__(
        self,
        model: nn.Module,
        original: nn.Module,
        observer: Observer,
        rule: StopRule,
        method: Method,
        assumptions: Sequence[Assumption],
    ) -> None:
        self._model, self._observer, self._rule, self._method = model, observer, rule, method
        self._unmet = next((a for a in assumptions if not a.met and a.name in NEEDED), None)
        self._evaluations: list[Evaluation] = []
        self._decision: Decision | None = None
        self._best = BestWeights(original, rule.target)

    @property
    def has_decided(self) -> bool:
        """Whether the run must end."""
        return self._decision is not None

    def evaluate(self, step: Step) -> None:
        """Evaluate the working copy after `step`; step 0 is the original."""
        evaluation = self._observer.evaluate(self._model, step)
        self._evaluations.append(evaluation)
        if len(self._evaluations) == 1:
            return
        self._decision = self._decide()
        if self._decision is None or self._decision.outcome is not Outcome.UTILITY_FLOOR:
            is_last = len(self._evaluations) > self._method.max_evaluations or self._decision is not None
            self._best.offer(self._model, evaluation, is_last)

    def _decide(self) -> Decision | None:
        decision = None if self._method.is_control else self._rule.check(self._evaluations)
        if self._unmet is not None and decision is not None and decision.outcome is not Outcome.UTILITY_FLOOR:
            return None
        return decision

    def conclude(self, last: Step) -> Evidence:
        """Return the evidence of the run, and restore the best weights if the last step went too far.

        Args:
            last: The last step of the run.
        """
        decision, rule = self._decision, self._rule
        if decision is None and self._unmet is not None:
            decision = Decision(Outcome.NOT_JUDGED, f"{NOT_RANDOM}: {self._unmet.sentence}")
        if decision is None:
            decision = conclude(self._evaluations, rule.target)
        chosen = last.index
        if decision.outcome in TOO_FAR and not self._method.is_control:
            chosen = self._best.restore(self._model)
        return Evidence(
            evaluations=tuple(self._evaluations),
            outcome=decision.outcome,
            reason=decision.reason,
            chosen_step=chosen,
            target=rule.target,
            margin=rule.margin,
            planned_evaluations=self._method.max_evaluations,
        )


def not_judged(rule: StopRule, last: Step) -> Evidence:
    """Make the evidence of a run that was not evaluated.

    Args:
        rule: The stop rule, whose target and margin are stated.
        last: The last step of the run.
    """
    return Evidence(
        evaluations=(),
        outcome=Outcome.NOT_JUDGED,
        reason="no evidence was collected",
        chosen_step=last.index,
        target=rule.target,
        margin=rule.margin,
        planned_evaluations=0,
    )


class BestWeights:
    """Knows the weights of the evaluation whose conditional AUC is nearest to the target.

    They are copied only where the model may still change after that evaluation.

    Args:
        original: The original, whose weights count until the first evaluation is offered.
        target: The target of the conditional AUC.
    """

    def __init__(self, original: nn.Module, target: float) -> None:
        self._original, self._target, self._distance, self._step = original, target, float("inf"), 0
        self._state: dict[str, Any] | None = None
        self._is_current = False  # whether the best weights are those that the model has at the end

    def offer(self, model: nn.Module, evaluation: Evaluation, is_last: bool) -> None:
        """Remember the weights of `model` if their `evaluation` is nearer to the target than the best so far.

        Args:
            model: The working copy.
            evaluation: What was found of it.
            is_last: Whether it will not change any more.
        """
        if (distance := abs(evaluation.auc.value - self._target)) < self._distance:
            self._distance, self._step, self._is_current = distance, evaluation.step, is_last
            self._state = None if is_last else copy_state(model)

    def restore(self, model: nn.Module) -> int:
        """Load the best weights into `model`, and return their step."""
        if not self._is_current:
            model.load_state_dict(self._original.state_dict() if self._state is None else self._state)
        return self._step
