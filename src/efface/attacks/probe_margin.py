"""An off-label test by a last layer fitted afresh: it shows what the model's own last layer may hide."""

from collections.abc import Sequence

from torch import Tensor

from efface.attacks.outputs import RecordOutputs


def probe_margin(outputs: RecordOutputs, references: Sequence[RecordOutputs]) -> Tensor | None:
    """Margin by the last layer fitted afresh (see `efface.kinds.heads`).

    Args:
        outputs: What the model says of n records, and what the fitted layer says.
        references: Not used.

    Returns:
        Scores (n,), of either sign, higher = member. None where the model has no last linear layer above others.
    """
    return None if outputs.probe is None else outputs.rules.margin(outputs.probe, outputs.targets)
