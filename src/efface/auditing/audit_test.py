"""A test of an audit: its outcome and reason, whether it is informative, and its share of the error rate."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from efface.metrics.multiplicity import holm
from efface.types import Estimate

CONFIDENCE = 0.95  # coverage of intervals
ALPHA = 1 - CONFIDENCE  # significance level, shared between the tests
EQUIVALENCE = 0.90  # coverage of the interval of an equivalence test: two one-sided tests at 5 %
POWER = 0.9  # a test is informative if all tests together clear a model that never saw the records this often

# Shares of the error rate, by family of tests. The smallest possible p value of one model against 32 is 0.0303.
SHARES = {"attack": 0.20, "model": 0.62, "method": 0.18}

# What a test that is left shows, by its side and by whether the original's effect lies below 0.
SIDES = {
    ("under_unlearned", False): "under-unlearned: forget records are still known",
    ("under_unlearned", True): "under-unlearned: forget records still score lower than never-seen ones, as before",
    ("over_unlearned", False): "over-unlearned: forget records score lower than never-seen ones",
    ("over_unlearned", True): "over-unlearned: forget records score higher than never-seen ones, and lower before",
    ("", False): "forget records differ from never-seen ones",
    ("", True): "forget records differ from never-seen ones",
}


@dataclass(frozen=True)
class AuditTest:
    """One test of an audit: how far models are from ones that never saw the forget set, as an effect; 0 is no effect.

    Args:
        key: Short name, unique among the tests of an audit.
        title: Name for people.
        kind: `attack`, `off_label` (a statistic that no method here optimises) or `distance`.
        unit: Unit of the effects, in words.
        original: Effect of the original model, with an interval of coverage CONFIDENCE.
        unlearned: Effect of the unlearned model, with an interval of coverage CONFIDENCE.
        equivalence_interval: The same effect with the interval of the equivalence test, of coverage EQUIVALENCE.
        margin: Largest effect that counts as none.
        p: p value of the hypothesis that the model never saw the records; NaN for distances, until it is known.
        retrained: Effect of held-out retrained models, as a control; None if there are too few.
        improvement: Effect of the original less that of the unlearned model, paired; None if it is not measured.
        uninformative_reason: Why the test could not have cleared any model; empty if it could have.
        control_failed: Whether held-out retrained models fail the test; then it fails no model.
        of_model: Whether the test reads the unlearned model itself. Otherwise it reads other models made by the same
            method; such a test can fail a model, but cannot verify it without a test of the model itself.
        p_adjusted: `p`, adjusted for the other tests of the audit; NaN before `adjust_tests`.
    """

    key: str
    title: str
    kind: str
    unit: str
    original: Estimate
    unlearned: Estimate
    equivalence_interval: Estimate
    margin: float
    p: float
    retrained: Estimate | None = None
    improvement: Estimate | None = None
    uninformative_reason: str = ""
    control_failed: bool = False
    of_model: bool = True
    p_adjusted: float = float("nan")

    @property
    def family(self) -> str:
        """The family of tests that it shares its part of the error rate with: `attack`, `model` or `method`."""
        return "attack" if self.kind != "distance" else "model" if self.of_model else "method"

    @property
    def is_equivalent(self) -> bool:
        """Whether the whole interval of the equivalence test lies within the margin."""
        return self.equivalence_interval.high <= self.margin and (
            self.kind == "distance" or self.equivalence_interval.low >= -self.margin
        )

    @property
    def outcome(self) -> str:
        """`left` (shown to differ, not shown to lie within the margin), `cleared`, `uninformative` or `open`."""
        if self.p_adjusted <= ALPHA and not self.is_equivalent and not self.control_failed:
            return "left"
        if self.uninformative_reason:
            return "uninformative"
        return "cleared" if self.is_equivalent and self._improved else "open"

    @property
    def side(self) -> str:
        """Of a test that is left: `under_unlearned` or `over_unlearned`; empty if it has no side, or none is shown.

        A model that knows the records lies on the original's side of 0: above it, unless the original is shown to lie
        below. An effect that is shown to lie beyond 0 on the other side went too far.
        """
        if self.kind == "distance" or self.outcome != "left" or not self.unlearned.excludes(0.0):
            return ""
        return "under_unlearned" if (self.unlearned.value > 0) != self._known_below else "over_unlearned"

    @property
    def _known_below(self) -> bool:
        """Whether the original's effect is shown to lie below 0: records that it knows then score lower, not higher."""
        return self.original.high < 0

    @property
    def _improved(self) -> bool:
        if self.improvement is None:
            return True
        return self.improvement.low > 0 if self.original.value > 0 else self.improvement.high < 0

    @property
    def _distance_left(self) -> str:
        match self.outcome:
            case "left":
                return f"{_part(self.unlearned)} of doing nothing's distance to retrained models is left"
            case "uninformative":
                return self.uninformative_reason
            case "cleared":
                high = self.equivalence_interval.high
                return f"at most {high:.2f} of doing nothing's distance is left, allowed {self.margin:g}"
            case _:
                return (
                    f"{_part(self.equivalence_interval)} of doing nothing's distance is left: neither surely within "
                    f"{self.margin:g}, nor shown by all tests together to differ from 0"
                )

    @property
    def why(self) -> str:
        """The reason for the outcome, in words."""
        if self.kind == "distance":
            return self._distance_left
        shown = f"{show(self.unlearned)} (doing nothing {self.original.value:+.3f})"
        match self.outcome:
            case "left":
                return f"effect {shown}: {SIDES[self.side, self._known_below]}"
            case "uninformative":
                return self.uninformative_reason
            case "cleared":
                return f"effect {show(self.equivalence_interval)} within ±{self.margin:.3f}"
            case _ if self.is_equivalent:
                return "not shown to be better than doing nothing"
            case _:
                return (
                    f"effect {show(self.equivalence_interval)} is not wholly within ±{self.margin:.3f}, nor shown by "
                    "all tests together to differ from 0: more records would be needed"
                )


def uninformative_reason(original: Estimate, error: float, margin: float, test_count: int, df: float = math.inf) -> str:
    """Why a test cannot clear any model, because its error is too large beside the original's effect; empty if it can.

    A model must pass all tests, so a test counts as able to clear a model if it clears one that never saw the records
    with a probability of at least 1 - (1 - POWER) / test_count.

    Args:
        original: Effect of the original model.
        error: Standard error of the effect of a model that never saw the records.
        margin: Largest effect that counts as none.
        test_count: Number of tests that a model must pass.
        df: Degrees of freedom of `error`; infinite for a normal distribution.
    """
    if not original.excludes(0.0):
        return "doing nothing itself is not distinguished from having forgotten"
    power = 1 - (1 - POWER) / test_count
    from scipy.stats import norm
    from scipy.stats import t as student

    quantile = norm.ppf if math.isinf(df) else student(df).ppf
    needed = (float(quantile((1 + EQUIVALENCE) / 2)) + float(quantile((1 + power) / 2))) * error
    if margin < needed:
        return (
            f"doing nothing shows too little ({original.value:+.3f}) for so few records: a model that never saw them "
            "would often not be cleared"
        )
    return ""


def adjust_tests(tests: Sequence[AuditTest]) -> list[AuditTest]:
    """Set `p_adjusted` of all tests, so that they share one error rate.

    The families that are present divide the error rate in proportion to SHARES. Attacks are adjusted by Holm's method.
    Distances have p values that are adjusted within their family already.
    """
    total = sum(SHARES[family] for family in {t.family for t in tests})
    attacks = [t.p for t in tests if t.family == "attack"]
    p_adjusted = iter(holm(torch.tensor(attacks, dtype=torch.float64)).tolist())
    adjusted = []
    for t in tests:
        p = next(p_adjusted) if t.family == "attack" else t.p_adjusted
        adjusted.append(dataclasses.replace(t, p_adjusted=min(1.0, p * total / SHARES[t.family])))
    return adjusted


def _part(e: Estimate) -> str:
    return f"{e.value:.2f} [{e.low:.2f}, {e.high:.2f}]"


def show(e: Estimate) -> str:
    """An effect and its interval as text, with signs and three decimals."""
    return f"{e.value:+.3f} [{e.low:+.3f}, {e.high:+.3f}]"
