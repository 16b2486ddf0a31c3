"""What the attacks say of single records, levelled for difficulty and turned so that higher = more like a known one."""

from collections.abc import Sequence
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from efface.attacks import ATTACKS
from efface.attacks.label_margin import label_margin, mean_margin
from efface.attacks.outputs import RecordOutputs, join_outputs
from efface.auditing.audit_test import CONFIDENCE
from efface.auditing.scores import robust_zscore
from efface.metrics.membership import AucResult
from efface.numerics.logits import symlog
from efface.types import Indices


def signs(doing_nothing: dict[str, AucResult]) -> dict[str, int]:
    """By attack that tells records the original knows from never-seen ones: 1 if they score higher, -1 if lower.

    LiRA alone where none tells.

    Args:
        doing_nothing: The AUC of the original on records of the kind, by attack.
    """
    effects = {key: r.effect().estimate(CONFIDENCE) for key, r in doing_nothing.items()}
    spread = {a.key for a in ATTACKS if a.spread}  # has no side
    informative = {key: 1 if e.value > 0 else -1 for key, e in effects.items() if e.excludes(0.0) and key not in spread}
    return informative or {"lira": 1}


def statistics(
    outputs: RecordOutputs,
    references: Sequence[RecordOutputs],
    turned: dict[str, int],
    beside: RecordOutputs | None = None,
) -> Tensor:
    """A row an attack, a column a record: its score beside those of the other records of its difficulty.

    Args:
        outputs: What the model says of the records.
        references: What models that never saw them say.
        turned: The attacks to take, and by which sign, as `signs` gives them.
        beside: What another model says of the same records, if its scores are to be compared with.

    Returns:
        Scores (k, n), in robust standard deviations; no record is treated unlike the others.
    """
    rows = []
    for attack in ATTACKS:
        if attack.key not in turned or (score := attack.score(outputs, references)) is None:
            continue
        others = score if beside is None else attack.score(beside, references)
        if others is not None:
            difficulty = mean_margin(references)  # records were chosen by it, so it alone may level them
            rows.append(turned[attack.key] * robust_zscore(score, others, difficulty, difficulty)[beside is None])
    return torch.stack(rows)


def fallen(now: Tensor, before: Tensor, beside: Tensor | None = None, before_beside: Tensor | None = None) -> Tensor:
    """How far records lie from others that were as well known before, in robust standard deviations, (n,).

    Args:
        now: LiRA scores after unlearning, (n,).
        before: Those by the original, (n,).
        beside: The others' scores after unlearning, (m,); None to compare the records with each other.
        before_beside: The others' by the original, (m,).
    """
    if beside is None or before_beside is None:
        return robust_zscore(now, now, before, before)[1]
    return robust_zscore(now, beside, before, before_beside)[0]


def lira_scores(outputs: RecordOutputs, references: Sequence[RecordOutputs]) -> Tensor:
    """How much higher the margin is than under models that never saw the record, (n,), on the symmetric log."""
    return symlog(label_margin(outputs, ())) - symlog(mean_margin(references))


def rows_of(outputs: RecordOutputs, at: Tensor) -> RecordOutputs:
    """The outputs on some of the records.

    Args:
        outputs: Outputs on n records.
        at: Positions among them, or a mask.
    """
    return RecordOutputs(
        outputs.logits[at],
        outputs.targets[at],
        None if outputs.copies is None else outputs.copies[:, at],
        None if outputs.probe is None else outputs.probe[at],
        None if outputs.features is None else outputs.features[at],
        outputs.rules,
    )


def in_order(parts: Sequence[RecordOutputs], rows: Sequence[Indices]) -> RecordOutputs:
    """The outputs of several models, each on some of the records, as those of one on all.

    Args:
        parts: The outputs.
        rows: Which records those of each are of; all together each once.
    """
    order = np.argsort(np.concatenate(rows))
    return rows_of(reduce(join_outputs, parts), torch.from_numpy(order))
