"""Traces that outputs do not show: how fast forget records are learned again, and a forgotten class's place."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from efface.attacks.label_margin import label_margin
from efface.attacks.relearn import matched, relearn
from efface.auditing.attack_tests import Scores
from efface.auditing.inputs import AuditInputs
from efface.auditing.readings import Metric, Reading
from efface.auditing.verdict import LEVEL
from efface.metrics.geometry import class_geometry
from efface.metrics.membership import prediction_interval
from efface.models.features import penultimate
from efface.runtime.cost import Meter
from efface.runtime.seeds import derive_seed
from efface.types import Estimate

MAX_RELEARNED = 256  # forget records, so that the cost does not grow with the request
MAX_RETRAINED = 3
RELEARN = "Relearning: doubt on forget records over that on like never-seen ones"
GEOMETRY = "Class geometry: AUC of a probe for the forgotten class on features"


def diagnostic_rows(
    subject: AuditInputs,
    scores: Scores,
    retrained: Sequence[nn.Module],
    references: Sequence[nn.Module],
    seed: int,
    meter: Meter,
) -> list[Metric]:
    """Rows that are reported and never decide: they have no null of their own but that of retrained models."""
    rows = [_relearned(subject, scores, retrained, seed, meter)]
    if subject.request.forget_classes:
        rows.append(_geometry(subject, retrained or references, meter))
    return rows


def _relearned(subject: AuditInputs, scores: Scores, retrained: Sequence[nn.Module], seed: int, meter: Meter) -> Metric:
    if not scores.references:
        missing = Reading.missing("needs reference models")
        return Metric("relearn", RELEARN, "all", "features", False, missing, missing, missing)
    request = subject.request
    count = min(MAX_RELEARNED, len(request.forget), len(subject.nonmembers) // 2)
    drawn = np.random.default_rng(derive_seed(seed, "relearn")).permutation(len(request.forget))[:count]
    chosen = request.forget.argsort()[drawn]  # the same records in whatever order they were asked for
    hard, nonmember_difficulty = (
        torch.stack([label_margin(getattr(r, place), ()) for r in scores.references]).mean(0)
        for place in ("forget", "nonmembers")
    )
    known = scores.original
    at = matched(hard[chosen], nonmember_difficulty, known.forget.targets[chosen], known.nonmembers.targets)
    controls = (request.holdout, subject.nonmembers[at.numpy()])
    values = [
        relearn(request.task, model, request.train, request.forget[chosen], controls, seed=seed, meter=meter).ratio
        for model in (subject.original, subject.unlearned, *retrained[:MAX_RETRAINED])
    ]
    return _row("relearn", RELEARN, [_reading(v) for v in values[:2]], values[2:])


def _geometry(subject: AuditInputs, others: Sequence[nn.Module], meter: Meter) -> Metric:
    """The probe on the audit's nonmembers; models that never saw the class are retrained ones, else references."""
    request, shown = subject.request, []
    gone = torch.isin(request.holdout.targets(subject.nonmembers), torch.tensor(request.forget_classes))
    for model in (subject.original, subject.unlearned, *others[:MAX_RETRAINED]):
        seen = penultimate(request.task, model, request.holdout, subject.nonmembers, meter)
        shown.append(None if seen is None else class_geometry(seen[0], gone, LEVEL))
    known = [_estimate(e) for e in shown]
    values = [e.value for e in shown[2:] if e is not None]
    return _row("class_geometry", GEOMETRY, known[:2], values)


def _row(key: str, title: str, readings: Sequence[Reading], again: Sequence[float]) -> Metric:
    finite = [v for v in again if np.isfinite(v)]
    control = (
        Reading.of(prediction_interval(finite, LEVEL, -np.inf, np.inf))
        if finite
        else Reading.missing("no retrained models were given")
    )
    return Metric(key, title, "all", "features", False, readings[0], readings[1], control)


def _reading(value: float) -> Reading:
    if np.isfinite(value):
        return Reading.of(Estimate.point(value, LEVEL))
    return Reading.missing("the model has no doubt of like never-seen records")


def _estimate(e: Estimate | None) -> Reading:
    if e is None:
        return Reading.missing("needs a last linear layer above others")
    if not np.isfinite(e.value):
        return Reading.missing("the holdout has too few records of the forgotten class")
    return Reading.of(e)
