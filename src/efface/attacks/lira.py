"""LiRA (Carlini et al., arXiv 2112.03570): is the label surer here than under models that never saw the record?"""

from collections.abc import Sequence

from torch import Tensor

from efface.attacks.label_margin import label_margin, mean_margin
from efface.attacks.outputs import RecordOutputs


def lira(outputs: RecordOutputs, references: Sequence[RecordOutputs], spread: float = 1.0) -> Tensor | None:
    """Margin (log-odds of the label) less its mean over references, in units of `spread`.

    This is the paper's offline attack with one variance for all records, which it prefers for few references. The
    score has the rank of the paper's log P[N(mean, spread) < log-odds], which saturates. For sequences it is
    known as the loss against a reference (arXiv 2012.07805), here by log-odds and not by the loss itself.

    Args:
        outputs: What the model says of n records.
        references: What models that never saw the records say of them.
        spread: One standard deviation for all records. No rank depends on it.

    Returns:
        Scores (n,), of either sign, higher = member. None without references.
    """
    if not references:
        return None
    return (label_margin(outputs, ()) - mean_margin(references)) / spread
