"""The rows of an audit's table: one score of the original, the unlearned and the retrained models."""

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
        state: `measured`, `not_measured`, `not_applicable` (it would mislead here) or `uninformative` (the original
            would pass its test too, or a retrained model fails it).
        estimate: The score; None if there is none.
        why: Why it is not measured, not applicable or uninformative; else empty.
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
        """A reading that could not be measured, with the reason."""
        return cls("not_measured", None, why)


@dataclass(frozen=True)
class Metric:
    """One row of a report: the same score of the original, the unlearned and the retrained models.

    Args:
        key: Short name, unique among the rows of the same records.
        title: Name for people.
        records: `all`, or the name of a kind of forget records that the row is about.
        kind: `utility`, `attack`, `off_label`, `distance`, `features` or `ensemble`.
        decisive: Whether a test of the verdict is made from it.
        original: Score of the original model.
        unlearned: Score of the unlearned model.
        retrained: Score of retrained models, the mean of several; an attack has the prediction interval of another one.
    """

    key: str
    title: str
    records: str
    kind: str
    decisive: bool
    original: Reading
    unlearned: Reading
    retrained: Reading


NO_RETRAINED = Reading.missing("no retrained models were given")


def measured_row(
    key: str, title: str, records: str, kind: str, shown: Sequence[Estimate | None], decisive: bool = False
) -> Metric:
    """Make a row from three estimates.

    Args:
        key: As in Metric.
        title: As in Metric.
        records: As in Metric.
        kind: As in Metric.
        shown: Estimates of the original, the unlearned and the retrained models; None if there are no such models.
        decisive: As in Metric.
    """
    original, unlearned, retrained = (NO_RETRAINED if e is None else Reading.of(e) for e in shown)
    return Metric(key, title, records, kind, decisive, original, unlearned, retrained)


def row_of_one_reading(key: str, title: str, kind: str, reading: Reading, decisive: bool = False) -> Metric:
    """Make a row with the same reading for all models, for example the reason why nothing was measured.

    Args:
        key: As in Metric.
        title: As in Metric.
        kind: As in Metric.
        reading: The reading.
        decisive: As in Metric.
    """
    return Metric(key, title, "all", kind, decisive, reading, reading, reading)


def one_more(values: Sequence[float], low: float, high: float) -> Estimate | None:
    """Mean of a score over retrained models, with the prediction interval of another one.

    Args:
        values: The score of each retrained model.
        low: Smallest possible score.
        high: Largest possible score.

    Returns:
        The mean, with an interval within [low, high]; None without models.
    """
    return prediction_interval(values, CONFIDENCE, low, high) if values else None


def bare(value: float) -> Estimate:
    """A number without an interval."""
    return Estimate.point(value, CONFIDENCE)


def distance_reading(e: Estimate) -> Reading:
    """The reading of a distance, whose unit is the spread of retrained models; missing if they have no spread."""
    if not math.isfinite(e.value):
        return Reading.missing("the retrained models say the same of every record, so there is no unit of distance")
    return Reading.of(e)
