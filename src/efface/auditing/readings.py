"""Scores of models as rows of a table."""

from dataclasses import dataclass

from efface.types import Estimate


@dataclass(frozen=True)
class Reading:
    """One score of one model: an estimate, or the reason why there is none.

    `state` is `measured`, `not_measured`, `not_applicable` (it would mislead here) or `uninformative` (doing nothing
    would pass it too, or a retrained model fail it).
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
    """One row of a report: the same score of the original (doing nothing), unlearned and retrained models.

    `kind` is utility, attack, off_label, distance, features or ensemble; `group` is `all` or a kind of forget record.
    For several retrained models the value is their mean, and an attack's interval is where one more would lie.
    """

    key: str
    title: str
    group: str
    kind: str
    decisive: bool
    original: Reading
    unlearned: Reading
    retrained: Reading
