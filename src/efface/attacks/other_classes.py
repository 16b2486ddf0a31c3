"""An off-label test by the classes other than the label, which no method here optimises."""

from collections.abc import Sequence

from torch import Tensor

from efface.attacks.outputs import RecordOutputs
from efface.numerics.logits import class_count, other_gap


def other_classes(outputs: RecordOutputs, references: Sequence[RecordOutputs]) -> Tensor | None:
    """Gap between the two highest logits of classes other than the label, which is no part of the margin.

    Args:
        outputs: What the model says of n records.
        references: Not used.

    Returns:
        Scores (n,), at least 0; members may score higher or lower. None with two classes, or two that are not masked.
    """
    return other_gap(outputs.logits, outputs.targets) if class_count(outputs.logits) > 2 else None
