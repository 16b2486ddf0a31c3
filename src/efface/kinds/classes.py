"""One of several classes for each record, and its special case of two classes with one logit."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from efface.kinds.base import SCOPE, Head, Kind
from efface.kinds.heads import probe_unmasked
from efface.kinds.mistaken import not_logits_of_classes, not_logits_of_sigmoids
from efface.kinds.shapes import are_zero_or_one, shape_of
from efface.kinds.words import Words
from efface.numerics.logits import (
    aligned,
    bound_masked,
    centre,
    class_count,
    is_masked,
    log_likelihood,
    margin,
    mask_classes,
    mask_like,
    of_classes,
    other_gap,
    with_margin,
)
from efface.numerics.probabilities import log_probabilities, weighted


@dataclass(frozen=True)
class Classes(Kind):
    """One of several classes: logits (n, classes), trained by cross-entropy; a target is an integer.

    The margin is the log-odds of the label, z_y - log sum of exp z_c over other classes c.
    """

    key = "classes"
    title = "one of several classes"
    words = Words(
        "log-odds of the label",
        "How sure a model is of a record's label: the logarithm of the odds that it gives to the label.",
    )
    has_classes = True
    unit = "classes"

    @classmethod
    def found(cls, outputs: Tensor, targets: Tensor) -> bool:
        return outputs.ndim == 2 and outputs.shape[1] > 1 and targets.ndim == 1 and not _is_real(targets)

    def wrong_outputs(self, outputs: Tensor, targets: Tensor) -> str | None:
        if outputs.ndim == 2 and len(outputs) == len(targets) and outputs.shape[1] > 1:
            return None
        return "logits (records, classes)"

    def wrong_targets(self, targets: Tensor, width: int | None) -> str | None:
        if targets.ndim != 1 or _is_real(targets):
            return f"expected one integer class a record, got {shape_of(targets)}{_mend(targets)}"
        if width is None or not len(targets) or 0 <= int(targets.min()) <= int(targets.max()) < width:
            return None
        wrong = targets[(targets < 0) | (targets >= width)]
        return f"the model has classes 0 to {width - 1}, got {int(wrong[0])}"

    def not_logits(self, outputs: Tensor, trained: bool = True) -> tuple[str, str] | None:
        return not_logits_of_classes(outputs, trained)

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return bound_masked(outputs.float())

    def losses(self, values: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(values, labels, reduction="none")

    def loss(self, values: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(values, labels)

    def bend(self, values: Tensor, labels: Tensor, direction: Tensor) -> Tensor:
        p = values.softmax(1)
        return p * (direction - (p * direction).sum(1, keepdim=True))

    def margin(self, values: Tensor, labels: Tensor) -> Tensor:
        return margin(values, labels)

    def log_likelihood(self, values: Tensor, labels: Tensor) -> Tensor:
        return log_likelihood(values, labels)

    def useful(self, values: Tensor, labels: Tensor) -> Tensor:
        return (values.argmax(1) == labels).double()

    def guessed(self, labels: Tensor) -> Tensor:
        return (labels == labels.mode().values).double()

    def constant(self, targets: Sequence[Tensor]) -> Tensor:
        labels = torch.cat([self.labels(batch) for batch in targets])
        return (torch.bincount(labels).double() / len(labels)).log()[labels]

    def answers(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """The likeliest class, and by how much its logit exceeds the next."""
        highest = values.topk(2, dim=1).values
        return values.argmax(1), highest[:, 0] - highest[:, 1]

    def in_short(self, labels: Tensor) -> list[int | str]:
        return [*labels.flatten().tolist()]

    def other(self, values: Tensor, labels: Tensor) -> Tensor | None:
        return other_gap(values, labels) if class_count(values) > 2 else None

    def confidence(self, values: Tensor) -> Tensor | None:
        return log_probabilities(values)[0].amax(1)

    def sureness(self, values: Tensor) -> Tensor | None:
        inside, _ = log_probabilities(values)
        return weighted(inside, inside).sum(1)

    def modified_sureness(self, values: Tensor, labels: Tensor) -> Tensor | None:
        inside, outside = log_probabilities(values)
        label = labels[:, None]
        others = weighted(inside, outside).scatter(1, label, 0.0).sum(1)
        return others + weighted(outside.gather(1, label), inside.gather(1, label)).squeeze(1)

    def head(self, features: Tensor, labels: Tensor, values: Tensor) -> Head | None:
        return probe_unmasked(features, labels, values)

    def compared(self, values: Tensor, erased: Sequence[int] = ()) -> Tensor:
        return centre(values, erased)

    def erase(self, values: Tensor, erased: Sequence[int] = ()) -> Tensor:
        return mask_classes(values, erased)

    def is_hidden(self, values: Tensor) -> Tensor:
        return is_masked(values)

    def hide_like(self, compared: Tensor, others: Tensor) -> Tensor:
        return mask_like(compared, others)

    def within(self, compared: Tensor, known: Tensor) -> Tensor:
        return compared  # logits have no range of their own

    def shown(self, *several: Tensor) -> int:
        return class_count(*several)

    def is_erased(self, labels: Tensor, erased: Sequence[int]) -> Tensor:
        return of_classes(labels, erased)

    def aligned(self, compared: Tensor, expected: Tensor, labels: Tensor) -> Tensor:
        return compared.gather(1, aligned(expected, labels))

    def unaligned(self, aligned_values: Tensor, expected: Tensor, labels: Tensor) -> Tensor:
        return torch.empty_like(aligned_values).scatter(1, aligned(expected, labels), aligned_values)

    def aligned_step(self, step: Tensor, expected: Tensor, labels: Tensor) -> Tensor:
        return self.aligned(step, expected, labels)

    def with_margin(self, compared: Tensor, labels: Tensor, wanted: Tensor) -> Tensor:
        return with_margin(compared, labels, wanted)

    def class_number(self, width: int) -> int:
        return width

    def classes(self, labels: Tensor) -> Tensor | None:
        return labels


@dataclass(frozen=True)
class Binary(Classes):
    """One of two classes by one logit z, (n,) or (n, 1), trained by BCE; a target is 0 or 1.

    It is two classes with the logits 0 and z: the same probabilities, the same loss, and the margin z for class 1, -z
    for class 0.
    """

    key = "binary"
    title = "one of two classes, by one logit"

    @classmethod
    def found(cls, outputs: Tensor, targets: Tensor) -> bool:
        return _is_column(outputs) and _is_column(targets) and are_zero_or_one(targets)

    def wrong_outputs(self, outputs: Tensor, targets: Tensor) -> str | None:
        if _is_column(outputs) and len(outputs) == len(targets):
            return None
        return "one logit a record, (records,) or (records, 1)"

    def wrong_targets(self, targets: Tensor, width: int | None) -> str | None:
        if not _is_column(targets):
            return f"expected one target a record, 0 or 1, got {shape_of(targets)}"
        return None if are_zero_or_one(targets) else "expected 0 or 1 for each record, got other values"

    def not_logits(self, outputs: Tensor, trained: bool = True) -> tuple[str, str] | None:
        return not_logits_of_sigmoids(outputs, trained)

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        z = outputs.float().reshape(-1)
        return torch.stack([torch.zeros_like(z), z], 1)

    def labels(self, targets: Tensor) -> Tensor:
        return targets.reshape(-1).long()

    def losses(self, values: Tensor, labels: Tensor) -> Tensor:
        return super().losses(values, self.labels(labels))

    def loss(self, values: Tensor, labels: Tensor) -> Tensor:
        return super().loss(values, self.labels(labels))

    def class_number(self, width: int) -> int:
        return 2


def _mend(targets: Tensor) -> str:
    """What to give in place of targets that are not one integer class a record; empty where nothing is known."""
    if targets.ndim == 1 and (targets.dtype == torch.bool or bool((targets == targets.round()).all())):
        return ": if they are classes, make them so by .long() in Task.unpack"
    if targets.ndim == 2 and targets.shape[1] == 1:
        return ": if they are classes, take their one column, [:, 0].long(), in Task.unpack"
    if targets.ndim == 2 and are_zero_or_one(targets) and bool((targets.double().sum(1) == 1).all()):
        return ": they look one-hot: give .argmax(1) in Task.unpack"
    if targets.ndim > 2:
        return f": {SCOPE}"
    return ": a model of real values gives one value a record" if targets.ndim == 1 else ""


def _is_real(targets: Tensor) -> bool:
    return targets.is_floating_point() or targets.dtype == torch.bool


def _is_column(tensor: Tensor) -> bool:
    return tensor.ndim == 1 or (tensor.ndim == 2 and tensor.shape[1] == 1)
