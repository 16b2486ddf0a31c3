"""The result of an unlearning run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from efface.calibration.assumptions import Assumption
from efface.data.described import ForgetRecord
from efface.data.splits import Splits
from efface.methods.base import Method
from efface.models.checkpoint import save_weights
from efface.options import clear_calls
from efface.runtime.cost import Cost
from efface.runtime.files import as_path
from efface.task import Task
from efface.types import RecordId
from efface.unlearning.evidence import Evidence
from efface.unlearning.options import UnlearnOptions


@clear_calls()
@dataclass(frozen=True)
class Result:
    """An unlearned model and how it was made.

    Args:
        model: The unlearned copy, on the device and in the dtype of `original`.
        original: The caller's model, unchanged; if it was wrapped by torch.compile or DataParallel, the network within.
        task: The problem.
        forget: The ids to erase, in the order of the request.
        method: The method, with its options.
        splits: Which records were used for what, so that an audit can leave them out.
        cost: Time and examples, by phase.
        evidence: The evaluations of the run, and why it ended.
        seed: The seed of the run.
        reference: Digest of the weights of the run's reference model; None if it trained none.
        options: The options of the run.
        warnings: Findings of the checks, checks that were off, and assumptions that the request does not meet.
        records: The erased records, in the order of `forget`: id, position, label and description.
        assumptions: The assumptions of calibration, with the records that do not meet them; empty if the run trained no
            reference model.
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
    records: tuple[ForgetRecord, ...] = ()
    assumptions: tuple[Assumption, ...] = ()

    def save(self, path: str | Path) -> str:
        """Write the unlearned weights as a safetensors file, completely or not at all.

        Args:
            path: The file; its folder must exist.

        Returns:
            The sha256 digest of the weights.
        """
        return save_weights(self.model, as_path("path", path))
