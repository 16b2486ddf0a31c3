"""A rehearsal from the request to the report, on records that a model knows by heart."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Subset

import efface
from efface import Report, Task
from efface.auditing.rehearsal.needed import NOT_NEEDED
from efface.auditing.verdict import Status
from efface.models.checkpoint import weights_digest
from helpers.memorised import FORGET, TRAIN, Memorised
from helpers.tiny import REFERENCE, memorise, mlp

FEW = FORGET[:3]


def fit(model: nn.Module, subset: Subset[Any], seed: int) -> nn.Module:
    x, y = (t[torch.as_tensor(subset.indices)] for t in subset.dataset.tensors)  # type: ignore[attr-defined]
    return memorise(model, x, y, steps=120)


def task_of(known: Memorised, **groups: Any) -> Task:
    return replace(known.task, fit=fit, build_model=lambda: mlp(64), **groups)


def rehearsed(known: Memorised, forget: Any = FEW, method: str = "retrain", **options: Any) -> Report:
    task = options.pop("task", None) or task_of(known)
    unlearning = efface.UnlearnOptions(reference=REFERENCE)
    result = efface.unlearn(known.original, task=task, forget=forget, method=method, options=unlearning)
    return efface.audit(result, options=efface.AuditOptions(rehearse=True, recipe=REFERENCE, **options))


@pytest.fixture(scope="module")
def few(known: Memorised) -> Report:
    return rehearsed(known)


def test_a_few_records_are_rehearsed_on_others_of_their_kind(known: Memorised, few: Report) -> None:
    found = few.findings.rehearsal
    assert found is not None and 60 <= found.records <= TRAIN // 10 and found.runs == 2
    assert found.doing_nothing_fails or found.process.status is not Status.VERIFIED
    assert few.verdict.status in (Status.VERIFIED_BY_REHEARSAL, Status.UNDECIDED)  # it never saw any of them
    assert {len(few.document["rehearsal"]["standings"]), len(found.standings)} == {2}
    assert few.cost.phases["rehearsal"].cpu_s > 0


def test_the_report_names_no_rehearsed_record(known: Memorised, few: Report) -> None:
    assert [row["id"] for row in few.document["records"]] == list(FEW)
    shown = few.document["rehearsal"]
    assert not any(isinstance(v, list) and len(v) > 20 for v in shown.values())


def test_a_rehearsal_repeats_by_its_seed_and_changes_no_model(known: Memorised, few: Report) -> None:
    before = weights_digest(known.original)
    again = rehearsed(known)
    assert again.document["rehearsal"] == few.document["rehearsal"]
    assert weights_digest(known.original) == before


def test_persons_are_rehearsed_whole(known: Memorised) -> None:
    persons = [f"person {i // 2}" for i in range(TRAIN)]
    # of the candidates, most persons have a record that trains the audit's references
    report = rehearsed(known, FORGET[:2], task=task_of(known, groups=persons))
    found = report.findings.rehearsal
    if found is None:
        assert any("could be rehearsed" in note for note in report.notes)
    else:
        assert len(found.standings) == 1  # never-seen records are no persons


def test_a_request_that_speaks_for_itself_is_not_rehearsed(known: Memorised) -> None:
    report = rehearsed(known, FORGET, title="x")
    speaks = any(not t.uninformative_reason and t.kind != "attack" for t in report.tests)
    assert (report.findings.rehearsal is None) == speaks
    assert (NOT_NEEDED in report.notes) == speaks


@pytest.mark.parametrize(
    ("options", "level", "said"),
    [
        ({}, "standard", "the method that made the model is run again: name it"),
        ({"method": "noop"}, "standard", "noop is a control and unlearns nothing"),
        ({"method": "steer"}, "quick", "level quick trains nothing"),
    ],
)
def test_what_cannot_be_rehearsed_is_refused_before_any_work(
    known: Memorised, options: dict[str, Any], level: str, said: str
) -> None:
    with pytest.raises(efface.RequestError, match=said):
        efface.audit_models(
            known.original,
            known.retrained[0],
            forget=FEW,
            task=known.task,
            level=level,
            options=efface.AuditOptions(rehearse=True, **options),
        )


def test_too_few_training_records_are_said(known: Memorised) -> None:
    task = task_of(known)
    keep = np.arange(500)
    small = replace(task, train=Subset(known.task.train, keep.tolist()))  # type: ignore[arg-type]
    result = efface.unlearn(
        known.original, task=small, forget=FEW, method="finetune", options=efface.UnlearnOptions(reference=REFERENCE)
    )
    report = efface.audit(result, options=efface.AuditOptions(rehearse=True, recipe=REFERENCE))
    assert report.findings.rehearsal is None
    assert any("50 other training records could be rehearsed, and it takes 60" in note for note in report.notes)


@pytest.mark.parametrize("error", [efface.RequestError("too many"), efface.DivergedError("NaN")])
def test_an_audit_is_not_lost_with_its_rehearsal(
    known: Memorised, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr("efface.auditing.run.rehearsal", fails)
    report = rehearsed(known)
    assert report.verdict.status is Status.UNDECIDED and report.findings.rehearsal is None
    assert any(f"there is no rehearsal: {error}" in note for note in report.notes)
