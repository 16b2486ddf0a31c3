"""The verdict of an audit: one of three conclusions, from all tests with their controls and intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from efface.auditing.audit_test import AuditTest, show
from efface.auditing.config import Status as Status
from efface.runtime.printing import by_number, how_many, sheet
from efface.types import Estimate

# Raised by hand when any number of a verdict or table changes for the same models; stored results name it.
JUDGE_VERSION = 2
MIN_RECORDS = 30  # requests with fewer forget records, or fewer persons, cannot be verified
UTILITY_FLOOR = 0.03  # largest loss of accuracy on never-seen records that unlearning may cost


CORRECTION = (
    "Tests detect at 5 % together: p values of attacks are adjusted by Holm's method, those of distances by Westfall "
    "and Young's max-T permutation; with all of them, attacks get a fifth of the 5 %, distances of this model 62 % and "
    "distances of other models by the same method 18 %. A model passes only if it is cleared by every test that could "
    "have cleared one, so these need no adjusting. Which tests could have follows from doing nothing and from the "
    "number of records, never from the unlearned model. Single "
    "records are flagged by Benjamini and Hochberg's method at 5 %."
)


class Forgotten(NamedTuple):
    """How many records a request takes.

    Args:
        records: Number of records.
        groups: Number of persons, or other groups, that they belong to; None if each stands for itself.
    """

    records: int
    groups: int | None = None

    def __str__(self) -> str:
        return how_many(self.records, "record") + (
            f" of {how_many(self.groups, 'group')}" if self.groups is not None else ""
        )

    def be(self, one: str = "is", many: str = "are") -> str:
        """The verb that fits their number: `one` for a single record, else `many`."""
        return by_number(self.records, one, many)


class Change(NamedTuple):
    """How much better or worse a model answers on never-seen records than before.

    Args:
        estimate: The difference, negative for a loss.
        of: What it is a difference of, in words.
        floor: Largest loss that is allowed; a loss shown to be larger fails the model.
    """

    estimate: Estimate
    of: str = "accuracy"
    floor: float = UTILITY_FLOOR


@dataclass(frozen=True, repr=False)
class Verdict:
    """The conclusion of an audit.

    Args:
        status: The conclusion, as one word.
        reasons: The reasons for it, one line each.
        smallest_effect: The smallest effect on an AUC that some test detects with a probability of 0.8; NaN without a
            test.
        sentence: The conclusion as a sentence.
        next_steps: What to do next, one line each, with the command or the Python call; empty if it is verified.
    """

    status: Status
    reasons: tuple[str, ...]
    smallest_effect: float
    sentence: str
    next_steps: tuple[str, ...] = ()

    def __repr__(self) -> str:
        title = f"Verdict: {self.status.replace('_', ' ')}. {self.sentence}"
        return sheet(title, [("reasons", self.reasons), ("next", self.next_steps)])


def decide(
    tests: Sequence[AuditTest],
    utility: Change | None,
    forgotten: Forgotten,
    target: str,
    barred: str = "",
    unmeasured: Sequence[str] = (),
) -> Verdict:
    """Decide the verdict from all tests.

    Args:
        tests: The tests, with adjusted p values.
        utility: Change of accuracy, or what takes its place, on never-seen records; None if it was not measured.
        forgotten: Number of forget records, and of the groups that they belong to.
        target: What effects are measured against, in words.
        barred: Why tests do not apply; empty if they do.
        unmeasured: Why tests that would decide could not be made.
    """
    informative = [t for t in tests if not t.uninformative_reason]
    smallest = min((_detectable(t.unlearned) for t in tests if t.kind != "distance"), default=float("nan"))
    left = [] if barred else [t for t in tests if t.outcome == "left"]
    failures, cautions = [f"{t.title}: {t.why}" for t in left], list[str]()
    what = "accuracy" if utility is None else utility.of
    if utility is not None and utility.estimate.value < -utility.floor:
        fell = f"{what} on never-seen records fell: {show(utility.estimate)}"
        if utility.estimate.high < -utility.floor:
            failures.append(f"utility: {fell}, more than the floor of {utility.floor:g}")
        else:
            # it is not shown to be too large, so it is stated as a caution and does not decide
            cautions.append(f"caution: {fell}, perhaps more than the floor of {utility.floor:g}")
    if failures:
        sentence = _failed(left, tests, forgotten, what)
        return Verdict(Status.NOT_VERIFIED, (*failures, *_hidden(tests)), smallest, sentence)
    if barred:
        return Verdict(Status.UNDECIDED, (barred, *cautions), smallest, f"Nothing can be concluded: {barred}.")
    if doubts := _doubts(tests, forgotten, unmeasured):
        sentence = (
            f"The tests could neither confirm that the {forgotten} {forgotten.be()} forgotten nor show that "
            f"{forgotten.be('it is not', 'they are not')}."
            if tests
            else f"No test could be made, so whether the {forgotten} {forgotten.be()} forgotten is not known."
        )
        return Verdict(Status.UNDECIDED, (*doubts, *cautions), smallest, sentence)
    reasons = [
        f"{t.title}: {t.why}{'' if t.kind == 'distance' else f' of {target}'}" for t in tests if t.outcome == "cleared"
    ]
    reasons.append(f"doing nothing would have been caught by: {'; '.join(t.title for t in informative)}")
    count = f"{how_many(len(informative), 'test')} that would have caught doing nothing"
    lost = f" It may have lost {what}." if cautions else ""
    sentence = (
        f"By {count}, this model could not be distinguished from one that never saw the {forgotten}, within "
        f"the margins stated; smaller traces, and tests not made here, are not ruled out.{lost}"
    )
    return Verdict(Status.VERIFIED, (*reasons, *cautions), smallest, sentence)


def _doubts(tests: Sequence[AuditTest], forgotten: Forgotten, unmeasured: Sequence[str]) -> list[str]:
    """Reasons why the model cannot be verified, although no test failed it; empty if it can."""
    doubts, (records, groups) = list[str](), forgotten
    if records < MIN_RECORDS:
        too_few = f"{how_many(records, 'forget record')} {forgotten.be()} too few"
        doubts.append(f"{too_few} (at least {MIN_RECORDS}); see each record's rank instead")
    elif groups is not None and groups < MIN_RECORDS:
        doubts.append(
            f"forget records of {how_many(groups, 'group')}, such as persons, are too few (at least {MIN_RECORDS} "
            "groups), however many records each has; see each record's rank instead"
        )
    informative = [t for t in tests if not t.uninformative_reason]
    why = f": {'; '.join(unmeasured)}" if unmeasured else ""
    if not tests:
        doubts.append(f"no decisive test was measured{why}")
    elif not informative:
        doubts.append(_no_informative_test(tests))
    elif not any(t.of_model for t in informative):
        doubts.append("no test that could tell reads this model itself, only others by the same method")
    elif all(t.kind == "attack" or not t.of_model for t in informative):
        doubts.append(f"no test that could tell reads a statistic other than the label's own score{why}")
    return [*doubts, *(f"{t.title}: {t.why}" for t in tests if t.outcome == "open")]


def _no_informative_test(tests: Sequence[AuditTest]) -> str:
    caught = [t.title for t in tests if t.original.excludes(0.0) and t.kind != "distance"]
    if not caught:
        return "with these records, no test distinguishes doing nothing from having forgotten"
    return (
        "with so few records no test would clear a model that never saw them, though doing nothing "
        f"would be caught by: {'; '.join(caught)}"
    )


def _failed(failing: Sequence[AuditTest], tests: Sequence[AuditTest], forgotten: Forgotten, what: str) -> str:
    if not failing:
        return f"The model lost more {what} on records that it never saw than unlearning may cost."
    count = f"{len(failing)} of {how_many(len(tests), 'test')} {by_number(len(failing), 'shows', 'show')}"
    if not any(t.of_model for t in failing):
        return f"{count} that the method leaves traces of the {forgotten} in other models that it unlearns."
    over = [t for t in failing if t.side == "over_unlearned"]
    what = (
        f"{forgotten.be('was', 'were')} unlearned too far"
        if len(over) == len(failing)
        else "can still be distinguished from never-seen ones"
    )
    return f"{count} that the {forgotten} {what}."


def _hidden(tests: Sequence[AuditTest]) -> list[str]:
    """A reason if the probe fails but no attack on outputs does: the last layer forgot, the features did not."""
    left = {t.key for t in tests if t.outcome == "left"}
    outputs = [t for t in tests if t.kind == "attack" and not t.uninformative_reason]
    if "probe" in left and outputs and not any(t.key in left for t in outputs):
        return ["forgetting lives in the last layer only: the features below it still know the records"]
    return []


def _detectable(e: Estimate) -> float:
    """The effect for which an interval as wide as this one excludes 0 with a probability of 0.8."""
    from scipy.stats import norm

    quantile = float(norm.ppf((1 + e.level) / 2))
    return (e.high - e.low) / 2 * (1 + float(norm.ppf(0.8)) / quantile)
