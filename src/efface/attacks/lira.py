"""LiRA (Carlini et al., arXiv 2112.03570): is the label surer here than under models that never saw the record?"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from efface.attacks.outputs import RecordOutputs
from efface.numerics.logits import margin


def lira(view: RecordOutputs, references: Sequence[RecordOutputs], spread: float = 1.0) -> Tensor | None:
    """Log-odds of the label less their mean over references, over `spread`, one standard deviation for all records.

    (n,), any sign, higher = member. The paper's offline attack with its fixed variance, which it prefers for few
    references; all references are models that never saw the records. It has the rank of the paper's
    log P[N(mean, spread) < log-odds], which saturates. No rank depends on `spread`, so it is 1 by default (see
    `pooled_spread`): read from the records of one view, it would give forget records and nonmembers, which are scored
    apart, different units, and so tell apart what is alike. None without references.
    """
    if not references:
        return None
    return (margin(view.logits, view.targets) - _margins(references).mean(0)) / spread


def pooled_spread(*sets: Sequence[RecordOutputs]) -> float:
    """Standard deviation of the log-odds between references, pooled over the records of every set of views.

    Each of `sets` holds the references' views of one set of records. 1 where it is not known: with fewer than two
    references, or where they do not differ.
    """
    if any(len(references) < 2 for references in sets):
        return 1.0
    spread = math.sqrt(float(torch.cat([_margins(references).var(0) for references in sets]).mean()))
    return spread if spread > 0 else 1.0


def _margins(views: Sequence[RecordOutputs]) -> Tensor:
    return torch.stack([margin(v.logits, v.targets) for v in views])
