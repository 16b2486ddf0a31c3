"""Min-K%++ (Zhang et al., arXiv 2404.02936), an attack on sequences: members have no unlikely positions."""

from collections.abc import Sequence

from torch import Tensor

from efface.attacks.outputs import RecordOutputs


def min_k(outputs: RecordOutputs, references: Sequence[RecordOutputs]) -> Tensor | None:
    """Min-K%++ (Zhang et al., arXiv 2404.02936): are even the least likely positions likely?

    At each position the log-probability of the target is standardised by its mean and deviation over all classes, as
    the model has them; the score is the mean over the lowest fifth of the positions.

    Args:
        outputs: What the model says of n records.
        references: Not used.

    Returns:
        Scores (n,), of either sign, higher = member. None where records are no sequences.
    """
    return outputs.rules.extra_scores(outputs.logits, outputs.targets).get("min_k")
