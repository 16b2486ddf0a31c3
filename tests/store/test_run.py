"""Runs: what lets a version into service, retraining, and runs that were interrupted."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from efface import Task
from efface.auditing.verdict import Status
from efface.errors import DivergedError, RequestError
from efface.models.checkpoint import load_weights, weights_digest
from efface.store import RunPlan, Stage, StorageError, Store, failpoints
from efface.store.plan import ACCEPT
from helpers.store_cases import (
    ANEW,
    AUDITED,
    BATCHES,
    IDS,
    QUICK,
    people,
    served,
    task_of,
)
from helpers.store_damage import (
    ends_well,
    refuses,
    weights_files,
)
from helpers.store_verbs import everything, interrupt, loaded, pending, result_of, serving
from helpers.tiny import Tiny, mlp, weights


@pytest.fixture
def store(asked_store: Store) -> Store:
    return asked_store


HARDLY = {"steps": 8, "travel": 0.01}  # too little to forget 36 records


RUINOUS = RunPlan(method="neggrad_plus", options={"alpha": 0, "steps": 60, "every": 60, "lr": 0.05}, accept="any")


def test_a_run_that_unlearned_nothing_is_rejected_whatever_is_accepted(store: Store, tiny: Tiny) -> None:
    before = weights_files(store.path)
    outcome = store.run(RUINOUS)
    assert (outcome.status, outcome.version, outcome.requests) == ("nothing_unlearned", None, (1,))
    assert "no step could be kept" in outcome.reasons[0] and outcome.next_steps
    history = store.history()
    run = history.runs[1]
    assert (run.stage, run.why, run.model, run.audit) == (Stage.REJECTED, "nothing was unlearned", None, None)
    assert [r.stage for r in store.requests()] == [Stage.PENDING] and history.open_run is None
    assert weights_files(store.path) == before and len(history.versions) == 1
    assert serving(store) == weights(tiny.model)
    assert store.verify(level=None).problems == ()
    assert store.run(QUICK).version is not None, "another plan honours the request"


def test_a_model_that_was_stored_unchanged_before_an_interruption_honours_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, tiny: Tiny
) -> None:
    """As where an earlier version of efface made it."""
    model = tiny.fresh()
    noted = {"reference": None, "cpu_s": 1.0, "record_trainings": 5, "warnings": []}
    with monkeypatch.context() as patch:
        patch.setattr("efface.store.run.unlearn_batch", lambda *given: (result_of(model), noted))
        interrupt(store, QUICK, "run.made")
    outcome = store.run(QUICK)
    assert (outcome.status, outcome.resumed, outcome.version) == ("nothing_unlearned", True, None)
    assert "bit for bit those of version 1" in outcome.reasons[0]
    assert [r.stage for r in store.requests()] == [Stage.PENDING]


def test_a_retraining_that_gives_the_weights_in_service_honours_nothing(asked_store: Store, tiny: Tiny) -> None:
    def fit(model: nn.Module, data: Any, seed: int) -> None:
        model.load_state_dict(tiny.model.state_dict())

    store = Store(asked_store.path, replace(task_of(tiny), fit=fit))
    outcome = store.run(ANEW)
    assert (outcome.status, outcome.version) == ("nothing_unlearned", None)
    assert "let Task.build_model make an untrained network" in outcome.next_steps[0]
    assert [r.stage for r in store.requests()] == [Stage.PENDING]


def test_nothing_pending_is_nothing_done(store: Store) -> None:
    store.run(QUICK)
    before = everything(store.path)
    outcome = store.run(QUICK)
    assert (outcome.status, outcome.version, outcome.run, outcome.requests) == ("nothing", None, None, ())
    assert everything(store.path) == before


def test_all_pending_requests_are_one_batch(store: Store) -> None:
    store.add(people([9, 11]))
    outcome = store.run(QUICK)
    assert (outcome.status, outcome.requests, outcome.records, outcome.resumed) == ("not_audited", (1, 2), 4, False)
    assert outcome.version == store.status().serving
    assert [r.version for r in store.requests()] == [2, 2]
    assert outcome.version is not None
    assert outcome.version.parent == 1


def test_the_new_version_is_another_model_and_the_old_one_stays(store: Store, tiny: Tiny) -> None:
    store.run(QUICK)
    assert serving(store) != weights(tiny.model)
    model = mlp()
    load_weights(model, store.current)
    assert weights_digest(model) == store.status().serving.weights
    first = store.history().versions[1]
    load_weights(model, store.path / "checkpoints" / f"{first.file}.safetensors")
    assert weights(model) == weights(tiny.model)


@pytest.mark.parametrize("accept", ACCEPT)
@pytest.mark.parametrize("status", list(Status))
def test_accept_says_which_conclusions_pass(
    store: Store, status: Status, accept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The conclusion is put in the audit's place, since only chance would give all of them."""
    verdict = SimpleNamespace(status=status, reasons=("said so",), next_steps=("do so",))
    report = SimpleNamespace(verdict=verdict, document={})
    monkeypatch.setattr(
        "efface.store.judging.write", lambda _, folder, receipt: (folder / "report.json").write_text("{}")
    )
    monkeypatch.setattr("efface.store.judging.audit_models", lambda **_: report)
    monkeypatch.setattr("efface.store.judging.noted_ranks", lambda *_: None)
    passes = accept == "any" or status in ACCEPT[: ACCEPT.index(accept) + 1]
    outcome = store.run(RunPlan(options=dict(QUICK.options), accept=accept))
    assert (outcome.status, outcome.reasons, outcome.version is not None) == (status, ("said so",), passes)
    assert outcome.next_steps[0] == "do so" and (len(outcome.next_steps) == 1) == passes
    mildest = status if status in ACCEPT else "any"
    assert passes or f"--accept {mildest})" in outcome.next_steps[1]
    run = store.history().runs[1]
    assert run.stage is (Stage.DONE if passes else Stage.REJECTED)
    assert (store.report_folder(1) / "report.json").read_text() == "{}"
    assert pending(store) == ([] if passes else [1])
    assert store.verify(level=None).problems == ()


def test_a_model_that_still_knows_the_records_is_not_served(store: Store, tiny: Tiny) -> None:
    store.add(people(range(20, 53)))
    outcome = store.run(RunPlan(options=HARDLY, references=2))
    assert (outcome.status, outcome.version) == ("not_verified", None)
    assert "forget records are still known" in outcome.reasons[0]
    assert (pending(store), store.status().serving.number) == ([1, 2], 1)
    assert serving(store) == weights(tiny.model)
    assert [p.stem for p in (store.path / "checkpoints").iterdir()] == [store.status().serving.file]
    assert sorted(store.ids(1)) == people([5, 7, 9])
    assert store.verify(level=None).problems == ()
    assert store.run(QUICK).requests == (1, 2)  # another run may do better


def test_a_run_whose_audit_is_refused_leaves_no_model_behind(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverges(**_: object) -> None:
        raise DivergedError(f"NaN in the logits of {IDS[5]}")

    monkeypatch.setattr("efface.store.judging.audit_models", diverges)
    with pytest.raises(DivergedError):
        store.run(AUDITED)
    assert store.history().runs[1].why == "DivergedError"
    assert store.verify(level=None).problems == ()
    assert len(list((store.path / "checkpoints").iterdir())) == 1


def test_a_run_whose_audit_fails_leaves_nothing(
    path: Path, task: Task, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(**_: object) -> None:
        raise RequestError("the records cannot be judged")

    before = weights_files(path)
    with monkeypatch.context() as patch:
        patch.setattr("efface.store.judging.audit_models", refused)
        refuses(RequestError, "cannot be judged", "audit that fails", lambda: Store(path, task).run(AUDITED))
    assert weights_files(path) == before
    assert Store(path, task).verify(level=None).problems == ()
    ends_well(path, task, weights)


def test_a_retraining_begins_a_lineage_and_honours_everything(store: Store, tiny: Tiny) -> None:
    seen: list[int] = []

    def fit(model: nn.Module, dataset: Any, seed: int) -> None:
        seen.append(len(dataset))
        task_of(tiny).fit(model, dataset, seed)  # type: ignore[misc]

    store.run(QUICK)
    store.add(people([20]))
    outcome = Store(store.path, Task(**{**vars(task_of(tiny)), "fit": fit})).run(ANEW)
    version = outcome.version
    assert version is not None
    assert (outcome.status, outcome.requests, seen) == ("retrained", (2,), [len(IDS) - 4])
    assert (version.number, version.parent, version.lineage, version.kind) == (3, 2, 2, "retrained")
    assert (version.drift, version.baseline != store.history().versions[1].baseline) == (None, True)
    assert store.status().honours[3] == (1, 2)
    store.add(people([30]))
    later = store.run(QUICK).version
    assert later is not None
    assert (later.lineage, later.baseline) == (2, version.baseline)
    assert store.verify(references=1).not_audited is None


def test_a_retraining_needs_no_request(tmp_path: Path, tiny: Tiny) -> None:
    store = Store.create(tmp_path / "store", task_of(tiny), tiny.model)
    outcome = store.run(ANEW)
    assert outcome.version is not None
    assert (outcome.records, outcome.version.kind) == (0, "retrained")
    assert "trained without them" in (store.verify().not_audited or "")


def test_a_retrained_model_that_learned_nothing_is_not_served(path: Path, task: Task) -> None:
    def spoil(model: nn.Module, dataset: object, seed: int) -> None:
        for parameter in model.parameters():
            torch.nn.init.zeros_(parameter)

    store, before = Store(path, replace(task, fit=spoil)), served(path)
    outcome = store.run(RunPlan(retrain=True))
    assert (outcome.status, outcome.version) == ("retrained", None)
    assert "which is past the limit of 0.020" in outcome.reasons[0]
    assert served(path) == before
    assert [r.number for r in store.status().pending] == [2, 3]
    assert store.run(RunPlan(retrain=True, accept="any")).version is not None


@pytest.mark.parametrize("point", ["run.began", "run.made", "run.judged"])
def test_the_same_plan_goes_on_and_another_one_begins_anew(store: Store, point: str) -> None:
    interrupt(store, QUICK, point)
    unfinished = store.status().unfinished
    assert unfinished is not None
    assert (unfinished.number, unfinished.requests) == (1, (1,))
    assert store.verify(level=None).problems == ()
    store.add(people([11]))  # comes too late for the batch
    same = store.run(QUICK)
    assert (same.run, same.resumed, same.requests) == (1, True, (1,))
    interrupt(store, QUICK, point)
    other = store.run(RunPlan(options={"rounds": 2, "steps": 12}, level=None))
    assert (other.run, other.resumed, other.requests) == (3, False, (2,))
    assert [r.stage for r in store.history().runs.values()] == [Stage.DONE, Stage.ABANDONED, Stage.DONE]
    assert store.verify(level=None).problems == ()
    assert len(list((store.path / "checkpoints").iterdir())) == 3


def test_an_interrupted_run_that_another_plan_follows(path: Path, task: Task, weights: str) -> None:
    failpoints.arm("report.folder:full")
    other = RunPlan(options={"rounds": 2, "steps": 11}, references=1, accept="any")
    refuses(StorageError, "No space left", "full disk, then another plan", lambda: Store(path, task).run(other))
    failpoints.disarm()
    assert Store(path, task).verify(level=None).problems == ()
    ends_well(path, task, weights)
    assert [r.stage for r in Store(path).history().runs.values()] == [Stage.DONE, Stage.ABANDONED, Stage.DONE]


def test_each_run_starts_from_the_last_model(
    tmp_path: Path, tiny: Tiny, spied: dict[str, list[dict[str, Any]]]
) -> None:
    store = Store.create(tmp_path / "store", task_of(tiny), tiny.model)
    for wanted in BATCHES:
        store.add(people(wanted))
        store.run(AUDITED)
    for number, (made, judged) in enumerate(zip(spied["unlearn"], spied["audit_models"], strict=True), 1):
        assert weights(made["model"]) == weights(loaded(store, number))
        assert weights(judged["original"]) == weights(loaded(store, number))
        assert weights(judged["unlearned"]) == weights(loaded(store, number + 1))
    assert len({v.weights for v in store.history().versions.values()}) == 4
    assert store.status().honours[4] == (1, 2, 3)
