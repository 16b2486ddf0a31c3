"""What an unlearning run gives back."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from efface.calibration.assumptions import Assumption
from efface.data.splits import Splits
from efface.methods.base import Method
from efface.models.checkpoint import save_weights
from efface.runtime.cost import Cost
from efface.task import Task
from efface.types import RecordId
from efface.unlearning.evidence import Evidence
from efface.unlearning.options import UnlearnOptions


@dataclass(frozen=True)
class Result:
    """An unlearned model and how it came about.

    model: an unlearned copy, on the device and dtype of `original`, which is the caller's model, unchanged.
    splits: which records served for what, so that an audit can stay away from them.
    reference: digest of the weights of the run's reference model, by which its targets and its stop rule were made;
        None where it trained none.
    options: the options of the run.
    warnings: what the checks found that did not refuse the request, which checks were off, and assumptions not met.
    assumptions: what targets made from the reference suppose of the request, and the records that do not meet it; empty
        where the run trained no reference.
    """

    model: nn.Module
    original: nn.Module
    task: Task
    forget: tuple[RecordId, ...]
    method: Method
    splits: Splits
    cost: Cost
    evidence: Evidence
    seed: int
    reference: str | None
    options: UnlearnOptions
    warnings: Sequence[str]
    assumptions: tuple[Assumption, ...] = ()

    def save(self, path: str | Path) -> str:
        """Write the unlearned weights as safetensors, atomically; gives their sha256 digest."""
        return save_weights(self.model, path)
