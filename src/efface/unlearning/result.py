"""The result of an unlearning run."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from efface.calibration.assumptions import Assumption
from efface.calibration.first_outputs import FirstOutputs
from efface.data.described import ForgetRecord
from efface.data.splits import Splits
from efface.data.twin_policy import Twins
from efface.errors import shorten
from efface.methods.base import Method
from efface.models.checkpoint import save_weights
from efface.runtime.cost import Cost, spent
from efface.runtime.files import as_path
from efface.runtime.options import clear_calls
from efface.runtime.printing import brief, how_many, sheet
from efface.task import Task
from efface.types import RecordId
from efface.unlearning.evidence import Evidence
from efface.unlearning.next_steps import after_run
from efface.unlearning.options import UnlearnOptions

SHOWN_IDS = 5  # ids in the text of a result


@clear_calls()
@dataclass(frozen=True, repr=False)
class Result:
    """An unlearned model and how it was made.

    Args:
        model: The unlearned copy, on the device and in the dtype of `original`.
        original: The caller's model, unchanged; if it was wrapped by torch.compile or DataParallel, the network within.
        task: The problem.
        forget: The ids of the request, in its order; `twins` says which of them were kept, and which others went too.
        method: The method, with its options.
        splits: Which records were used for what, so that an audit can leave them out.
        cost: Time and examples, by phase.
        evidence: The evaluations of the run, and why it ended.
        seed: The seed of the run.
        reference: Digest of the weights of the run's reference model; None if it trained none.
        options: The options of the run.
        warnings: Findings of the checks, checks that were off, and assumptions that the request does not meet.
        records: The erased records, with position, label and description: those of `forget` that no twin keeps, in its
            order, and then forgotten twins.
        assumptions: The assumptions of calibration, with the records that do not meet them; empty if the run trained no
            reference model.
        twins: What was done with records of equal inputs.
        first_outputs: What is left of the first outputs that the run was given, for the next request; None without.
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
    twins: Twins = field(default_factory=Twins)
    first_outputs: FirstOutputs | None = None

    def __repr__(self) -> str:
        """The outcome on one screen: what was to be erased, how it ended, what it cost, and what to do next."""
        evidence = self.evidence
        unmet = [a.name for a in self.assumptions if not a.met]
        done = len(self.splits.forget)
        total = done + len(self.splits.retain) + len(self.twins.kept)
        return sheet(
            f"Result: {done:,} of {how_many(total, 'training record')}, unlearned by {self.method.key}",
            [
                ("records", shorten(self._erased_ids(), SHOWN_IDS)),
                ("twins", self._twins()),
                ("outcome", f"{evidence.outcome.replace('_', ' ')}: {evidence.reason}"),
                ("", f"weights of step {evidence.chosen_step} kept"),
                ("method", brief(self.method)),
                ("seed", str(self.seed)),
                ("cost", spent(self.cost)),
                ("unmet", f"assumptions: {', '.join(unmet)}" if unmet else ""),
                ("warnings", self.warnings),
                ("next", self.next_steps),
                ("more", ".evidence .assumptions .warnings .cost .splits .options; .save(path) writes the weights"),
            ],
        )

    def _erased_ids(self) -> list[RecordId]:
        """The ids of the records that were erased, as far as they were asked for."""
        kept = set(self.twins.kept)
        return [name for name in self.forget if name not in kept]

    def _twins(self) -> str:
        """How many records were erased beyond those asked for, or were not erased; empty if none."""
        forgotten, kept = len(self.twins.forgotten), len(self.twins.kept)
        more = f"{forgotten:,} twins of them were erased too" if forgotten else ""
        return more or (f"{kept:,} more were asked for, but a twin keeps them" if kept else "")

    @property
    def next_steps(self) -> tuple[str, ...]:
        """What to do next, one line each, with the command or the Python call."""
        return after_run(self.method, self.evidence)

    def save(self, path: str | Path) -> str:
        """Write the unlearned weights as a safetensors file, completely or not at all.

        Args:
            path: The file; its folder must exist.

        Returns:
            The sha256 digest of the weights.

        Raises:
            RequestError: `path` is no path, has another ending, or cannot be written to.
        """
        return save_weights(self.model, as_path("path", path))
