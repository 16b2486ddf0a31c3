"""The modified entropy attack (Song & Mittal 2021, arXiv 2003.10595): models are right and sure of members."""

from collections.abc import Sequence

from torch import Tensor

from efface.attacks.outputs import RecordOutputs


def modified_entropy(outputs: RecordOutputs, references: Sequence[RecordOutputs]) -> Tensor | None:
    """Minus the modified entropy: (1 - p_y) log p_y + sum over classes i other than the label y of p_i log(1 - p_i).

    Near 0 where the model is sure and right. Each term is computed from logits, so that it neither saturates nor
    needs a floor. The paper compares it with one threshold a class; this is the score alone. Where a record has several
    labels, it is the sum over them.

    Args:
        outputs: What the model says of n records.
        references: Not used.

    Returns:
        Scores (n,), at most 0, higher = member. None where outputs give no probabilities of single classes.
    """
    return outputs.rules.modified_sureness(outputs.logits, outputs.targets)
