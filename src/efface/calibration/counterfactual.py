"""The logits that a model would give to a record that it never saw, as expected from the reference model."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from efface.calibration.ridge import cross_fit
from efface.calibration.transport import transport_gauss, transport_ranks
from efface.data.records import Records
from efface.models.features import penultimate
from efface.models.running import logits_of
from efface.numerics.logits import aligned, centre, margin, mask_classes, of_classes, with_margin
from efface.runtime.cost import Meter
from efface.task import Task
from efface.types import Indices

# Classes beyond the label and this many runners-up stay as they are: covariances of more need more records.
MAX_COORDINATES = 16
MAX_FEATURES = 128  # of the reference's last hidden layer; more are projected at random


@dataclass(frozen=True)
class CalibratedLogits:
    """The original's centred logits of some records, those expected of a nonmember, and the labels.

    Logits are (records, classes), targets (records,).
    """

    logits: Tensor
    expected: Tensor
    targets: Tensor

    @property
    def score(self) -> Tensor:
        """The expected margin: how easy the record is for a model that never saw it (higher = easier)."""
        return margin(self.expected, self.targets)

    @property
    def margin(self) -> Tensor:
        """The original's margin."""
        return margin(self.logits, self.targets)

    def order(self) -> Tensor:
        """Label-aligned coordinates: the label first, then the other classes as the expected logits rank them."""
        return aligned(self.expected, self.targets)

    def rows(self, at: Tensor | slice) -> "CalibratedLogits":
        """Some of the records."""
        return CalibratedLogits(self.logits[at], self.expected[at], self.targets[at])


@dataclass(frozen=True)
class CalibrationRecords:
    """The records that expected logits are learned from: training and holdout records, and which of them.

    `members` are training positions that did not teach the reference, `nonmembers` holdout positions.
    `forget_classes` are classes of which all records are to be forgotten.
    """

    train: Records
    holdout: Records
    members: Indices
    nonmembers: Indices
    forget_classes: tuple[int, ...] = ()


class CounterfactualLogits:
    """Expected logits of any record, by a map from the reference's outputs on it to the original's logits.

    The map is fitted on nonmembers, and cross-fitted there. It reads the reference's logits and last hidden layer.

    The reference began at the original's weights, so it still knows a little of every training record. Members
    measure that: they and nonmembers are drawn alike, so whatever distinguishes their expected logits is memory, and
    optimal transport from the one distribution to the other takes it out of those of any training record.
    """

    def __init__(
        self,
        task: Task,
        original: nn.Module,
        reference: nn.Module,
        records: CalibrationRecords,
        meter: Meter,
    ) -> None:
        self._task, self._original, self.reference, self._meter = task, original, reference, meter
        self._records, self.forget_classes = records, records.forget_classes
        holdout, nonmembers = records.holdout, records.nonmembers
        nonmembers = nonmembers[~np.isin(holdout.targets(nonmembers).numpy(), self.forget_classes)]
        inputs, logits = self.reference_outputs(holdout, nonmembers), self._logits(holdout, nonmembers)
        values, self._maps = cross_fit(inputs, logits)
        values = mask_classes(values, self.forget_classes)
        self.nonmembers = CalibratedLogits(logits, values, holdout.targets(nonmembers))
        raw = self.uncorrected(records.train, records.members)
        self.members = CalibratedLogits(raw.logits, self.remove_memory(raw, raw), raw.targets)
        self._raw_members = raw
        self._read: dict[bytes, CalibratedLogits] = {}

    def of_training(self, positions: Indices) -> CalibratedLogits:
        """Training records that did not teach the reference, with what it remembers of them taken out."""
        key = positions.tobytes()
        if key not in self._read:  # the method and its stop rule ask for the same ones
            raw = self.uncorrected(self._records.train, positions)
            self._read = {key: CalibratedLogits(raw.logits, self.remove_memory(raw, self._raw_members), raw.targets)}
        return self._read[key]

    def of_holdout(self, positions: Indices) -> CalibratedLogits:
        """Holdout records other than those that the map was fitted on."""
        return self.uncorrected(self._records.holdout, positions)

    def uncorrected(self, records: Records, positions: Indices) -> CalibratedLogits:
        """Expected logits by the map alone, with what the reference remembers of the records."""
        inputs = self.reference_outputs(records, positions)
        values = torch.stack([one(inputs) for one in self._maps]).mean(0)
        return CalibratedLogits(
            self._logits(records, positions), mask_classes(values, self.forget_classes), records.targets(positions)
        )

    def remove_memory(self, raw: CalibratedLogits, members: CalibratedLogits) -> Tensor:
        """Expected logits (records, classes) moved from the distribution over members to that over nonmembers."""
        nonmembers, order = self.nonmembers, raw.order()
        values, source, target = (s.expected.gather(1, s.order()) for s in (raw, members, nonmembers))
        used = min(order.shape[1], MAX_COORDINATES)
        moved = values.clone()
        moved[:, :used] = transport_gauss(values[:, :used], source[None, :, :used], target[None, :, :used])
        expected = torch.empty_like(raw.expected).scatter(1, order, moved)
        wanted = transport_ranks(raw.score, members.score[None], nonmembers.score[None])
        expected = with_margin(expected, raw.targets, wanted)
        # a class that is wholly forgotten has neither members nor nonmembers
        odd = of_classes(raw.targets, self.forget_classes)
        return mask_classes(torch.where(odd[:, None], raw.expected, expected), self.forget_classes)

    def _logits(self, records: Records, positions: Indices) -> Tensor:
        z = logits_of(self._task, self._original, records, positions, self._meter)
        return mask_classes(z.double(), self.forget_classes)

    def reference_outputs(self, records: Records, positions: Indices) -> Tensor:
        """What the map reads: the reference's centred logits and, where it has one, its last hidden layer."""
        seen = penultimate(self._task, self.reference, records, positions, self._meter, pooled=True)
        if seen is None:
            z = logits_of(self._task, self.reference, records, positions, self._meter)
            return centre(z.double(), self.forget_classes)
        return torch.cat([centre(seen[1].double(), self.forget_classes), project_features(seen[0].double())], 1)


def project_features(hidden: Tensor) -> Tensor:
    """At most MAX_FEATURES columns: always the same random mixtures of the given ones, where there are more."""
    width = hidden.shape[1]
    if width <= MAX_FEATURES:
        return hidden
    mix = torch.randn(width, MAX_FEATURES, generator=torch.Generator().manual_seed(width), dtype=hidden.dtype)
    narrow: Tensor = hidden @ mix / MAX_FEATURES**0.5
    return narrow
