"""Frozen values that pass between the rooms of efface; nothing here computes anything heavy."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Floats = NDArray[np.float64]
RecordId = int | str


class Status(StrEnum):
    """What an audit concludes."""

    VERIFIED = "verified"
    NOT_VERIFIED = "not_verified"
    UNDECIDED = "undecided"


class Level(StrEnum):
    """How much an audit spends on evidence."""

    QUICK = "quick"  # no extra models; only requests that look like a random sample
    STANDARD = "standard"  # a few reference models
    STRONG = "strong"  # ensembles of originals, unlearned and retrained models


class Outcome(StrEnum):
    """Why the step loop ended, in words of the evidence that the stop rule saw."""

    LOOKS_UNSEEN = "looks_unseen"  # the whole interval lies within the margin of the target
    UNDER_UNLEARNED = "under_unlearned"  # step limit reached, interval wholly above the target
    OVER_UNLEARNED = "over_unlearned"  # interval wholly below the target
    UNDECIDED = "undecided"  # step limit reached, interval covers the target but is wider than the margin
    UTILITY_FLOOR = "utility_floor"  # held-out accuracy fell below the floor
    NOT_JUDGED = "not_judged"  # no stop rule was asked for


@dataclass(frozen=True)
class Step:
    """One perturbation of the weights.

    `at_rest` marks the points at which a method allows the weights to be judged (the end of a cycle of its learning
    rate); the driver looks at evidence only there.
    """

    index: int
    loss: float
    at_rest: bool = False


@dataclass(frozen=True)
class Estimate:
    """A number with a two-sided interval; `level` is the interval's coverage in (0, 1)."""

    value: float
    low: float
    high: float
    level: float

    @classmethod
    def point(cls, value: float, level: float) -> "Estimate":
        """A number without an interval."""
        return cls(value, math.nan, math.nan, level)

    def within(self, centre: float, margin: float) -> bool:
        """Whether the whole interval lies within `margin` of `centre`."""
        return centre - margin <= self.low and self.high <= centre + margin

    def excludes(self, centre: float) -> bool:
        """Whether `centre` lies outside the interval."""
        return not self.low <= centre <= self.high


@dataclass(frozen=True)
class Assumption:
    """Something that a method supposes of a request, whether it holds, and what it means if not.

    `records` are the ids that do not meet it, where it is about single records.
    """

    name: str
    met: bool
    sentence: str
    records: tuple[RecordId, ...] = ()


@dataclass(frozen=True)
class Look:
    """What the stop rule saw at one check: the conditional AUC of forget against holdout records, and utility.

    `auc` is the chance that a forget record's margin exceeds that of a holdout record of the same difficulty: 0.5
    for a model that never saw it, higher while it is remembered, lower where the model shuns it. `accuracy_change` is
    the held-out accuracy less the original's, paired on the same records.
    """

    step: int
    auc: Estimate
    holdout_accuracy: float
    accuracy_change: Estimate
    forget_accuracy: float
    loss: float


@dataclass(frozen=True)
class Evidence:
    """Everything that the stop rule saw, and why the loop ended."""

    looks: tuple[Look, ...]
    outcome: Outcome
    reason: str
    chosen_step: int
    target: float
    margin: float
    planned_looks: int


@dataclass(frozen=True)
class PhaseCost:
    """Cost of one phase; `forward` and `backward` count examples, not batches."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    forward: int = 0
    backward: int = 0

    def __add__(self, other: "PhaseCost") -> "PhaseCost":
        return PhaseCost(
            self.wall_s + other.wall_s,
            self.cpu_s + other.cpu_s,
            self.forward + other.forward,
            self.backward + other.backward,
        )


@dataclass(frozen=True)
class Cost:
    """Cost of a run, each phase apart."""

    phases: Mapping[str, PhaseCost] = field(default_factory=dict)

    @property
    def total(self) -> PhaseCost:
        """Sum over phases."""
        return sum(self.phases.values(), PhaseCost())

    @property
    def cpu_s(self) -> float:
        """CPU seconds of all phases."""
        return self.total.cpu_s

    @property
    def wall_s(self) -> float:
        """Wall-clock seconds of all phases."""
        return self.total.wall_s


@dataclass(frozen=True)
class Splits:
    """Who is used for what, as positions in the training and holdout sets; no two fields of a set overlap.

    forget, retain, reference, members and audit_reference are positions in the training set, of which
    reference (the method's reference model is trained on it), members (retain records which that reference never
    saw) and audit_reference (kept for the audit's own models) are parts of retain. calibration, stopping and audit
    are positions in the holdout set.
    """

    forget: Indices
    retain: Indices
    reference: Indices
    members: Indices
    audit_reference: Indices
    calibration: Indices
    stopping: Indices
    audit: Indices


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


@dataclass(frozen=True)
class Verdict:
    """The audit's conclusion, its reasons, the smallest effect that could have been shown, and one sentence for all."""

    status: Status
    reasons: tuple[str, ...]
    smallest_effect: float
    sentence: str
