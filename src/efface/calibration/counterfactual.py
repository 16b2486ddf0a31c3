"""The logits that are expected of a model that never saw a record, by a reference model."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from efface.calibration.reference import NONE_STAYS
from efface.calibration.ridge import cross_fit
from efface.calibration.transport import transport_gauss, transport_ranks
from efface.data.records import Records
from efface.errors import RequestError
from efface.kinds import CLASSES, Kind
from efface.models.features import penultimate
from efface.models.running import logits_of, unseen_logits
from efface.runtime.cost import Meter
from efface.runtime.printing import Brief
from efface.task import Task
from efface.types import Indices

# Only this many coordinates, the label's included, are transported: covariances of more would need more records.
MAX_COORDINATES = 16
MAX_FEATURES = 128  # features of the reference's last hidden layer; if there are more, random projections of them


@dataclass(frozen=True, repr=False)
class CalibratedLogits(Brief):
    """Actual and expected values of some records: for classes, centred logits.

    Args:
        logits: What steps compare of what the original says, (records, c).
        expected: What is expected of a model that never saw the records, (records, c).
        targets: Labels, (records, ...).
        rules: The kind of the task.
    """

    logits: Tensor
    expected: Tensor
    targets: Tensor
    rules: Kind = CLASSES

    @property
    def score(self) -> Tensor:
        """The expected margin, (records,): higher for records that are easier for a model that never saw them."""
        return self.rules.margin(self.expected, self.targets)

    @property
    def margin(self) -> Tensor:
        """The original's margin, (records,)."""
        return self.rules.margin(self.logits, self.targets)

    def aligned(self, values: Tensor) -> Tensor:
        """Values in the coordinates of the records, (records, c): for classes, the label's logit is the first."""
        return self.rules.aligned(values, self.expected, self.targets)

    def residual(self) -> Tensor:
        """Actual less expected values, in the coordinates of the records, (records, c)."""
        return self.rules.aligned_step(self.logits - self.expected, self.expected, self.targets)

    def unaligned(self, values: Tensor) -> Tensor:
        """The inverse of `aligned`."""
        return self.rules.unaligned(values, self.expected, self.targets)

    def rows(self, at: Tensor | slice) -> "CalibratedLogits":
        """Some of the records."""
        return CalibratedLogits(self.logits[at], self.expected[at], self.targets[at], self.rules)


@dataclass(frozen=True, repr=False)
class CalibrationRecords(Brief):
    """The records that expected logits are learned from.

    Args:
        train: The training records.
        holdout: The holdout records.
        members: Training positions that the reference was not trained on.
        nonmembers: Holdout positions.
        forget_classes: Classes whose records are all to be forgotten.
        request: How many records are to be forgotten: members are read in parts of as many, each as if it had left.
    """

    train: Records
    holdout: Records
    members: Indices
    nonmembers: Indices
    forget_classes: tuple[int, ...] = ()
    request: int = 1

    def staying(self) -> Indices:
        """The nonmembers of classes that are not wholly forgotten."""
        if not self.forget_classes:
            return self.nonmembers
        return self.nonmembers[~np.isin(self.holdout.targets(self.nonmembers).numpy(), self.forget_classes)]


@dataclass(frozen=True, repr=False)
class OriginalLogits(Brief):
    """What the original says of the records that expected logits are learned from.

    Args:
        members: What steps compare of it, of the members, (records, c).
        nonmembers: The same of nonmembers of classes that stay.
        gap: By how much its utility, such as accuracy, is higher on members than on nonmembers.
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
    rules, erased = task.rules, records.forget_classes
    values = [
        unseen_logits(task, original, *places[0], records.request, meter).double(),
        logits_of(task, original, *places[1], meter).double(),
    ]
    # of classes, the likeliest among those that stay
    useful = [
        float(rules.useful(rules.erase(v, erased) if erased else v, data.targets(at)).mean())
        for v, (data, at) in zip(values, places, strict=True)
    ]
    both = [rules.erase(v, erased) for v in values]
    return OriginalLogits(both[0], both[1], useful[0] - useful[1])


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
        self._task, self._original, self._meter = task, original, meter
        self._reference: nn.Module | None = reference
        self._records, self.forget_classes = records, records.forget_classes
        known = known or original_logits(task, original, records, meter)
        holdout, nonmembers, logits = records.holdout, records.staying(), known.nonmembers
        inputs = self.reference_outputs(holdout, nonmembers)
        rules = task.rules
        values, self._maps = cross_fit(inputs, logits.masked_fill(rules.is_hidden(logits), 0.0))
        self._known = logits
        values = rules.erase(rules.hide_like(rules.within(values, logits), logits), self.forget_classes)
        self.nonmembers = CalibratedLogits(logits, values, holdout.targets(nonmembers), rules)
        parts = task.unseen(records.members, records.request)
        read = torch.cat([self.reference_outputs(records.train, at, part) for part, at in parts])
        raw = self._mapped(read, known.members, records.train.targets(records.members))
        self.members = replace(raw, expected=self.remove_memory(raw, raw))
        self._raw_members = raw
        self._read: dict[bytes, CalibratedLogits] = {}

    def of_training(self, positions: Indices) -> CalibratedLogits:
        """Expected logits of training records that the reference was not trained on, its memory of them removed."""
        key = positions.tobytes()
        if key not in self._read:  # cached, since the method and its stop rule need the same records
            raw = self.uncorrected(self._records.train, positions)
            self._read = {key: replace(raw, expected=self.remove_memory(raw, self._raw_members))}
        return self._read[key]

    def of_holdout(self, positions: Indices) -> CalibratedLogits:
        """Expected logits of holdout records other than those that the map was fitted on."""
        return self.uncorrected(self._records.holdout, positions)

    def release(self) -> None:
        """Let go of the reference model, whose weights take memory; what was read last can still be asked for."""
        self._reference = None

    def uncorrected(self, records: Records, positions: Indices) -> CalibratedLogits:
        """Expected logits by the map only, which still contain the reference's memory of the records.

        Args:
            records: A dataset.
            positions: Which of its records.
        """
        z = logits_of(self._task, self._original, records, positions, self._meter)
        logits = self._task.rules.erase(z.double(), self.forget_classes)
        return self._mapped(self.reference_outputs(records, positions), logits, records.targets(positions))

    def _mapped(self, inputs: Tensor, logits: Tensor, targets: Tensor) -> CalibratedLogits:
        """Expected logits by the map only, of records whose centred logits by the original are known."""
        rules = self._task.rules
        values = rules.within(torch.stack([one(inputs) for one in self._maps]).mean(0), self._known)
        values = rules.hide_like(values, logits)
        return CalibratedLogits(logits, rules.erase(values, self.forget_classes), targets, rules)

    def remove_memory(self, raw: CalibratedLogits, members: CalibratedLogits) -> Tensor:
        """Move expected logits from the distribution of members to that of nonmembers.

        Args:
            raw: Expected logits of training records by the map only.
            members: Those of the members.

        Returns:
            Expected values, (records, c).
        """
        nonmembers, rules = self.nonmembers, self._task.rules
        values, source, target = (s.aligned(s.expected) for s in (raw, members, nonmembers))
        used = min(rules.shown(raw.expected, members.expected, nonmembers.expected), MAX_COORDINATES)
        moved = values.clone()
        moved[:, :used] = transport_gauss(values[:, :used], source[None, :, :used], target[None, :, :used])
        wanted = transport_ranks(raw.score, members.score[None], nonmembers.score[None])
        expected = rules.with_margin(raw.unaligned(moved), raw.targets, wanted)
        # a class that is wholly forgotten has neither members nor nonmembers
        odd = rules.is_erased(raw.targets, self.forget_classes)
        return rules.erase(torch.where(odd[:, None], raw.expected, expected), self.forget_classes)

    def reference_outputs(self, records: Records, positions: Indices, task: Task | None = None) -> Tensor:
        """The inputs of the map: the reference's centred logits, and its last hidden layer if it has one.

        Args:
            records: A dataset.
            positions: Which of its records, (n,).
            task: What the records are read by, where a part of them has left; by default the task after the request.

        Returns:
            Inputs, (n, a), float64.
        """
        reference, task = self._reference, task or self._task
        if reference is None:
            raise RuntimeError("the reference model was let go after the first step: methods read it before")
        seen = penultimate(task, reference, records, positions, self._meter, pooled=True)
        if seen is None:
            z = logits_of(task, reference, records, positions, self._meter)
            return self._unhidden(z)
        return torch.cat([self._unhidden(seen[1]), project_features(seen[0].double())], 1)

    def _unhidden(self, values: Tensor) -> Tensor:
        rules = self._task.rules
        compared = rules.compared(values.double(), self.forget_classes)
        return compared.masked_fill(rules.is_hidden(compared), 0.0)


def project_features(hidden: Tensor) -> Tensor:
    """Project features to at most MAX_FEATURES columns, by the same random matrix at every call."""
    width = hidden.shape[1]
    if width <= MAX_FEATURES:
        return hidden
    mix = torch.randn(width, MAX_FEATURES, generator=torch.Generator().manual_seed(width), dtype=hidden.dtype)
    narrow: Tensor = hidden @ mix / MAX_FEATURES**0.5
    return narrow
