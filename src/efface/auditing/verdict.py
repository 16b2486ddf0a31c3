"""The verdict: from the ladder of evidence, each test with its controls and interval, to one of three words."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch

from efface.metrics.multiplicity import holm
from efface.types import Estimate

# Raised by hand when any number of a verdict or table changes for the same models; results name it.
JUDGE_VERSION = 1


MIN_RECORDS = 30  # below so many forget records nothing can be verified


LEVEL = 0.95  # of intervals; tests detect at 5 %, shared between them


EQUIVALENCE = 0.90  # two one-sided tests at 5 %


POWER = 0.9  # with which all tests together must clear a model that never saw the records, to count as informative


ALPHA = 1 - LEVEL


# Of the error rate, among the families that there are: the least p value of one model against 32 is 0.0303
SHARES = {"attack": 0.20, "model": 0.62, "method": 0.18}


MARGIN = 0.10  # an AUC effect that counts as no effect only if its whole interval is below this


CORRECTION = (
    "Tests detect at 5 % together: p values of attacks are adjusted by Holm's method, those of distances by Westfall "
    "and Young's max-T permutation; with all of them, attacks get a fifth of the 5 %, distances of this model 62 % and "
    "distances of other models by the same method 18 %. A model passes only if every "
    "informative test clears it, so the equivalence tests share nothing (intersection-union). Which tests are "
    "informative follows from doing nothing and from the number of records, never from the unlearned model. Single "
    "records are flagged by Benjamini and Hochberg's method at 5 %."
)


class Status(StrEnum):
    """What an audit concludes."""

    VERIFIED = "verified"
    NOT_VERIFIED = "not_verified"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Verdict:
    """The audit's conclusion, its reasons, the smallest effect that could have been shown, and one sentence for all."""

    status: Status
    reasons: tuple[str, ...]
    smallest_effect: float
    sentence: str


@dataclass(frozen=True)
class AuditTest:
    """One test of the ladder: how far models are from ones that never saw the forget set; 0 = not at all.

    original is doing nothing, `unlearned` has the interval that detects, `equivalence_interval` is unlearned with that of the
    equivalence test, `retrained` the control. `margin` is what counts as no effect. `improvement` is original less unlearned,
    paired, where that was made. p is the chance of such an effect in a model that never saw the records, and
    `p_adjusted` shares it between all tests. `uninformative_reason` says why the test could not have cleared any model; empty if it
    could have. A test is `control_failed` if its own control fails it: then it fails no model either. `of_model` is false for
    what is measured on other models that the same method made: it can fail a model, and never clears one alone.
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
        """left: shown to differ, and not shown to be within the margin; cleared; uninformative; or open."""
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
    def _share(self) -> str:
        match self.outcome:
            case "left":
                return f"{_part(self.unlearned)} of doing nothing's distance to retrained models is left"
            case "uninformative":
                return self.uninformative_reason
            case "cleared":
                return f"at most {self.equivalence_interval.high:.2f} of doing nothing's distance is left, allowed {self.margin:g}"
            case _:
                return (
                    f"{_part(self.equivalence_interval)} of doing nothing's distance is left: neither surely within {self.margin:g}, "
                    "nor shown by all tests together to differ from 0"
                )

    @property
    def why(self) -> str:
        """The outcome in words."""
        if self.kind == "distance":
            return self._share
        shown = f"{_show(self.unlearned)} (doing nothing {self.original.value:+.3f})"
        match self.outcome:
            case "left" if self.unlearned.value * self.original.value < 0:
                return f"effect {shown}: over-unlearned"
            case "left":
                return f"effect {shown}: forget records are still known"
            case "uninformative":
                return self.uninformative_reason
            case "cleared":
                return f"effect {_show(self.equivalence_interval)} within ±{self.margin:.3f}"
            case _ if self.is_equivalent:
                return "not shown to be better than doing nothing"
            case _:
                return (
                    f"effect {_show(self.equivalence_interval)} is not wholly within ±{self.margin:.3f}, nor shown by all tests "
                    "together to differ from 0: more records would be needed"
                )


def uninformative_reason(original: Estimate, error: float, margin: float, test_count: int, df: float = math.inf) -> str:
    """Why a test with this much error cannot clear a model: doing nothing is too near the floor; empty if it can.

    `error` is the standard error of a model that never saw the records, of so much `df`. A model must pass all of
    so many tests, so each may fail to clear such a one in its share of one time in ten.
    """
    if not original.excludes(0.0):
        return "doing nothing itself is not told from having forgotten"
    from scipy.stats import norm
    from scipy.stats import t as student

    power = 1 - (1 - POWER) / test_count
    quantile = norm.ppf if math.isinf(df) else student(df).ppf
    needed = (float(quantile((1 + EQUIVALENCE) / 2)) + float(quantile((1 + power) / 2))) * error
    if margin < needed:
        return (
            f"doing nothing shows too little ({original.value:+.3f}) for so few records: a model that never saw them "
            "would often not be cleared"
        )
    return ""


def ladder(tests: Sequence[AuditTest]) -> list[AuditTest]:
    """The tests with p values that share the error rate.

    Attacks are adjusted by Holm's method; distances come adjusted together, those of this model and those of other
    models by the same method apart. The families that there are divide the rate by SHARES.
    """
    whole = sum(SHARES[family] for family in {r.family for r in tests})
    attacks = [r.p for r in tests if r.family == "attack"]
    p_adjusted = iter(holm(torch.tensor(attacks, dtype=torch.float64)).tolist())
    shared = []
    for r in tests:
        p = next(p_adjusted) if r.family == "attack" else r.p_adjusted
        shared.append(dataclasses.replace(r, p_adjusted=min(1.0, p * whole / SHARES[r.family])))
    return shared


def decide(
    tests: Sequence[AuditTest], utility: Estimate | None, floor: float, records: int, target: str, barred: str = ""
) -> Verdict:
    """The verdict over the whole ladder.

    utility: change of accuracy on never-seen records; shown to be a fall by more than `floor`, it is a failure.
    `target` says what effects are measured against. `barred` says why tests
    do not apply, if so.
    """
    told = [r for r in tests if not r.uninformative_reason]
    smallest = min((_detectable(r.unlearned) for r in tests if r.kind != "distance"), default=float("nan"))
    left = [] if barred else [r for r in tests if r.outcome == "left"]
    failures, cautions = [f"{r.title}: {r.why}" for r in left], list[str]()
    if utility is not None and utility.value < -floor:
        fell = f"accuracy on never-seen records fell: {_show(utility)}"
        if utility.high < -floor:
            failures.append(f"utility: {fell}, more than the floor of {floor:g}")
        else:
            # no evidence on the records, so it stands beside the verdict and does not decide it
            cautions.append(f"caution: {fell}, perhaps more than the floor of {floor:g}")
    if failures:
        return Verdict(Status.NOT_VERIFIED, (*failures, *_hidden(tests)), smallest, _failed(left, tests, records))
    if barred:
        return Verdict(Status.UNDECIDED, (barred, *cautions), smallest, f"Nothing can be concluded: {barred}.")
    if doubts := _doubts(tests, records):
        sentence = f"The tests could neither confirm that the {records:,} records are gone nor show that they are not."
        return Verdict(Status.UNDECIDED, (*doubts, *cautions), smallest, sentence)
    reasons = [
        f"{r.title}: {r.why}{'' if r.kind == 'distance' else f' of {target}'}" for r in tests if r.outcome == "cleared"
    ]
    reasons.append(f"doing nothing would have been caught by: {', '.join(r.title for r in told)}")
    count = f"{len(told)} test{'s' * (len(told) > 1)} that would have caught doing nothing"
    lost = " It may have lost accuracy." if cautions else ""
    sentence = (
        f"By {count}, this model could not be told from one that never saw the {records:,} records, within the margins "
        f"stated; smaller traces, and tests not made here, are not ruled out.{lost}"
    )
    return Verdict(Status.VERIFIED, (*reasons, *cautions), smallest, sentence)


def _doubts(tests: Sequence[AuditTest], records: int) -> list[str]:
    """Why nothing can be verified, though nothing was shown to be left; empty if all is well."""
    doubts = []
    if records < MIN_RECORDS:
        doubts.append(
            f"{records} forget records are too few to tell (at least {MIN_RECORDS}); see each record's rank instead"
        )
    told = [r for r in tests if not r.uninformative_reason]
    if not tests:
        doubts.append("no decisive test was measured")
    elif not told:
        doubts.append(_no_informative_test(tests))
    elif not any(r.of_model for r in told):
        doubts.append("no informative test reads this model itself, only others by the same method")
    elif all(r.kind == "attack" or not r.of_model for r in told):
        doubts.append("no informative test reads a statistic other than the label's own score")
    return [*doubts, *(f"{r.title}: {r.why}" for r in tests if r.outcome == "open")]


def _no_informative_test(tests: Sequence[AuditTest]) -> str:
    caught = [r.title for r in tests if r.original.excludes(0.0) and r.kind != "distance"]
    if not caught:
        return "uninformative: with these records, no test tells doing nothing from having forgotten"
    return (
        "uninformative: with so few records no test would clear a model that never saw them, though doing nothing "
        f"would be caught by: {', '.join(caught)}"
    )


def _failed(failing: Sequence[AuditTest], tests: Sequence[AuditTest], records: int) -> str:
    if not failing:
        return "The model lost more accuracy on records that it never saw than unlearning may cost."
    count = f"{len(failing)} of {len(tests)} tests show{'s' * (len(failing) == 1)}"
    if not any(r.of_model for r in failing):
        return f"{count} that the method leaves traces of the {records:,} records in other models that it unlearns."
    over = [r for r in failing if "over-unlearned" in r.why]
    what = "stand out as shunned" if len(over) == len(failing) else "can still be told from never-seen ones"
    return f"{count} that the {records:,} records {what}."


def _hidden(tests: Sequence[AuditTest]) -> list[str]:
    """A failure of the probe alone among attacks has a name: the last layer forgot, the features did not."""
    left = {r.key for r in tests if r.outcome == "left"}
    outputs = [r for r in tests if r.kind == "attack" and not r.uninformative_reason]
    if "probe" in left and outputs and not any(r.key in left for r in outputs):
        return ["forgetting lives in the last layer only: the features below it still know the records"]
    return []


def _detectable(e: Estimate) -> float:
    """The effect that an interval as wide as this one excludes 0 for, four times in five."""
    from scipy.stats import norm

    quantile = float(norm.ppf((1 + e.level) / 2))
    return (e.high - e.low) / 2 * (1 + float(norm.ppf(0.8)) / quantile)


def _part(e: Estimate) -> str:
    return f"{e.value:.2f} [{e.low:.2f}, {e.high:.2f}]"


def _show(e: Estimate) -> str:
    return f"{e.value:+.3f} [{e.low:+.3f}, {e.high:+.3f}]"
