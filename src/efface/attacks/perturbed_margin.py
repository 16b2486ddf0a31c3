"""An off-label test by slightly changed copies: what a model knows around a record, beyond the record itself."""

from collections.abc import Sequence

import torch
from torch import Tensor

from efface.attacks.outputs import RecordOutputs


def perturbed_margin(outputs: RecordOutputs, references: Sequence[RecordOutputs]) -> Tensor | None:
    """Mean over slightly changed copies of the margin.

    Args:
        outputs: What the model says of n records and of their copies.
        references: Not used.

    Returns:
        Scores (n,), of either sign, higher = member. None where no copies were made.
    """
    if outputs.copies is None:
        return None
    return torch.stack([outputs.rules.margin(z, outputs.targets) for z in outputs.copies]).mean(0)
