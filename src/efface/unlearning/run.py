"""What the parts of one unlearning run share."""

from dataclasses import dataclass

from torch import nn

from efface.data.splits import Splits
from efface.methods.base import Method
from efface.request import Request
from efface.runtime.cost import Meter
from efface.unlearning.options import UnlearnOptions


@dataclass(frozen=True)
class Run:
    """A checked request, who is used for what, and how it is honoured.

    Args:
        original: The caller's model, which is only read.
        request: The request, which has passed its checks.
        splits: Which records serve for what.
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
    """Whether a run of `method` evaluates the working copy: it is asked to, and the method has points for it."""
    return options.evaluate and method.max_evaluations > 0
