"""What outputs do not show: how fast records are learned again, and the place of a class that is gone."""

import copy
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score
from torch import Tensor

import efface
from efface import Report, RequestError
from efface.attacks.relearn import relearn
from efface.auditing import diagnostics
from efface.auditing.diagnostics import MAX_RETRAINED
from efface.auditing.readings import Metric
from efface.auditing.report.document import validate
from efface.auditing.verdict import Status
from efface.data.records import Records
from efface.models.features import penultimate
from efface.runtime.cost import Meter
from helpers.judged import GONE, Judged, alone, class_problem, problem, strong


def rows(report: Report, key: str) -> list[Metric]:
    return [m for m in report.metrics if m.key == key]


def values(metric: Metric) -> list[float]:
    readings = (metric.original, metric.unlearned, metric.retrained)
    return [r.estimate.value for r in readings if r.estimate is not None]


@cache
def again() -> tuple[Any, ...]:
    judged = problem()
    return tuple(judged.without(seed) for seed in (41, 42, 43))


def slow_doubt(judged: Judged, model: Any, x: Tensor, y: Tensor) -> float:
    """Area under the chance given to wrong classes over 30 steps of Adam."""
    learner, area = copy.deepcopy(model), 0.0
    optimiser = torch.optim.Adam(learner.parameters(), lr=3e-4)
    for _ in range(31):
        p = learner(x).softmax(1)[torch.arange(len(y)), y]
        area += float((1 - p.detach()).mean())
        optimiser.zero_grad()
        (-p.log().mean()).backward()
        optimiser.step()
    return area


def test_what_a_model_knows_it_learns_again_at_once() -> None:
    judged = problem()
    report = judged.audit(unlearned=again()[0], retrained=again()[1:])
    [row] = rows(report, "relearn")
    original, unlearned, retrained = values(row)
    assert row.kind == "features" and not row.decisive
    assert original < 0.5 * unlearned and original < 0.5 * retrained
    assert 0.4 < unlearned < 2.5, "of the order of 1 without a trace"
    # the numerator by a plain loop; the controls are 40 nonmembers of the same classes, so are no easier to tell
    at = list(judged.forget)
    x, y = judged.task.holdout.tensors  # type: ignore[attr-defined]
    ours = [slow_doubt(judged, m, judged.x[at], judged.y[at]) for m in (judged.original, again()[0])]
    every = [slow_doubt(judged, m, x, y) for m in (judged.original, again()[0])]
    assert ours[0] / every[0] < 0.4 < ours[1] / every[1]
    assert row.retrained.estimate is not None and row.retrained.estimate.low < retrained < row.retrained.estimate.high


def test_relearning_needs_references_and_takes_retrained_models_as_a_control() -> None:
    judged = problem()
    [quick] = rows(judged.audit(level="quick"), "relearn")
    assert {(r.state, r.why) for r in (quick.original, quick.unlearned, quick.retrained)} == {
        ("not_measured", "needs reference models")
    }
    [plain] = rows(judged.audit(), "relearn")
    assert plain.retrained.state == "not_measured" and values(plain)[0] == values(plain)[1]
    # a strong audit's own retrained models are a control
    for report, same in ((strong("noop"), True), (strong("retrain"), False), (alone(), False)):
        original, unlearned, retrained = values(rows(report, "relearn")[0])
        assert (original == unlearned) == same and original < 0.5 * retrained
    assert MAX_RETRAINED == 3


def test_a_part_of_a_large_request_is_relearned_whatever_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    judged, seen = problem(), []
    real = relearn

    def spy(task: Any, model: Any, forget: Any, controls: Any, *rest: Any) -> Any:
        seen.append((set(forget.positions.tolist()), set(controls.positions.tolist())))
        return real(task, model, forget, controls, *rest)

    monkeypatch.setattr(diagnostics, "relearn", spy)
    monkeypatch.setattr(diagnostics, "MAX_RELEARNED", 10)
    found = [rows(judged.audit(forget=ids), "relearn")[0] for ids in (judged.forget, judged.forget[::-1])]
    assert values(found[0]) == pytest.approx(values(found[1]), rel=1e-5)
    assert len(seen) == 4 and all(s == seen[0] for s in seen)
    assert all(len(ours) == len(theirs) == 10 and ours < set(judged.forget) for ours, theirs in seen)


# class requests


@cache
def without_class() -> tuple[Any, ...]:
    judged = class_problem()
    return tuple(judged.without(seed) for seed in (51, 52, 53))


@cache
def class_audits() -> tuple[Report, Report]:
    """Of the original, and of a model retrained without the class."""
    judged = class_problem()
    return tuple(  # type: ignore[return-value]
        judged.audit(unlearned=m, retrained=without_class()[1:]) for m in (judged.original, without_class()[0])
    )


def test_an_audit_takes_a_whole_class() -> None:
    nothing, gone = class_audits()
    judged = class_problem()
    for report in (nothing, gone):
        assert report.document["request"]["kind"] == "class"
        assert report.document["request"]["count"] == int((judged.y == GONE).sum()) == len(judged.forget)
        assert any("takes every record of class 0" in n for n in report.notes)
        validate(report.document)
    assert nothing.verdict.status is Status.NOT_VERIFIED
    accuracies = [values(rows(r, "accuracy_forget")[0]) for r in (nothing, gone)]
    assert accuracies[0][:2] == [1.0, 1.0] and accuracies[1][1] < 0.1 and accuracies[1][2] < 0.1


def slow_probe(judged: Judged, model: Any) -> float:
    """Out-of-fold AUC of scikit-learn's ridge regression on the features of never-seen records."""
    records = Records(judged.task.holdout, judged.task)
    number = len(records)
    seen = penultimate(judged.task, model, records, np.arange(number), Meter())
    assert seen is not None
    x, y = seen[0].double().numpy(), (records.targets(range(number)) == GONE).numpy()
    scores, folds = np.zeros(number), np.arange(number) // 8 % 5  # class 0 is each eighth record
    for k in range(5):
        fitted = Ridge(alpha=1.0).fit(x[folds != k], y[folds != k])
        scores[folds == k] = fitted.predict(x[folds == k])
    return float(roc_auc_score(y, scores))


def test_the_place_of_a_class_is_told_by_a_probe() -> None:
    nothing, gone = class_audits()
    for report, models in (
        (nothing, (class_problem().original, class_problem().original)),
        (gone, (class_problem().original, without_class()[0])),
    ):
        [row] = rows(report, "class_geometry")
        assert row.kind == "features" and not row.decisive
        expected = [slow_probe(class_problem(), m) for m in models]
        expected.append(float(np.mean([slow_probe(class_problem(), m) for m in without_class()[1:]])))
        assert values(row) == pytest.approx(expected, abs=0.02)
        assert row.original.estimate is not None and row.original.estimate.low <= row.original.estimate.value
    before, after, control = values(rows(gone, "class_geometry")[0])
    assert before > after and abs(after - control) < abs(before - control), "the class has a place in the original"


def test_without_retrained_models_references_are_the_control() -> None:
    judged = class_problem()
    references = list(without_class()[1:])
    [row] = rows(judged.audit(references=references), "class_geometry")
    assert {row.original.state, row.unlearned.state, row.retrained.state} == {"measured"}
    assert values(row)[2] == pytest.approx(np.mean([slow_probe(judged, m) for m in references]), abs=0.02)
    assert not rows(problem().audit(), "class_geometry"), "only a class request has the row"


def test_a_strong_audit_of_a_class() -> None:
    judged = class_problem()
    report = judged.audit(unlearned=without_class()[0], level="strong")
    assert report.document["request"]["kind"] == "class" and len(rows(report, "class_geometry")) == 1
    with pytest.raises(RequestError, match="cannot run a method on whole classes yet"):
        judged.audit(unlearned=without_class()[0], level="strong", method="finetune")


def test_all_but_one_record_are_no_whole_class() -> None:
    judged = class_problem()
    most = efface.unlearn(judged.original, forget=judged.forget[1:], task=judged.task, method="noop")
    assert not rows(judged.audit(most), "class_geometry")
