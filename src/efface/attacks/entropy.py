"""The entropy attack (Salem et al., arXiv 1806.01246, adversary 3): models are surer of members."""

from collections.abc import Sequence

from torch import Tensor

from efface.attacks.outputs import RecordOutputs


def entropy(outputs: RecordOutputs, references: Sequence[RecordOutputs]) -> Tensor | None:
    """Minus the entropy (nats) of the answer, such as a class, whatever the target.

    Args:
        outputs: What the model says of n records.
        references: Not used.

    Returns:
        Scores (n,), at most 0, higher = member. None where outputs give no probabilities.
    """
    return outputs.rules.sureness(outputs.logits)
