"""The confidence attack (Salem et al., arXiv 1806.01246, adversary 3): models are surer of members."""

from collections.abc import Sequence

from torch import Tensor

from efface.attacks.outputs import RecordOutputs
from efface.numerics.probabilities import log_probabilities


def confidence(outputs: RecordOutputs, references: Sequence[RecordOutputs]) -> Tensor:
    """Log-probability of the likeliest class, whatever the label.

    The paper takes the probability itself. Its rank is the same, but where a model is sure it rounds to 1.

    Args:
        outputs: What the model says of n records.
        references: Not used.

    Returns:
        Scores (n,), in [-log classes, 0], higher = member.
    """
    return log_probabilities(outputs.logits)[0].amax(1)
