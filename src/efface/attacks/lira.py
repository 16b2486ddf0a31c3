"""LiRA (Carlini et al., arXiv 2112.03570): is the label surer here than under models that never saw the record?"""

from collections.abc import Sequence

import torch
from torch import Tensor

from efface.attacks.outputs import RecordOutputs
from efface.numerics.logits import margin


def lira(outputs: RecordOutputs, references: Sequence[RecordOutputs], spread: float = 1.0) -> Tensor | None:
    """Log-odds of the label less their mean over references, in units of `spread`.

    This is the paper's offline attack with one variance for all records, which it prefers for few references. The
    score has the rank of the paper's log P[N(mean, spread) < log-odds], which saturates.

    Args:
        outputs: What the model says of n records.
        references: What models that never saw the records say of them.
        spread: One standard deviation for all records. No rank depends on it.

    Returns:
        Scores (n,), of either sign, higher = member. None without references.
    """
    if not references:
        return None
    return (margin(outputs.logits, outputs.targets) - _margins(references).mean(0)) / spread


def _margins(models: Sequence[RecordOutputs]) -> Tensor:
    return torch.stack([margin(m.logits, m.targets) for m in models])
