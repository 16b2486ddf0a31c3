"""The zlib ratio (Carlini et al., arXiv 2012.07805), an attack on sequences: members are likelier than regular."""

from collections.abc import Sequence

from torch import Tensor

from efface.attacks.outputs import RecordOutputs


def zlib_ratio(outputs: RecordOutputs, references: Sequence[RecordOutputs]) -> Tensor | None:
    """Zlib ratio (Carlini et al., arXiv 2012.07805): is the target likelier than its own regularity makes it?

    The log-probability of a record's whole target over the bytes that the target takes once zlib has packed it. The
    paper has the mean over positions instead of the sum, for texts of equal length, where it ranks alike.

    Args:
        outputs: What the model says of n records.
        references: Not used.

    Returns:
        Scores (n,), at most 0, higher = member. None where records are no sequences.
    """
    return outputs.rules.extra_scores(outputs.logits, outputs.targets).get("zlib")
