"""Rows for single models: the distance of their outputs to retrained models, and the similarity of their features."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from efface.attacks import Score
from efface.attacks.label_margin import label_margin
from efface.attacks.other_classes import other_classes
from efface.attacks.outputs import RecordOutputs
from efface.auditing.readings import Metric, bare, distance_reading, measured_row, one_more
from efface.auditing.scores import Scores
from efface.metrics.distance import excess_d2, standardise_by_nonmembers
from efface.metrics.geometry import linear_cka
from efface.numerics.logits import symlog

MIN_DISTANCES = 3  # retrained models, so that one can be held out against at least two others
TITLE = "Excess d2 of one model to retrained"
DISTANCES: tuple[tuple[str, str, Score], ...] = (
    ("margin", "margin", label_margin),
    ("other_classes", "gap of {other}", other_classes),
)


def feature_rows(scores: Scores) -> list[Metric]:
    """Similarity (linear CKA, 0 to 1) of features of forget records to the original's.

    It is 1 if only the last layer changed. Empty if the features cannot be read or have no spread.
    """
    before = scores.original.forget.features
    if before is None:
        return []
    others = [m.forget.features for m in scores.models[1:]]
    values = [1.0, *(linear_cka(before, f) for f in others if f is not None and len(f) == len(before))]
    if not all(map(math.isfinite, values)):  # one record, or equal features of all records, have no spread to compare
        return []
    shown = [*(bare(v) for v in values[:2]), one_more(values[2:], 0.0, 1.0)]
    return [measured_row("cka", "Likeness of features to the original's (CKA), forget", "all", "features", shown)]


def distance_rows(scores: Scores) -> list[Metric]:
    """Excess d2 of the original, the unlearned and each retrained model to the (other) retrained ones, by kind.

    Empty with fewer than MIN_DISTANCES retrained models.
    """
    if len(scores.retrained) < MIN_DISTANCES:
        return []
    rows = []
    for key, title, statistic in DISTANCES:
        if statistic(scores.original.forget, ()) is None:
            continue
        shown = title.format(other=scores.rules.words.other_short)
        values = standardise_by_nonmembers(
            _read(statistic, [m.forget for m in scores.models]), _read(statistic, [m.nonmembers for m in scores.models])
        )
        for kind, mask in {"all": torch.ones(values.shape[1], dtype=torch.bool), **scores.kinds}.items():
            readings = [distance_reading(bare(d)) for d in _distances(values[:, mask])]
            rows.append(Metric(f"d2_{key}", f"{TITLE}, {shown}", kind, "distance", False, *readings))
    return rows


def _read(statistic: Score, models: Sequence[RecordOutputs]) -> Tensor:
    """A statistic of the same records by each model on the symmetric log, (models, records)."""
    found = [statistic(outputs, ()) for outputs in models]
    return symlog(torch.stack([values for values in found if values is not None]))


def _distances(values: Tensor) -> tuple[float, float, float]:
    """Excess d2 of the original and the unlearned model, and the mean of held-out retrained ones: rows of `values`."""
    retrained = values[2:]
    held_out = [
        excess_d2(retrained[i : i + 1], torch.cat([retrained[:i], retrained[i + 1 :]])) for i in range(len(retrained))
    ]
    mean = sum(held_out) / len(held_out)
    return excess_d2(values[:1], retrained), excess_d2(values[1:2], retrained), mean
