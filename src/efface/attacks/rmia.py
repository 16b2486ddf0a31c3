"""RMIA (Zarifzadeh et al., arXiv 2312.03262): is the record likelier here than under models that never saw it?"""

from collections.abc import Sequence

import torch
from torch import Tensor

from efface.attacks.loss import loss
from efface.attacks.outputs import RecordOutputs

OFFLINE = 0.3  # the paper's a: how far a model that saw the record is taken to be from one that did not


def rmia(outputs: RecordOutputs, references: Sequence[RecordOutputs]) -> Tensor | None:
    """Log of the likelihood ratio p(x | model) / p(x), with p(x) = ((1 + a) p_out(x) + 1 - a) / 2 from references.

    This is the offline form, in which no reference saw the records. The paper then counts the share of population
    records z whose own ratio the record's exceeds gamma times. With gamma = 1 that share is the rank of this score
    among nonmembers, which the AUC of the scores takes anyway. Where there are no probabilities, that of a
    normal distribution less its peak takes their place.

    Args:
        outputs: What the model says of n records.
        references: What models that never saw the records say of them.

    Returns:
        Scores (n,), of either sign, higher = member. None without references.
    """
    if not references:
        return None
    return loss(outputs, ()) - log_population(references)


def log_population(references: Sequence[RecordOutputs]) -> Tensor:
    """Log of p(x), (n,): what RMIA divides by.

    Args:
        references: What models that never saw the records say of them.
    """
    out = torch.stack([loss(r, ()).exp() for r in references]).mean(0)
    return (((1 + OFFLINE) * out + 1 - OFFLINE) / 2).log()
