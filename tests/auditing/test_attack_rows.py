"""Rows of the attacks: power at few false positives, and the ROC curves of the report."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_curve
from torch.utils.data import TensorDataset

from efface import Report
from efface.auditing.readings import Metric
from efface.metrics.roc import MIN_NEGATIVES
from efface.models.running import logits_of
from efface.numerics.logits import log_likelihood
from efface.runtime.cost import Meter
from helpers.judged import HOLDOUT, Judged, problem
from helpers.tiny import records


def tpr_row(report: Report) -> Metric:
    [row] = [m for m in report.metrics if m.key == "tpr"]
    return row


def with_holdout(judged: Judged, n: int) -> Any:
    return replace(judged.task, holdout=TensorDataset(*records(n, seed=99)))


def test_few_false_alarms_are_measured_on_two_thousand_nonmembers_only() -> None:
    judged = problem()
    below = tpr_row(judged.audit(task=with_holdout(judged, MIN_NEGATIVES - 1), level="quick"))
    enough = judged.audit(task=with_holdout(judged, MIN_NEGATIVES), level="quick")
    for reading in (below.original, below.unlearned, below.retrained):
        assert (reading.state, reading.estimate) == ("not_measured", None)
        assert "2,000 never-seen records; there are 1,999" in reading.why
    row = tpr_row(enough)
    assert {row.original.state, row.unlearned.state} == {"measured"} and row.retrained.state == "not_measured"
    # the loss attack from the models' own logits, by scikit-learn
    scores = []
    train, holdout = enough.inputs.request.train, enough.inputs.request.holdout
    for where, at in ((train, judged.forget), (holdout, range(MIN_NEGATIVES))):
        z = logits_of(judged.task, judged.original, where, list(at), Meter())
        scores.append(log_likelihood(z, where.targets(list(at))))
    kinds = np.repeat([1, 0], [len(s) for s in scores])
    rates, caught, _ = roc_curve(kinds, torch.cat(scores).numpy(), drop_intermediate=False)
    assert row.original.estimate is not None
    assert row.original.estimate.value == pytest.approx(caught[rates <= 0.01].max())
    shown = enough.document["roc"]
    assert (shown["negatives"], shown["positives"]) == (MIN_NEGATIVES, len(judged.forget))
    assert shown["models"]["original"]["fpr"] == pytest.approx(rates.tolist())
    assert shown["models"]["original"]["tpr"] == pytest.approx(caught.tolist())


def test_with_references_the_curve_is_that_of_lira() -> None:
    report = problem().audit()
    assert report.document["roc"]["statistic"] == "LiRA, offline"
    assert report.document["roc"]["negatives"] == HOLDOUT
    assert tpr_row(report).title.startswith("LiRA") and tpr_row(report).original.state == "not_measured"
    quick = problem().audit(level="quick")
    assert quick.document["roc"]["statistic"] == "Loss attack"
