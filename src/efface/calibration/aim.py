"""What steps bring a model's logits to, with errors in the units in which models are compared."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from efface.kinds import CLASSES, Kind
from efface.numerics.logits import symlog
from efface.runtime.printing import Brief


@dataclass(frozen=True, repr=False)
class Aim(Brief):
    """Logits that some records are to have, and the way there from those that they had.

    The error of a record has two parts. One is the squared difference of the symmetric log of its margin, by which
    models are compared. The other is the mean squared difference of its centred logits over the classes, times a
    weight: logits grow with the margin, and without weights the few records with the largest would rule the sum.

    Args:
        logits: Centred logits, (records, classes).
        margins: The symmetric log of margins, (records,).
        logits_way: What `logits` are more than before, (records, classes).
        margins_way: What `margins` are more than before, (records,).
        weights: What a squared difference of logits counts, (records,), above 0.
        targets: Labels, (records,).
        forget_classes: Classes that are wholly forgotten, which are left out of the centre.
        rules: The kind of the task.
    """

    logits: Tensor
    margins: Tensor
    logits_way: Tensor
    margins_way: Tensor
    weights: Tensor
    targets: Tensor
    forget_classes: tuple[int, ...] = ()
    rules: Kind = CLASSES

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def squared_way(self) -> float:
        """The mean squared way of the margins."""
        return float(self.margins_way.square().mean())

    def rows(self, at: Tensor) -> "Aim":
        """The aim of some of the records."""
        return self._each(lambda tensor: tensor[at])

    def to(self, device: torch.device) -> "Aim":
        """The same on a device."""
        return self._each(lambda tensor: tensor.to(device))

    def beyond(self, share: float) -> "Aim":
        """An aim farther by a share of the way, since a fit that is held back stops short of what it aims at."""
        logits, margins = self.logits + share * self.logits_way, self.margins + share * self.margins_way
        return replace(self, logits=logits, margins=margins)

    def error(self, logits: Tensor) -> "AimError":
        """How far logits, (records, classes), are off: means over the records."""
        compared = self.rules.compared(logits, self.forget_classes)
        off = (compared - self.logits).square()
        known = ~(self.rules.is_hidden(compared) | self.rules.is_hidden(self.logits))
        by_record = (off * known).sum(1) / known.sum(1).clamp_min(1)
        gap = symlog(self.rules.margin(logits, self.targets)).to(logits.dtype) - self.margins
        return AimError((self.weights * by_record).mean(), gap.square().mean())

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Aim":
        tensors: dict[str, Any] = {k: change(v) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **tensors)


class AimError(NamedTuple):
    """How far logits are off: weighted squared differences of logits, and those of margins on the symmetric log."""

    logits: Tensor
    margins: Tensor

    @property
    def sum(self) -> Tensor:
        """Both, a scalar."""
        return self.logits + self.margins


def aim_at(
    wanted: Tensor, now: Tensor, targets: Tensor, forget_classes: tuple[int, ...] = (), rules: Kind = CLASSES
) -> Aim:
    """Aim at wanted logits.

    Args:
        wanted: Centred logits, (records, classes).
        now: Logits that the model has, (records, classes).
        targets: Labels, (records,).
        forget_classes: Classes that are wholly forgotten.
        rules: The kind of the task.

    Returns:
        The aim. Weights are the slope of the symmetric log at the smaller of the two margins.
    """
    here = rules.compared(now, forget_classes)
    goal, start = (rules.margin(values, targets) for values in (wanted, here))
    return Aim(
        logits=wanted.float(),
        margins=symlog(goal).float(),
        # there is no way to a class that is masked
        logits_way=(wanted - here).masked_fill(rules.is_hidden(wanted) | rules.is_hidden(here), 0.0).float(),
        margins_way=(symlog(goal) - symlog(start)).float(),
        weights=(1 / (1 + torch.minimum(goal.abs(), start.abs()))).float(),
        targets=targets,
        forget_classes=forget_classes,
        rules=rules,
    )
