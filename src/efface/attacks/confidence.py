"""The confidence attack (Salem et al., arXiv 1806.01246, adversary 3): models are surer of members."""

from collections.abc import Sequence

from torch import Tensor

from efface.attacks.outputs import RecordOutputs


def confidence(outputs: RecordOutputs, references: Sequence[RecordOutputs]) -> Tensor | None:
    """Log-probability of the likeliest answer, such as a class, whatever the target.

    The paper takes the probability itself. Its rank is the same, but where a model is sure it rounds to 1.

    Args:
        outputs: What the model says of n records.
        references: Not used.

    Returns:
        Scores (n,), at most 0, higher = member. None where outputs give no probabilities.
    """
    return outputs.rules.confidence(outputs.logits)
