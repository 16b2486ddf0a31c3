"""The values that the parts of one unlearning run share."""

from dataclasses import dataclass

from torch import nn

from efface.data.splits import Splits
from efface.methods.base import Method
from efface.request import Request
from efface.runtime.cost import Meter
from efface.runtime.printing import Brief
from efface.unlearning.options import UnlearnOptions


@dataclass(frozen=True, repr=False)
class Run(Brief):
    """A checked request, its splits, and how it is honoured.

    Args:
        original: The caller's model, which is only read.
        request: The request, which has passed its checks.
        splits: Which records are used for what.
        method: The unlearning method.
        options: The options that the caller gave.
        seed: The seed of all draws.
        meter: Adds up the cost of the run.
    """

    original: nn.Module
    request: Request
    splits: Splits
    method: Method
    options: UnlearnOptions
    seed: int
    meter: Meter

    @property
    def collects_evidence(self) -> bool:
        """Whether the working copy is evaluated during the run."""
        return collects_evidence(self.method, self.options)


def collects_evidence(method: Method, options: UnlearnOptions) -> bool:
    """Whether a run evaluates the working copy: if `options` ask for it and `method` has evaluation points."""
    return options.evaluate and method.max_evaluations > 0
