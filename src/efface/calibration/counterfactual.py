"""The logits that are expected of a model that never saw a record, by a reference model."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from efface.calibration.reference import NONE_STAYS
from efface.calibration.ridge import cross_fit
from efface.calibration.transport import transport_gauss, transport_ranks
from efface.data.records import Records
from efface.errors import RequestError
from efface.models.features import penultimate
from efface.models.running import logits_of
from efface.numerics.logits import (
    aligned,
    centre,
    class_count,
    fill_masked,
    margin,
    mask_classes,
    mask_like,
    of_classes,
    with_margin,
)
from efface.runtime.cost import Meter
from efface.runtime.printing import Brief
from efface.task import Task
from efface.types import Indices

# Only this many classes, the label included, are transported: covariances of more classes would need more records.
MAX_COORDINATES = 16
MAX_FEATURES = 128  # features of the reference's last hidden layer; if there are more, random projections of them


@dataclass(frozen=True, repr=False)
class CalibratedLogits(Brief):
    """Actual and expected logits of some records.

    Args:
        logits: The original's centred logits, (records, classes).
        expected: Logits expected of a model that never saw the records, (records, classes).
        targets: Labels, (records,).
    """

    logits: Tensor
    expected: Tensor
    targets: Tensor

    @property
    def score(self) -> Tensor:
        """The expected margin, (records,): higher for records that are easier for a model that never saw them."""
        return margin(self.expected, self.targets)

    @property
    def margin(self) -> Tensor:
        """The original's margin, (records,)."""
        return margin(self.logits, self.targets)

    def order(self) -> Tensor:
        """Class indices, (records, classes): the label first, then other classes by falling expected logits."""
        return aligned(self.expected, self.targets)

    def rows(self, at: Tensor | slice) -> "CalibratedLogits":
        """Some of the records."""
        return CalibratedLogits(self.logits[at], self.expected[at], self.targets[at])


@dataclass(frozen=True, repr=False)
class CalibrationRecords(Brief):
    """The records that expected logits are learned from.

    Args:
        train: The training records.
        holdout: The holdout records.
        members: Training positions that the reference was not trained on.
        nonmembers: Holdout positions.
        forget_classes: Classes whose records are all to be forgotten.
    """

    train: Records
    holdout: Records
    members: Indices
    nonmembers: Indices
    forget_classes: tuple[int, ...] = ()

    def staying(self) -> Indices:
        """The nonmembers of classes that are not wholly forgotten."""
        return self.nonmembers[~np.isin(self.holdout.targets(self.nonmembers).numpy(), self.forget_classes)]


@dataclass(frozen=True, repr=False)
class OriginalLogits(Brief):
    """What the original says of the records that expected logits are learned from.

    Args:
        members: Its centred logits of the members, (records, classes).
        nonmembers: The same of nonmembers of classes that stay.
        gap: By how much it is more accurate on members than on nonmembers, as a share of records.
    """

    members: Tensor
    nonmembers: Tensor
    gap: float


def original_logits(task: Task, original: nn.Module, records: CalibrationRecords, meter: Meter) -> OriginalLogits:
    """Read what the original says of members and nonmembers.

    Args:
        task: The task, for its hooks.
        original: The original model.
        records: The records.
        meter: Charged with the forward passes.

    Raises:
        RequestError: No nonmember is of a class that stays.
    """
    staying = records.staying()
    if not len(staying):
        raise RequestError(NONE_STAYS)
    places = ((records.train, records.members), (records.holdout, staying))
    both = [mask_classes(logits_of(task, original, *at, meter).double(), records.forget_classes) for at in places]
    right = [
        float((z.argmax(1) == data.targets(at)).double().mean()) for z, (data, at) in zip(both, places, strict=True)
    ]
    return OriginalLogits(both[0], both[1], right[0] - right[1])


class CounterfactualLogits:
    """Expected logits of any record, by a linear map from the reference's outputs to the original's logits.

    The map reads the reference's logits and last hidden layer. It is fitted, and cross-fitted, on nonmembers.

    The reference began at the original's weights, so it still remembers a little of every training record. Members
    measure this memory: apart from it, they have the same distribution as nonmembers. Optimal transport from the
    distribution of members to that of nonmembers removes it from the expected logits of training records.

    Args:
        task: The task, for its hooks.
        original: The original model.
        reference: The reference model.
        records: The records to learn from.
        meter: Charged with the forward passes.
        known: What the original says of them; read where it is not given.
    """

    def __init__(
        self,
        task: Task,
        original: nn.Module,
        reference: nn.Module,
        records: CalibrationRecords,
        meter: Meter,
        known: OriginalLogits | None = None,
    ) -> None:
        self._task, self._original, self.reference, self._meter = task, original, reference, meter
        self._records, self.forget_classes = records, records.forget_classes
        known = known or original_logits(task, original, records, meter)
        holdout, nonmembers, logits = records.holdout, records.staying(), known.nonmembers
        inputs = self.reference_outputs(holdout, nonmembers)
        values, self._maps = cross_fit(inputs, fill_masked(logits, 0.0))
        values = mask_classes(mask_like(values, logits), self.forget_classes)
        self.nonmembers = CalibratedLogits(logits, values, holdout.targets(nonmembers))
        raw = self._mapped(records.train, records.members, known.members)
        self.members = CalibratedLogits(raw.logits, self.remove_memory(raw, raw), raw.targets)
        self._raw_members = raw
        self._read: dict[bytes, CalibratedLogits] = {}

    def of_training(self, positions: Indices) -> CalibratedLogits:
        """Expected logits of training records that the reference was not trained on, its memory of them removed."""
        key = positions.tobytes()
        if key not in self._read:  # cached, since the method and its stop rule need the same records
            raw = self.uncorrected(self._records.train, positions)
            self._read = {key: CalibratedLogits(raw.logits, self.remove_memory(raw, self._raw_members), raw.targets)}
        return self._read[key]

    def of_holdout(self, positions: Indices) -> CalibratedLogits:
        """Expected logits of holdout records other than those that the map was fitted on."""
        return self.uncorrected(self._records.holdout, positions)

    def uncorrected(self, records: Records, positions: Indices) -> CalibratedLogits:
        """Expected logits by the map only, which still contain the reference's memory of the records.

        Args:
            records: A dataset.
            positions: Which of its records.
        """
        z = logits_of(self._task, self._original, records, positions, self._meter)
        return self._mapped(records, positions, mask_classes(z.double(), self.forget_classes))

    def _mapped(self, records: Records, positions: Indices, logits: Tensor) -> CalibratedLogits:
        """Expected logits by the map only, of records whose centred logits by the original are known."""
        inputs = self.reference_outputs(records, positions)
        values = mask_like(torch.stack([one(inputs) for one in self._maps]).mean(0), logits)
        return CalibratedLogits(logits, mask_classes(values, self.forget_classes), records.targets(positions))

    def remove_memory(self, raw: CalibratedLogits, members: CalibratedLogits) -> Tensor:
        """Move expected logits from the distribution of members to that of nonmembers.

        Args:
            raw: Expected logits of training records by the map only.
            members: Those of the members.

        Returns:
            Expected logits, (records, classes).
        """
        nonmembers, order = self.nonmembers, raw.order()
        values, source, target = (s.expected.gather(1, s.order()) for s in (raw, members, nonmembers))
        used = min(class_count(raw.expected, members.expected, nonmembers.expected), MAX_COORDINATES)
        moved = values.clone()
        moved[:, :used] = transport_gauss(values[:, :used], source[None, :, :used], target[None, :, :used])
        expected = torch.empty_like(raw.expected).scatter(1, order, moved)
        wanted = transport_ranks(raw.score, members.score[None], nonmembers.score[None])
        expected = with_margin(expected, raw.targets, wanted)
        # a class that is wholly forgotten has neither members nor nonmembers
        odd = of_classes(raw.targets, self.forget_classes)
        return mask_classes(torch.where(odd[:, None], raw.expected, expected), self.forget_classes)

    def reference_outputs(self, records: Records, positions: Indices) -> Tensor:
        """The inputs of the map: the reference's centred logits, and its last hidden layer if it has one.

        Args:
            records: A dataset.
            positions: Which of its records, (n,).

        Returns:
            Inputs, (n, a), float64.
        """
        seen = penultimate(self._task, self.reference, records, positions, self._meter, pooled=True)
        if seen is None:
            z = logits_of(self._task, self.reference, records, positions, self._meter)
            return fill_masked(centre(z.double(), self.forget_classes), 0.0)
        logits = fill_masked(centre(seen[1].double(), self.forget_classes), 0.0)
        return torch.cat([logits, project_features(seen[0].double())], 1)


def project_features(hidden: Tensor) -> Tensor:
    """Project features to at most MAX_FEATURES columns, by the same random matrix at every call."""
    width = hidden.shape[1]
    if width <= MAX_FEATURES:
        return hidden
    mix = torch.randn(width, MAX_FEATURES, generator=torch.Generator().manual_seed(width), dtype=hidden.dtype)
    narrow: Tensor = hidden @ mix / MAX_FEATURES**0.5
    return narrow
