"""An off-label test by what the margin does not determine, which no method here optimises."""

from collections.abc import Sequence

from torch import Tensor

from efface.attacks.outputs import RecordOutputs


def other_classes(outputs: RecordOutputs, references: Sequence[RecordOutputs]) -> Tensor | None:
    """Gap between the two highest logits of classes other than the label, or what plays its part in other kinds.

    Args:
        outputs: What the model says of n records.
        references: Not used.

    Returns:
        Scores (n,), at least 0; members may score higher or lower. None with two classes, or two that are not masked,
        and with a single value.
    """
    return outputs.rules.other(outputs.logits, outputs.targets)
