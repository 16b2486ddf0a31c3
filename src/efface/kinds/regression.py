"""One or more real values for each record."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from efface.errors import RequestError
from efface.kinds.base import Head, Kind
from efface.kinds.heads import fit_head
from efface.kinds.shapes import are_zero_or_one, shape_of
from efface.kinds.words import Words
from efface.runtime.options import option

SMALLEST = 1e-12  # of a squared residual, so that its root has a gradient
LOSSES = ("squared", "huber")


@dataclass(frozen=True)
class Regression(Kind):
    """One or more real values for each record, (n,) or (n, d); a target has the same shape.

    With r = (output - target) / scale, the margin is minus the root mean square of r over the values, so that it is 0
    for a record whose target the model gives exactly; the log-likelihood, that of a normal distribution less its peak,
    is minus half of the mean square.

    Args:
        scale: The unit of each value: its standard deviation over the training records, which efface measures where it
            is not given.
        trained_by: `squared` or `huber`, the loss that the model was trained by.
        delta: For Huber's loss, the residual in target units from which on it is linear.
    """

    key = "regression"
    title = "one or more real values"
    words = Words(
        "minus the residual's size",
        "How near a model comes to a record's target: minus the root mean square of what it is off by, in standard "
        "deviations of the target; 0 is exact.",
        "explained variance (R2)",
        "Gap between the largest and the smallest residual",
        "residuals",
        "all residuals",
    )
    utility = "R2 (share of variance explained)"
    least = -math.inf
    is_probable = False

    scale: tuple[float, ...] = ()
    trained_by: str = option("squared", "the loss that the model was trained by: squared or huber")
    delta: float = option(1.0, "residual from which on Huber's loss is linear", 1e-12, 1e12)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.trained_by not in LOSSES:
            raise RequestError(f"trained_by: expected one of {', '.join(LOSSES)}, got {self.trained_by!r}")
        if not all(unit > 0 for unit in self.scale):
            raise RequestError(f"scale: expected units above 0, got {self.scale!r}")

    @property
    def needs_labels(self) -> bool:
        return not self.scale

    @classmethod
    def found(cls, outputs: Tensor, targets: Tensor) -> bool:
        alike = outputs.ndim <= 2 and outputs.numel() == targets.numel()
        return alike and targets.is_floating_point() and not are_zero_or_one(targets)

    def wrong_outputs(self, outputs: Tensor, targets: Tensor) -> str | None:
        if outputs.ndim in (1, 2) and len(outputs) == len(targets) and outputs.numel():
            return None
        return "one or more values a record, (records,) or (records, values)"

    def wrong_targets(self, targets: Tensor, width: int | None) -> str | None:
        values = 1 if targets.ndim == 1 else targets.shape[-1]
        if targets.ndim not in (1, 2) or (width is not None and values != width):
            return f"expected {width or 'one or more'} real values a record, got {shape_of(targets)}"
        return None if bool(targets.double().isfinite().all()) else "they hold NaN or infinite values: clean them first"

    def measured(self, labels: Tensor) -> Self:
        if self.scale:
            return self
        spread = labels.double().std(0) if len(labels) > 1 else torch.ones(labels.shape[1])
        return type(self)(tuple(float(s) if s > 0 else 1.0 for s in spread), self.trained_by, self.delta)

    def measured_like(self, other: Kind) -> Self:
        return self if self.scale or not isinstance(other, Regression) else replace(self, scale=other.scale)

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.float().reshape(len(outputs), -1).clone()

    def labels(self, targets: Tensor) -> Tensor:
        return targets.reshape(len(targets), -1).float()

    def losses(self, values: Tensor, labels: Tensor) -> Tensor:
        labels = self.labels(labels)
        if self.trained_by == "huber":
            return F.huber_loss(values, labels, reduction="none", delta=self.delta).mean(1)
        return (values - labels).square().mean(1)

    def margin(self, values: Tensor, labels: Tensor) -> Tensor:
        return -(self._squares(values, labels).mean(1) + SMALLEST).sqrt()

    def log_likelihood(self, values: Tensor, labels: Tensor) -> Tensor:
        return -self._squares(values, labels).mean(1) / 2

    def doubts(self, values: Tensor, labels: Tensor) -> Tensor:
        """In units of the targets' spread, where the loss has a unit."""
        return -torch.expm1(self.log_likelihood(values, labels))

    def useful(self, values: Tensor, labels: Tensor) -> Tensor:
        """1 less the mean squared residual in units of the targets' variance, whose mean over records is R2."""
        return 1 - self._squares(values, labels).mean(1)

    def guessed(self, labels: Tensor) -> Tensor:
        return self.useful(labels.double().mean(0).expand(len(labels), -1), labels)

    def constant(self, targets: Sequence[Tensor]) -> Tensor:
        labels = torch.cat([self.labels(batch) for batch in targets])
        return self.log_likelihood(labels.double().mean(0).expand(len(labels), -1), labels)

    def answers(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """The mean of the values in units of their scale, rounded to halves, and as it is."""
        mean = (values.double() / self._unit(values)).mean(1)
        return (2 * mean.nan_to_num()).round().long(), mean

    def other(self, values: Tensor, labels: Tensor) -> Tensor | None:
        """How much larger the largest of several residuals is than the smallest, (n,), >= 0; None for one value."""
        sizes = self._squares(values, labels).sqrt()
        return None if sizes.shape[1] < 2 else sizes.amax(1) - sizes.amin(1)

    def comparable(self, values: Tensor, labels: Tensor) -> Tensor:
        """Residuals in units of the targets' standard deviations, (n, d)."""
        return (values.double() - self.labels(labels).double()) / self._unit(values)

    def head(self, features: Tensor, labels: Tensor, values: Tensor) -> Head | None:
        wanted, unit = labels.double().cpu(), self._unit(values).cpu()
        level = wanted.mean(0)
        fitted = fit_head(features, values.shape[1], lambda y: (y - (wanted - level) / unit).square().mean() / 2)
        return lambda others: fitted(others) * unit + level

    def aligned(self, compared: Tensor, expected: Tensor, labels: Tensor) -> Tensor:
        """Residuals, (n, d), of the sign that makes the expected ones positive."""
        return (compared - labels) * _side(expected, labels)

    def unaligned(self, aligned: Tensor, expected: Tensor, labels: Tensor) -> Tensor:
        return aligned * _side(expected, labels) + labels

    def with_margin(self, compared: Tensor, labels: Tensor, wanted: Tensor) -> Tensor:
        """Multiply all residuals of a record by the same number."""
        off = (compared - labels).double() / self._unit(compared)
        exact = off.square().mean(1, keepdim=True) < SMALLEST  # no number makes more of nothing
        off = torch.where(exact, 1.0, off)
        size = off.square().mean(1).sqrt()
        return (labels + off * self._unit(compared) * (-wanted.clamp_max(0.0) / size)[:, None]).to(compared.dtype)

    def _squares(self, values: Tensor, labels: Tensor) -> Tensor:
        return self.comparable(values, labels).square()

    def _unit(self, values: Tensor) -> Tensor:
        return torch.tensor(self.scale or (1.0,), dtype=torch.float64, device=values.device)


def _side(expected: Tensor, labels: Tensor) -> Tensor:
    return torch.where(expected >= labels, 1.0, -1.0).to(expected.dtype)
