"""The entropy attack (Salem et al., arXiv 1806.01246, adversary 3): models are surer of members."""

from collections.abc import Sequence

from torch import Tensor

from efface.attacks.outputs import RecordOutputs
from efface.numerics.probabilities import log_probabilities, weighted


def entropy(outputs: RecordOutputs, references: Sequence[RecordOutputs]) -> Tensor:
    """Minus the entropy (nats) of the class probabilities, whatever the label.

    Args:
        outputs: What the model says of n records.
        references: Not used.

    Returns:
        Scores (n,), in [-log classes, 0], higher = member.
    """
    inside, _ = log_probabilities(outputs.logits)
    return weighted(inside, inside).sum(1)
