"""Stop rules, which may end a run by its evidence, and their combination."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from efface.errors import RequestError
from efface.runtime.options import Options, option
from efface.unlearning.evidence import Evaluation, Outcome


@dataclass(frozen=True)
class Decision:
    """A rule's decision to end the run.

    Args:
        outcome: Why the run ends.
        reason: The same as a sentence, with its numbers.
    """

    outcome: Outcome
    reason: str


@dataclass(frozen=True)
class StopRule(Options, ABC):
    """A rule that may end a run, by the evaluations so far; `first | second` applies both in that order.

    Args:
        target: The conditional AUC that is expected for records that the model never saw, from 0 to 1.
        margin: The distance from the target that counts as no effect, from 0 to 0.5; 0 if the rule does not use the
            AUC.
    """

    target: float = option(0.5, "conditional AUC of records that the model never saw", 0.0, 1.0)
    margin: float = option(
        0.0, "largest distance of the conditional AUC from its target that counts as no effect", 0.0, 0.5
    )

    @abstractmethod
    def check(self, evaluations: Sequence[Evaluation]) -> Decision | None:
        """Decide on the last evaluation.

        Args:
            evaluations: All evaluations so far; the first is of the original.

        Returns:
            A decision to end the run; None to continue.
        """

    def __ror__(self, other: object) -> "AnyOf":
        return AnyOf.of(other, self)  # type: ignore[arg-type]  # which `of` refuses, since rules have __or__

    def __or__(self, other: "StopRule") -> "AnyOf":
        return AnyOf.of(self, other)


@dataclass(frozen=True)
class AnyOf(StopRule):
    """Ends the run as soon as one of its rules does; rules are applied in order."""

    rules: tuple[StopRule, ...] = ()

    @classmethod
    def of(cls, *rules: StopRule) -> "AnyOf":
        """Combine rules; target and margin are those of the rule with the widest margin.

        Raises:
            RequestError: There is no rule, or one is none.
        """
        if odd := [rule for rule in rules if not isinstance(rule, StopRule)]:
            raise RequestError(
                f"a stop rule is combined with others, as in UtilityFloor() | LooksUnseen(), not with {odd[0]!r}"
            )
        if not rules:
            raise RequestError("AnyOf.of needs at least one stop rule, such as efface.LooksUnseen()")
        widest = max(rules, key=lambda rule: rule.margin)
        return cls(target=widest.target, margin=widest.margin, rules=rules)

    def check(self, evaluations: Sequence[Evaluation]) -> Decision | None:
        return next((d for rule in self.rules if (d := rule.check(evaluations)) is not None), None)


@dataclass(frozen=True)
class LooksUnseen(StopRule):
    """Equivalence test: ends the run when the whole interval of the conditional AUC is within `margin` of `target`.

    Intervals are widened for the number of planned evaluations (Bonferroni), so more evaluations do not make it
    likelier to stop by chance. With fewer records intervals are wider, so the run does not stop earlier.
    """

    margin: float = option(
        0.05, "largest distance of the conditional AUC from its target that counts as no effect", 1e-3, 0.5
    )

    def check(self, evaluations: Sequence[Evaluation]) -> Decision | None:
        now = evaluations[-1].auc
        if len(evaluations) == 1 or not now.within(self.target, self.margin):
            return None
        before = evaluations[0].auc
        too_small = f" (so did the original's, {before.value:.3f}: too small an effect for this evidence)"
        return Decision(
            Outcome.LOOKS_UNSEEN,
            f"conditional AUC {now.value:.3f} [{now.low:.3f}, {now.high:.3f}] lies within "
            f"{self.target:g} ± {self.margin:g} after step {evaluations[-1].step}"
            + (too_small if before.within(self.target, self.margin) else ""),
        )


@dataclass(frozen=True)
class UtilityFloor(StopRule):
    """Ends the run when held-out accuracy is shown to be more than `drop` below the original's.

    For tasks without classes, accuracy stands for what their kind calls utility, such as R2.

    The comparison is paired by record, and its whole interval must lie beyond the drop, since on a hundred records a
    few changed predictions already amount to a few points. A smaller loss does not end the run, but the audit mentions
    it.
    """

    drop: float = option(0.03, "largest loss of held-out accuracy, as a share of records", 0.0, 1.0)

    def check(self, evaluations: Sequence[Evaluation]) -> Decision | None:
        change = evaluations[-1].accuracy_change
        if len(evaluations) == 1 or change.high >= -self.drop - 1e-9:  # 0.87 - 0.90 is beyond -0.03 in floating point
            return None
        return Decision(
            Outcome.UTILITY_FLOOR,
            f"held-out {evaluations[-1].utility} fell by {-change.value:.3f}, more than {self.drop:g}, by step "
            f"{evaluations[-1].step}",
        )


def default_rule() -> AnyOf:
    """The default rule of `efface.unlearn`: a utility floor, then the equivalence test."""
    return UtilityFloor() | LooksUnseen()


def conclude(evaluations: Sequence[Evaluation], target: float) -> Decision:
    """Conclude from the last evaluation, if the step limit was reached without a decision.

    A model that knows the records lies above the target, unless the original's whole interval lies below it. Then a
    model that still lies below, and no farther off than the original, has not gone too far.

    Args:
        evaluations: All evaluations of the run; the first is of the original.
        target: The conditional AUC that is expected for records that were never seen.
    """
    before, now = evaluations[0].auc, evaluations[-1].auc
    reached = f"step limit reached with conditional AUC {now.value:.3f} [{now.low:.3f}, {now.high:.3f}]"
    from_below = f"{target:g}, from where the original's lay, at {before.value:.3f}"
    if now.low > target and before.high < target:
        return Decision(
            Outcome.OVER_UNLEARNED, f"{reached}, beyond {from_below}: forget records score higher than never-seen ones"
        )
    if now.low > target:
        return Decision(Outcome.UNDER_UNLEARNED, f"{reached}, above {target:g}: forget records are still known")
    if now.high < target and before.high < target and now.value >= before.value:
        return Decision(
            Outcome.UNDER_UNLEARNED, f"{reached}, below {from_below}: forget records still score lower than never-seen"
        )
    if now.high < target:
        return Decision(
            Outcome.OVER_UNLEARNED, f"{reached}, below {target:g}: forget records score lower than never-seen ones"
        )
    return Decision(Outcome.UNDECIDED, f"{reached}: too few records, or too wide a spread, to tell")
