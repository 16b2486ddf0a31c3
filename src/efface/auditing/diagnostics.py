"""Traces that outputs do not show: how fast forget records are relearned, and whether features separate a class."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from efface.attacks.label_margin import mean_margin
from efface.attacks.outputs import RecordSet
from efface.attacks.relearn import matched, relearn
from efface.auditing.audit_test import CONFIDENCE
from efface.auditing.inputs import AuditInputs
from efface.auditing.readings import NO_RETRAINED, Metric, Reading, bare, one_more, row_of_one_reading
from efface.auditing.scores import Scores
from efface.metrics.geometry import class_geometry
from efface.models.features import penultimate
from efface.runtime.cost import Meter
from efface.runtime.seeds import derive_seed
from efface.types import Estimate

MAX_RELEARNED = 256  # limit of forget records that are relearned, so that the cost does not grow with the request
MAX_RETRAINED = 3
RELEARN = "Relearning: doubt on forget records over that on like never-seen ones"
GEOMETRY = "Class geometry: AUC of a probe for the forgotten class on features"


def diagnostic_rows(
    inputs: AuditInputs,
    scores: Scores,
    retrained: Sequence[nn.Module],
    references: Sequence[nn.Module],
    meter: Meter,
) -> list[Metric]:
    """Rows that are reported but never decide, since their values are only comparable with those of retrained models.

    Args:
        inputs: The checked audit.
        scores: The attacks on all models.
        retrained: Models trained without the forget set, given or trained for the audit.
        references: The audit's reference models.
        meter: Charged with what is trained and read.
    """
    rows = [_relearned(inputs, scores, retrained, meter)]
    if inputs.request.forget_classes:
        rows.append(_geometry(inputs, retrained or references, meter))
    return rows


def _relearned(inputs: AuditInputs, scores: Scores, retrained: Sequence[nn.Module], meter: Meter) -> Metric:
    if not scores.references:
        return row_of_one_reading("relearn", RELEARN, "features", Reading.missing("needs reference models"))
    request = inputs.request
    count = min(MAX_RELEARNED, len(request.forget), len(inputs.nonmembers) // 2)
    drawn = np.random.default_rng(derive_seed(inputs.seed, "relearn")).permutation(len(request.forget))[:count]
    chosen = request.forget.argsort()[drawn]  # the draw does not depend on the order of the request
    difficulty, nonmember_difficulty = (
        mean_margin([getattr(r, place) for r in scores.references]) for place in ("forget", "nonmembers")
    )
    known, rules = scores.original, scores.rules
    classes = rules.classes(known.forget.targets[chosen]), rules.classes(known.nonmembers.targets)
    at = matched(difficulty[chosen], nonmember_difficulty, *classes)
    forget = RecordSet(request.train, request.forget[chosen])
    controls = RecordSet(request.holdout, inputs.nonmembers[at.numpy()])
    models = (inputs.original, inputs.unlearned, *retrained[:MAX_RETRAINED])
    values = [relearn(request.task, m, forget, controls, inputs.seed, meter).ratio for m in models]
    return _row("relearn", RELEARN, [_doubt(v) for v in values[:2]], values[2:])


def _geometry(inputs: AuditInputs, others: Sequence[nn.Module], meter: Meter) -> Metric:
    """The probe on the audit's nonmembers; `others` are retrained models, or else references, as a comparison."""
    request, shown = inputs.request, []
    clusters = request.clusters_of(inputs.nonmembers, "holdout")
    of_class = torch.isin(request.holdout.targets(inputs.nonmembers), torch.tensor(request.forget_classes))
    for model in (inputs.original, inputs.unlearned, *others[:MAX_RETRAINED]):
        read = penultimate(request.task, model, request.holdout, inputs.nonmembers, meter)
        shown.append(None if read is None else class_geometry(read[0], of_class, CONFIDENCE, clusters))
    readings = [_separation(e) for e in shown[:2]]
    return _row("class_geometry", GEOMETRY, readings, [e.value for e in shown[2:] if e is not None])


def _row(key: str, title: str, readings: Sequence[Reading], retrained: Sequence[float]) -> Metric:
    control = one_more([v for v in retrained if np.isfinite(v)], -np.inf, np.inf)
    return Metric(
        key,
        title,
        "all",
        "features",
        False,
        readings[0],
        readings[1],
        NO_RETRAINED if control is None else Reading.of(control),
    )


def _doubt(value: float) -> Reading:
    if np.isfinite(value):
        return Reading.of(bare(value))
    return Reading.missing("the model has no doubt of like never-seen records")


def _separation(e: Estimate | None) -> Reading:
    if e is None:
        return Reading.missing("needs a last linear layer above others")
    if not np.isfinite(e.value):
        return Reading.missing("the holdout has too few records of the forgotten class")
    return Reading.of(e)
