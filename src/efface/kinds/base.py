"""What a kind of outputs is: all that efface needs to know of what a model says of a record."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from efface.kinds.words import Measure, Words
from efface.runtime.options import Options

SCOPE = (
    "efface covers models that give each record one class, labels, real values or a sequence of classes; detection, "
    "generation of images and reinforcement learning are not covered"
)

Head = Callable[[Tensor], Tensor]  # a last layer fitted afresh: from features (n, d) to values (n, k)
Perturb = Callable[[Any, torch.Generator], Any]  # makes a slightly changed copy of inputs


@dataclass(frozen=True)
class Kind(Options, ABC):
    """A kind of outputs, with its mathematics.

    A model gives *outputs*, of any shape. What is kept of them is one row for each record, its *values*, (n, k); what
    is kept of its targets is its *labels*, (n, ...). Everything else is a function of these two: the loss, the margin,
    by which models are compared and records ordered, and what steps change.

    Where a method has no docstring here, its own kind has one.
    """

    key: ClassVar[str]  # as users write it: Task(kind=...)
    title: ClassVar[str]  # what a record's target is, in words
    words: ClassVar[Words]
    utility: ClassVar[str] = "Accuracy"  # what `useful` measures
    least: ClassVar[float] = 0.0  # the least that `useful` can be
    has_classes: ClassVar[bool] = (
        False  # whether a record has one class, so that others are wrong, and one can be erased
    )
    is_probable: ClassVar[bool] = True  # whether values give probabilities, and the loss is in nats
    bends: ClassVar[bool] = True  # whether the loss's curvature is one in values, or in outputs that are not kept
    is_long: ClassVar[bool] = False  # whether outputs are far larger than values, so that few are held at a time
    unit: ClassVar[str] = "values"  # what the last dimension of the outputs counts

    @property
    def needs_labels(self) -> bool:
        """Whether `measured` has still something to measure."""
        return False

    @property
    def measure(self) -> str:
        """What `useful` measures, as a word within a sentence."""
        return self.utility if self.utility[1:2].isdigit() else self.utility[:1].lower() + self.utility[1:]

    # What users give

    @classmethod
    @abstractmethod
    def found(cls, outputs: Tensor, targets: Tensor) -> bool:
        """Whether outputs and targets of some records are surely of this kind, so that it need not be stated."""

    @abstractmethod
    def wrong_outputs(self, outputs: Tensor, targets: Tensor) -> str | None:
        """Why outputs of some records cannot be of this kind, by their shape: what is expected; None if they can.

        Args:
            outputs: What the model returned, a float tensor.
            targets: The targets of the same records.
        """

    @abstractmethod
    def wrong_targets(self, targets: Tensor, width: int | None) -> str | None:
        """Why targets cannot be of this kind: what was expected and what came; None if they can.

        Args:
            targets: The targets of some records.
            width: The size of the last dimension of the outputs; None if it is not known.
        """

    def measured(self, labels: Tensor) -> Self:
        """This kind with what it must know of the labels of training records, such as their spread.

        Args:
            labels: Labels of a sample of training records.
        """
        return self

    def measured_like(self, other: "Kind") -> Self:
        """This kind with what another of the same key has measured."""
        return self

    def not_logits(self, outputs: Tensor, trained: bool = True) -> tuple[str, str] | None:
        """Why outputs of the right shape cannot be what the kind takes, such as probabilities; None if they can.

        Args:
            outputs: What the model returned for some records, finite.
            trained: Whether the model is trained; logits of an untrained one may all lie between 0 and 1 by chance.

        Returns:
            What is wrong and what to do, as a sentence, and the code that mends it once it stands behind what the model
            returns; that is empty where there is none.
        """
        return None

    # What is kept

    @abstractmethod
    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What is kept of outputs, (n, k), float32; gradients flow through it."""

    def labels(self, targets: Tensor) -> Tensor:
        """What is kept of targets, (n, ...); the same for labels themselves."""
        return targets

    # What is learned

    @abstractmethod
    def losses(self, values: Tensor, labels: Tensor) -> Tensor:
        """The loss of each record, (n,), >= 0, by which models are trained; gradients flow through it."""

    def loss(self, values: Tensor, labels: Tensor) -> Tensor:
        """The mean loss, a scalar."""
        return self.losses(values, labels).mean()

    def bend(self, values: Tensor, labels: Tensor, direction: Tensor) -> Tensor:
        """The Hessian of each record's loss in its values, times a direction, (n, k); where `bends`.

        Args:
            values: Values, without gradients.
            labels: Labels.
            direction: One number for each value, (n, k).
        """
        with torch.enable_grad():
            moved = values.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.losses(moved, labels).sum(), moved, create_graph=True)
            return torch.autograd.grad((slope * direction.detach()).sum(), moved)[0]

    # What is judged

    @abstractmethod
    def margin(self, values: Tensor, labels: Tensor) -> Tensor:
        """How well the model knows each record's target, (n,), float64: higher for records that it knows better."""

    @abstractmethod
    def log_likelihood(self, values: Tensor, labels: Tensor) -> Tensor:
        """Log-probability of the target, (n,), float64, <= 0; where values give none, the likelihood less its peak."""

    @abstractmethod
    def useful(self, values: Tensor, labels: Tensor) -> Tensor:
        """How good each record's answer is, (n,), float64, at most 1: the mean is the `utility`."""

    @abstractmethod
    def guessed(self, labels: Tensor) -> Tensor:
        """What `useful` would be if the best constant answer were given, (n,), float64."""

    @abstractmethod
    def constant(self, targets: Sequence[Tensor]) -> Tensor:
        """What `log_likelihood` would be if the best constant answer to all these targets were given, (n,), float64.

        Args:
            targets: Targets or labels, batch by batch; for `tokens` only targets.
        """

    def own_gain(self, values: Tensor, labels: Tensor) -> Tensor | None:
        """By how many nats targets are likelier on records that have them than on others, whatever the level of values.

        Returns:
            One number for each record, (n,), whose mean it is; None where targets are not there or absent.
        """
        return None

    @abstractmethod
    def answers(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """What a model answers, so coarse that rounding seldom changes it, (n,), int64; and a finer number, (n,)."""

    def in_short(self, labels: Tensor) -> list[int | str]:
        """Labels of records as people read them, each in a few words."""
        return [", ".join(f"{value:.4g}" for value in row) for row in labels.flatten(1).tolist()]

    def doubts(self, values: Tensor, labels: Tensor) -> Tensor:
        """How far the model is from knowing each record, (n,), float64, from 0 to 1: for classes, what others get."""
        return -torch.expm1(-self.losses(values, labels).double())

    def other(self, values: Tensor, labels: Tensor) -> Tensor | None:
        """A statistic that the margin does not determine, (n,), float64; None where there is none."""
        return None

    def comparable(self, values: Tensor, labels: Tensor) -> Tensor:
        """All that is compared, (n, c), in one unit, so that distances may be taken over it; NaN where it is hidden."""
        compared = self.compared(values)
        return compared.masked_fill(self.is_hidden(compared), torch.nan)

    def extra_scores(self, values: Tensor, labels: Tensor) -> Mapping[str, Tensor]:
        """Membership scores that other kinds lack, (n,), float64, higher = member, by the key of the attack."""
        return {}

    def measures(self, values: Tensor, labels: Tensor) -> Sequence[Measure]:
        """What reports show of records beside utility and loss."""
        return ()

    def copier(self, inputs: Any, targets: Tensor) -> Perturb | None:
        """Choose how slightly changed copies are made of inputs that are no floats; None where the kind knows no way.

        Args:
            inputs: The inputs of some records.
            targets: Their targets.
        """
        return None

    def confidence(self, values: Tensor) -> Tensor | None:
        """Log-probability of the likeliest answer, whatever the target, (n,), float64; None without probabilities."""
        return None

    def sureness(self, values: Tensor) -> Tensor | None:
        """Minus the entropy of the answer in nats, (n,), float64; None without probabilities."""
        return None

    def modified_sureness(self, values: Tensor, labels: Tensor) -> Tensor | None:
        """Minus the modified entropy (arXiv 2003.10595), (n,), float64; None without probabilities."""
        return None

    def head(self, features: Tensor, labels: Tensor, values: Tensor) -> Head | None:
        """Fit a last layer afresh; None where the kind knows no such layer.

        Args:
            features: Inputs of the last layer, (n, d).
            labels: Labels of the same records.
            values: What the model says of them.
        """
        return None

    # What steps change. `erased` are classes that are wholly forgotten, which only kinds with classes have.

    def compared(self, values: Tensor, erased: Sequence[int] = ()) -> Tensor:
        """The part of values that steps compare, (n, c), without what does not matter, such as the level of logits."""
        return values

    def erase(self, values: Tensor, erased: Sequence[int] = ()) -> Tensor:
        """What is compared, (n, c), with erased classes as low as others."""
        return self.compared(values)

    def is_hidden(self, values: Tensor) -> Tensor:
        """Which of the compared values say nothing, such as classes that a model masks, (n, c), bool."""
        return torch.zeros_like(values, dtype=torch.bool)

    def hide_like(self, compared: Tensor, others: Tensor) -> Tensor:
        """Compared values, (n, c), where those that `others` hide are hidden too."""
        return compared

    def within(self, compared: Tensor, known: Tensor) -> Tensor:
        """Compared values, (n, c), within the range of known ones, (m, c), beyond which maps go on odd records."""
        return compared.clamp(known.amin(0), known.amax(0))

    def shown(self, *several: Tensor) -> int:
        """How many of the compared values are never hidden, of all records."""
        return min((values.shape[1] for values in several), default=0)

    def is_erased(self, labels: Tensor, erased: Sequence[int]) -> Tensor:
        """Which records are of erased classes, (n,), bool."""
        return torch.zeros(len(labels), dtype=torch.bool)

    def aligned(self, compared: Tensor, expected: Tensor, labels: Tensor) -> Tensor:
        """Compared values in coordinates in which records resemble each other, (n, c): the target's part first.

        Args:
            compared: Compared values.
            expected: Compared values that are expected of a model that never saw the records; they fix the coordinates.
            labels: Labels.
        """
        return compared

    def unaligned(self, aligned: Tensor, expected: Tensor, labels: Tensor) -> Tensor:
        """The inverse of `aligned`."""
        return aligned

    def aligned_step(self, step: Tensor, expected: Tensor, labels: Tensor) -> Tensor:
        """A difference of compared values in the coordinates of `aligned`, (n, c)."""
        return self.aligned(expected + step, expected, labels) - self.aligned(expected, expected, labels)

    @abstractmethod
    def with_margin(self, compared: Tensor, labels: Tensor, wanted: Tensor) -> Tensor:
        """Compared values, (n, c), changed as little as can be so that the margin becomes `wanted`, (n,)."""

    # Classes

    def class_number(self, width: int) -> int:
        """The number of classes of a model whose outputs have a last dimension of this size; 0 without classes."""
        return 0

    def classes(self, labels: Tensor) -> Tensor | None:
        """The class of each record, (n,), int64; None where records have none."""
        return None
