"""What a rehearsal found."""

from collections.abc import Sequence
from dataclasses import dataclass

from efface.auditing.audit_test import ALPHA, AuditTest
from efface.auditing.rehearsal.size import Size
from efface.auditing.verdict import Verdict
from efface.runtime.printing import Brief

# How the 5 % of false failures are shared where a request is too small to speak for itself.
DIRECT, PROCESS, STANDING = 0.2, 0.6, 0.2


@dataclass(frozen=True)
class Standing:
    """Whether the requested records stand out among others, as records that the model still knows.

    Args:
        title: Among which records, and in which model.
        p: p value of the hypothesis that they are like the others.
        least: The smallest p value of a single requested record.
        others: The number of the others.
        stands_out: Whether `p` is so small that they do.
        seen_one: The chance that a requested record would stand out had the run left it as it was; NaN if not known.
        seen_all: The same chance had the run left all of them as they were; NaN if not known.
    """

    title: str
    p: float
    least: float
    others: int
    stands_out: bool
    seen_one: float
    seen_all: float


@dataclass(frozen=True)
class Agreement:
    """Whether the deployed model has the requested records where the rehearsal has the rehearsed ones.

    Args:
        p: p value of the hypothesis that the requested records lie in the deployed model as rehearsed records that were
            as well known before lie in the runs of the rehearsal.
        shift: How much higher the margins of the requested records are in the deployed model than in the runs, where
            they were forgotten together with rehearsed ones: the mean, on the symmetric log.
        spread: The standard deviation of a requested record's margin over these runs, on the symmetric log.
    """

    p: float
    shift: float
    spread: float

    @property
    def holds(self) -> bool:
        """Whether it is not shown to differ."""
        return self.p > ALPHA


@dataclass(frozen=True, repr=False)
class Rehearsal(Brief):
    """What a rehearsal found: the process that made the deployed model, tried on records of the same kind.

    Args:
        records: How many training records were rehearsed.
        runs: How many runs forgot the request, each together with a batch of them.
        size: How that number was chosen.
        tests: The tests of the process on the rehearsed records.
        process: The verdict on the process, from these tests.
        doing_nothing_fails: Whether the original itself fails them, so that they would have caught doing nothing.
        no_trace: Whether original and unlearned model both are shown to lie within NO_TRACE of a model that never saw
            the rehearsed records.
        standings: How the requested records stand among rehearsed ones and among never-seen ones.
        agreement: Whether the deployed model treats them as the rehearsal does.
        alone: How many requested records, or groups, have no like among the records that could be rehearsed.
    """

    records: int
    runs: int
    size: Size
    tests: Sequence[AuditTest]
    process: Verdict
    doing_nothing_fails: bool
    no_trace: bool
    standings: Sequence[Standing]
    agreement: Agreement
    alone: int
