"""Scores of models as rows of a table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from efface.auditing.audit_test import CONFIDENCE
from efface.metrics.membership import prediction_interval
from efface.types import Estimate


@dataclass(frozen=True)
class Reading:
    """One score of one model: an estimate, or the reason why there is none.

    Args:
        state: `measured`, `not_measured`, `not_applicable` (it would mislead here) or `uninformative` (doing nothing
            would pass it too, or a retrained model fail it).
        estimate: The score, where there is one.
        why: Why it is not measured, not applicable or uninformative.
    """

    state: str
    estimate: Estimate | None = None
    why: str = ""

    @classmethod
    def of(cls, estimate: Estimate) -> "Reading":
        """A measured reading."""
        return cls("measured", estimate)

    @classmethod
    def missing(cls, why: str) -> "Reading":
        """A reading that could not be had, and why."""
        return cls("not_measured", None, why)


@dataclass(frozen=True)
class Metric:
    """One row of a report: the same score of three kinds of models.

    Args:
        key: Short name, unique within a group.
        title: Name for people.
        group: `all`, or a kind of forget record.
        kind: `utility`, `attack`, `off_label`, `distance`, `features` or `ensemble`.
        decisive: Whether a test of the verdict is made of it.
        original: Score of doing nothing.
        unlearned: Score of the unlearned model.
        retrained: Score of retrained models: for several, their mean; an attack's interval is where one more would lie.
    """

    key: str
    title: str
    group: str
    kind: str
    decisive: bool
    original: Reading
    unlearned: Reading
    retrained: Reading


NO_RETRAINED = Reading.missing("no retrained models were given")


def measured_row(
    key: str, title: str, group: str, kind: str, shown: Sequence[Estimate | None], decisive: bool = False
) -> Metric:
    """A row of estimates of the original, the unlearned and the retrained models; None for those without models."""
    original, unlearned, retrained = (NO_RETRAINED if e is None else Reading.of(e) for e in shown)
    return Metric(key, title, group, kind, decisive, original, unlearned, retrained)


def row_of_one_reading(key: str, title: str, kind: str, reading: Reading, decisive: bool = False) -> Metric:
    """A row that says the same of all models, such as why nothing was measured."""
    return Metric(key, title, "all", kind, decisive, reading, reading, reading)


def one_more(values: Sequence[float], low: float, high: float) -> Estimate | None:
    """Mean of a score over retrained models, with the interval within [low, high] where one more would lie."""
    return prediction_interval(values, CONFIDENCE, low, high) if values else None


def bare(value: float) -> Estimate:
    """A number without an interval."""
    return Estimate.point(value, CONFIDENCE)


def distance_reading(e: Estimate) -> Reading:
    """What is measured in the spread of retrained models, which needs them to differ."""
    if not math.isfinite(e.value):
        return Reading.missing("the retrained models say the same of every record, so there is no unit of distance")
    return Reading.of(e)
