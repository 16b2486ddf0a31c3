"""One test that decides a verdict: its outcome and why, whether it is informative, and its part of the error rate."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.stats import norm
from scipy.stats import t as student

from efface.metrics.multiplicity import holm
from efface.types import Estimate

CONFIDENCE = 0.95  # coverage of intervals
ALPHA = 1 - CONFIDENCE  # significance level, shared between the tests
EQUIVALENCE = 0.90  # coverage of the interval of an equivalence test: two one-sided tests at 5 %
POWER = 0.9  # with which all tests together must clear a model that never saw the records, to count as informative
AUC_MARGIN = 0.10  # an effect on an AUC counts as none only if its whole interval is below this

# Of the error rate, among the families that there are: the least p value of one model against 32 is 0.0303
SHARES = {"attack": 0.20, "model": 0.62, "method": 0.18}


@dataclass(frozen=True)
class AuditTest:
    """One test that decides: how far models are from ones that never saw the forget set. An effect of 0 is none at all.

    Args:
        key: Short name, unique among the tests of an audit.
        title: Name for people.
        kind: `attack`, `off_label` (a statistic that no method here optimises) or `distance`.
        unit: What an effect is measured in.
        original: Effect of doing nothing.
        unlearned: Effect of the unlearned model, with an interval of coverage CONFIDENCE.
        equivalence_interval: The same with the interval of the equivalence test, of coverage EQUIVALENCE.
        margin: Largest effect that counts as none.
        p: Chance that a model that never saw the records has such an effect.
        retrained: Effect of held-out retrained models, as a control; None without enough of them.
        improvement: Effect of original less that of unlearned, paired; None where it is not measured.
        uninformative_reason: Why the test could not have cleared any model; empty where it could have.
        control_failed: Whether held-out retrained models fail the test; then it fails no model.
        of_model: Whether the test reads the unlearned model itself. Otherwise it reads other models that the same
            method made: it can fail a model, and never clears one alone.
        p_adjusted: `p` after its share of the error rate of all tests; NaN before `adjust_tests`.
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
        """With which other tests it shares its part of the error rate."""
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
        """The outcome in words."""
        if self.kind == "distance":
            return self._distance_left
        shown = f"{show(self.unlearned)} (doing nothing {self.original.value:+.3f})"
        match self.outcome:
            case "left" if self.unlearned.value * self.original.value < 0:
                return f"effect {shown}: over-unlearned"
            case "left":
                return f"effect {shown}: forget records are still known"
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
    """Why a test cannot clear a model: its error is too large beside the effect of doing nothing; empty if it can.

    A model must pass all tests, so each may fail to clear one that never saw the records in its share of one time in
    ten.

    Args:
        original: Effect of doing nothing.
        error: Standard error of the effect of a model that never saw the records.
        margin: Largest effect that counts as none.
        test_count: Number of tests that a model must pass.
        df: Degrees of freedom of `error`; infinite where it is normal.
    """
    if not original.excludes(0.0):
        return "doing nothing itself is not distinguished from having forgotten"
    power = 1 - (1 - POWER) / test_count
    quantile = norm.ppf if math.isinf(df) else student(df).ppf
    needed = (float(quantile((1 + EQUIVALENCE) / 2)) + float(quantile((1 + power) / 2))) * error
    if margin < needed:
        return (
            f"doing nothing shows too little ({original.value:+.3f}) for so few records: a model that never saw them "
            "would often not be cleared"
        )
    return ""


def adjust_tests(tests: Sequence[AuditTest]) -> list[AuditTest]:
    """The tests with p values that share the error rate.

    Attacks are adjusted by Holm's method; distances come adjusted together, those of this model and those of other
    models by the same method apart. The families that there are divide the rate by SHARES.
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
    """An effect with its sign and its interval, for people."""
    return f"{e.value:+.3f} [{e.low:+.3f}, {e.high:+.3f}]"
