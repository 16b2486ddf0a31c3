"""The margin, by which records are compared at equal difficulty."""

from collections.abc import Sequence

import torch
from torch import Tensor

from efface.attacks.outputs import RecordOutputs


def label_margin(outputs: RecordOutputs, references: Sequence[RecordOutputs]) -> Tensor:
    """How well the model knows the target: for classes, the log-odds of the label.

    Args:
        outputs: What the model says of n records.
        references: Not used.

    Returns:
        Scores (n,), of either sign, higher = member.
    """
    return outputs.rules.margin(outputs.logits, outputs.targets)


def mean_margin(references: Sequence[RecordOutputs]) -> Tensor:
    """Mean margin under models that never saw the records, (n,).

    Args:
        references: What the models say of n records.
    """
    return torch.stack([label_margin(r, ()) for r in references]).mean(0)
