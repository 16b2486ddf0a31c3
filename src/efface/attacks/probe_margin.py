"""An off-label test by a last layer fitted afresh: it shows what the model's own last layer may hide."""

from collections.abc import Sequence

from torch import Tensor

from efface.attacks.outputs import RecordOutputs
from efface.numerics.logits import margin


def probe_margin(outputs: RecordOutputs, references: Sequence[RecordOutputs]) -> Tensor | None:
    """Log-odds of the label by the last layer fitted afresh (see `efface.attacks.probe`).

    Args:
        outputs: What the model says of n records, and what the fitted layer says.
        references: Not used.

    Returns:
        Scores (n,), of either sign, higher = member. None where the model has no last linear layer above others.
    """
    return None if outputs.probe is None else margin(outputs.probe, outputs.targets)
