"""The loss attack (Yeom et al., arXiv 1709.01604): members have a lower loss."""

from collections.abc import Sequence

from torch import Tensor

from efface.attacks.outputs import RecordOutputs


def loss(outputs: RecordOutputs, references: Sequence[RecordOutputs]) -> Tensor:
    """Log-probability of the target, or minus a squared residual where there are no probabilities.

    Args:
        outputs: What the model says of n records.
        references: Not used.

    Returns:
        Scores (n,), at most 0, higher = member.
    """
    return outputs.rules.log_likelihood(outputs.logits, outputs.targets)
