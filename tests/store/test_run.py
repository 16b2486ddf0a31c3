"""Runs of a store: what lets a version into service, retraining, interrupted runs, drift, and what is left behind."""

from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from efface import Task
from efface.auditing.verdict import Status
from efface.errors import DivergedError
from efface.methods import REGISTRY, get
from efface.models.checkpoint import load_weights, weights_digest
from efface.store import Limits, Plan, Stage, Store
from efface.store.plan import check_plan
from helpers.store_cases import ANEW, AUDITED, IDS, QUICK, people, task_of
from helpers.store_verbs import DAY, at, everything, refused, serving
from helpers.tiny import CLASSES, FEATURES, Tiny, mlp, weights

HARDLY = {"rounds": 1, "steps": 8}  # too little to forget 36 records


@pytest.fixture
def store(tmp_path: Path, tiny: Tiny) -> Store:
    made = Store.create(tmp_path / "store", task_of(tiny), tiny.model)
    made.add(people([5, 7, 9]))
    return made


def interrupt(store: Store, plan: Plan, point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a run die at a point, as if the disk were full there."""
    monkeypatch.setattr("efface.store.failpoints._reached", {})
    monkeypatch.setenv("EFFACE_FAILPOINT", f"{point}:full")
    with pytest.raises(Exception, match="No space left on device"):
        store.run(plan)
    monkeypatch.delenv("EFFACE_FAILPOINT")


def pending(store: Store) -> list[int]:
    return [r.number for r in store.status().pending]


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


@pytest.mark.parametrize("accept", ["verified", "undecided", "any"])
@pytest.mark.parametrize("status", list(Status))
def test_accept_says_which_conclusions_pass(
    store: Store, status: Status, accept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The conclusion is put in the audit's place, since only chance would give all three."""
    verdict = SimpleNamespace(status=status, reasons=("said so",))
    report = SimpleNamespace(verdict=verdict, save=lambda folder: (folder / "report.json").write_text("{}"))
    monkeypatch.setattr("efface.store.run.audit_models", lambda **_: report)
    passes = accept == "any" or status == "verified" or accept == status
    outcome = store.run(Plan(options=dict(QUICK.options), accept=accept))
    assert (outcome.status, outcome.reasons, outcome.version is not None) == (status, ("said so",), passes)
    run = store.history().runs[1]
    assert run.stage is (Stage.DONE if passes else Stage.REJECTED)
    assert (store.report_folder(1) / "report.json").read_text() == "{}"
    assert pending(store) == ([] if passes else [1])
    assert store.verify(level=None).problems == ()


def test_a_model_that_still_knows_the_records_is_not_served(store: Store, tiny: Tiny) -> None:
    store.add(people(range(20, 53)))
    outcome = store.run(Plan(options=HARDLY, references=2))
    assert (outcome.status, outcome.version) == ("not_verified", None)
    assert "forget records are still known" in outcome.reasons[0]
    assert (pending(store), store.status().serving.number) == ([1, 2], 1)
    assert serving(store) == weights(tiny.model)
    assert [p.stem for p in (store.path / "checkpoints").iterdir()] == [store.status().serving.file]
    assert sorted(store.ids(1)) == people([5, 7, 9])
    assert store.verify(level=None).problems == ()
    assert store.run(QUICK).requests == (1, 2)  # another run may do better


@pytest.mark.parametrize(
    ("plan", "lines"),
    [
        ({"method": "noop"}, ["method 'noop' is a control, which honours nothing"]),
        ({"method": "retrain"}, ["method 'retrain' is a control"]),
        ({"method": "stear"}, ["did you mean 'steer'?"]),
        ({"options": {"stepps": 3}}, ["stepps"]),
        ({"accept": "not_verified"}, ["accept: expected one of verified, undecided, any"]),
        ({"level": "thorough"}, ["level: expected one of quick, standard, strong or None, got 'thorough'"]),
        ({"references": 0}, ["references: expected an integer of 1 or more, got 0"]),
        ({"seed": 1.5}, ["seed: expected an integer, got 1.5"]),
        ({"accept": "", "seed": None, "method": "noop"}, ["seed", "accept", "control"]),
    ],
)
def test_a_plan_is_refused_before_any_work(store: Store, plan: dict[str, Any], lines: list[str]) -> None:
    before = everything(store.path)
    problems = refused(store.run, Plan(**plan))
    assert len(problems) == len(lines)
    assert all(line in problem for line, problem in zip(lines, problems, strict=True))
    assert everything(store.path) == before


def test_a_run_without_what_it_needs_is_refused(store: Store, tiny: Tiny) -> None:
    bare = Store(store.path, tiny.task(ids=IDS))
    assert refused(bare.run, ANEW) == (
        "the task has no build_model: set Task.build_model, which makes the network to load into",
        "retraining is done by Task.fit, which the task lacks: set it",
    )


def test_records_that_cannot_be_unlearned_fail_the_run_and_stay_pending(store: Store, tiny: Tiny) -> None:
    store.add(people(range(100, 170)))
    (problem,) = refused(store.run, QUICK)
    assert "above 20% they cannot be unlearned together: train anew without them (efface run --retrain)" in problem
    run = store.history().runs[1]
    assert (run.stage, run.why) == (Stage.FAILED, "RequestError")
    assert (pending(store), serving(store)) == ([1, 2], weights(tiny.model))
    assert store.run(ANEW).requests == (1, 2)
    assert store.verify(level=None).problems == ()


def test_a_run_whose_audit_is_refused_leaves_no_model_behind(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverges(**_: object) -> None:
        raise DivergedError(f"NaN in the logits of {IDS[5]}")

    monkeypatch.setattr("efface.store.run.audit_models", diverges)
    with pytest.raises(DivergedError):
        store.run(AUDITED)
    assert store.history().runs[1].why == "DivergedError"
    assert store.verify(level=None).problems == ()
    assert len(list((store.path / "checkpoints").iterdir())) == 1


def test_a_record_that_left_the_training_set_while_it_was_pending_needs_a_retraining(store: Store, tiny: Tiny) -> None:
    kept = [i for i in range(len(IDS)) if i != 7]
    less = Task(**{**vars(task_of(tiny)), "train": subset(tiny, kept), "ids": people(kept)})
    again = Store(store.path, less)
    (problem,) = refused(again.run, QUICK)
    assert problem.startswith("1 records that are to be forgotten are no longer in the training set ('person-0007@ex")
    assert again.run(ANEW).requests == (1,)


def subset(tiny: Tiny, kept: list[int]) -> Any:
    return torch.utils.data.TensorDataset(tiny.x[kept], tiny.y[kept])


# retraining


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


# interrupted runs


@pytest.mark.parametrize("point", ["run.began", "run.staged", "run.judged"])
def test_the_same_plan_goes_on_and_another_one_begins_anew(
    store: Store, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(store, QUICK, point, monkeypatch)
    unfinished = store.status().unfinished
    assert unfinished is not None
    assert (unfinished.number, unfinished.requests) == (1, (1,))
    assert store.verify(level=None).problems == ()
    store.add(people([11]))  # comes too late for the batch
    same = store.run(QUICK)
    assert (same.run, same.resumed, same.requests) == (1, True, (1,))
    interrupt(store, QUICK, point, monkeypatch)
    other = store.run(Plan(options={"rounds": 2, "steps": 12}, level=None))
    assert (other.run, other.resumed, other.requests) == (3, False, (2,))
    assert [r.stage for r in store.history().runs.values()] == [Stage.DONE, Stage.ABANDONED, Stage.DONE]
    assert store.verify(level=None).problems == ()
    assert len(list((store.path / "checkpoints").iterdir())) == 3


def test_a_request_of_an_interrupted_run_may_be_cancelled(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add(people([11]))
    interrupt(store, QUICK, "run.staged", monkeypatch)
    store.cancel(1)
    run = store.history().runs[1]
    assert (run.stage, run.why) == (Stage.ABANDONED, "request 1 was cancelled")
    assert store.verify(level=None).problems == ()
    assert len(list((store.path / "checkpoints").iterdir())) == 1
    again = store.run(QUICK)
    assert (again.requests, again.records, again.resumed) == ((2,), 1, False)


def test_a_rollback_gives_an_interrupted_run_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.run(QUICK)
    store.run(ANEW)
    store.add(people([11]))
    interrupt(store, QUICK, "run.staged", monkeypatch)
    store.rollback(2)
    outcome = store.run(QUICK)
    assert outcome.version is not None
    assert (outcome.resumed, outcome.version.parent) == (False, 2)


# drift


def test_drift_agrees_with_counting_one_record_after_the_other(store: Store, tiny: Tiny, tmp_path: Path) -> None:
    store.run(QUICK)
    store.add(people([20, 30]))
    drift = store.run(QUICK).version.drift  # type: ignore[union-attr]
    assert drift is not None
    now = mlp()
    load_weights(now, store.current)
    said = [[int(m(x[None]).argmax()) for x in tiny.holdout_x] for m in (tiny.model, now)]
    truth = tiny.holdout_y.tolist()
    changed = sum(a != b for a, b in zip(*said, strict=True)) / len(truth)
    right = [sum(a == b for a, b in zip(s, truth, strict=True)) / len(truth) for s in said]
    assert drift["records"] == len(truth)
    assert drift["changed"] == pytest.approx(changed)
    assert drift["changed"] > 0
    assert drift["accuracy"] == pytest.approx(right[1] - right[0])


@pytest.mark.parametrize(
    ("limits", "due"),
    [
        (Limits(changed=0.9, accuracy=0.9), []),
        (Limits(changed=0.0, accuracy=0.9), ["of holdout answers differ from the first model's (limit 0.0%)"]),
        (Limits(changed=0.9, accuracy=0.0), ["holdout accuracy fell by"]),
        (Limits(changed=0.0, accuracy=0.0), ["of holdout answers differ", "holdout accuracy fell by"]),
    ],
)
def test_limits_say_when_a_retraining_is_due(
    tmp_path: Path, tiny: Tiny, limits: Limits, due: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A class is preferred from then on, so answers change and accuracy falls."""

    def worse(model: nn.Module, **_: Any) -> Any:
        with torch.no_grad():
            model[2].bias[0] += 4.0  # type: ignore[index, operator]
        return SimpleNamespace(model=model, reference=None, cost=SimpleNamespace(cpu_s=0.0), warnings=())

    monkeypatch.setattr("efface.store.build.unlearn", worse)
    store = Store.create(tmp_path / "store", task_of(tiny), tiny.model, limits=limits)
    store.add(people([5]))
    outcome = store.run(QUICK)
    assert outcome.version is not None
    assert outcome.version.drift is not None
    assert 0 < outcome.version.drift["changed"] < 0.9
    assert outcome.version.drift["accuracy"] < 0
    assert len(outcome.retraining) == len(due)
    assert all(text in line for text, line in zip(due, outcome.retraining, strict=True))
    assert store.status().retraining == outcome.retraining
    store.run(ANEW)
    assert store.status().retraining == ()


def test_a_shorter_holdout_gives_no_drift_and_says_why(store: Store, tiny: Tiny) -> None:
    held = torch.utils.data.TensorDataset(tiny.holdout_x[:150], tiny.holdout_y[:150])
    outcome = Store(store.path, Task(**{**vars(task_of(tiny)), "holdout": held})).run(QUICK)
    assert outcome.version is not None
    assert "the holdout is shorter than at the beginning" in outcome.version.drift["missing"]  # type: ignore[index]
    assert outcome.retraining == ()


# what is left behind


def test_without_days_of_grace_superseded_checkpoints_go_at_once(tmp_path: Path, tiny: Tiny) -> None:
    store = Store.create(tmp_path / "store", task_of(tiny), tiny.model, grace_days=0)
    store.add(people([5]))
    store.run(QUICK)
    assert [p.stem for p in (store.path / "checkpoints").iterdir()] == [store.status().serving.file]
    assert store.history().versions[1].removed
    verification = store.verify()
    assert verification.problems == ()
    assert "version 1, which the lineage began with, was removed" in (verification.not_audited or "")
    assert store.verify(references=1, original=tiny.model).report is not None


def test_superseded_checkpoints_go_once_the_days_of_grace_are_over(
    tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, DAY)
    store = Store.create(tmp_path / "store", task_of(tiny), tiny.model, grace_days=30)
    store.add(people([5]))
    store.run(QUICK)
    (own,) = [r for r in store.verify(level=None).residues if "in the store" in r.what]
    assert own.what == "version 1 in the store: knows the records of request 1"
    assert own.found
    assert own.advice == "kept for audits until 2031-06-16, then removed by the next run"
    at(monkeypatch, DAY + timedelta(days=29, hours=23))
    store.run(QUICK)
    assert not store.history().versions[1].removed
    at(monkeypatch, DAY + timedelta(days=30))
    assert store.run(QUICK).status == "nothing"
    assert store.history().versions[1].removed
    assert [p.stem for p in (store.path / "checkpoints").iterdir()] == [store.status().serving.file]
    assert not [r for r in store.verify(level=None).residues if "in the store" in r.what]


def test_a_version_that_knows_nothing_more_is_kept(tmp_path: Path, tiny: Tiny) -> None:
    store = Store.create(tmp_path / "store", task_of(tiny), tiny.model, grace_days=0)
    store.add(people([5]))
    store.run(QUICK)
    store.run(ANEW)
    assert [v.removed for v in store.history().versions.values()] == [True, False, False]
    assert store.rollback(2).number == 2


def normed() -> nn.Sequential:
    return nn.Sequential(nn.Linear(FEATURES, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, CLASSES))


def test_residues_name_what_else_may_hold_the_records(tmp_path: Path, tiny: Tiny) -> None:
    given, backup = tmp_path / "given.pt", tmp_path / "epoch-3.ckpt"
    torch.save({"made": "elsewhere"}, given)
    backup.write_bytes(b"older")
    store = Store.create(
        tmp_path / "store", tiny.task(build_model=normed, ids=IDS), normed().eval(), source=given, grace_days=7
    )
    assert not [r for r in store.verify(level=None).residues if str(given) in r.what]  # nothing is forgotten yet
    store.add(people([5, 7]))
    store.run(Plan(method="finetune", options={"steps": 5}, level=None))
    found = [r.what for r in store.verify(level=None).residues if r.found]
    assert found == [
        "version 1 in the store: knows the records of request 1",
        f"{given}: the file that the store was made from",
        "other weights beside it: epoch-3.ckpt",
        "2 forgotten records stand in the task's training set",
        "running statistics of 1 normalisation layers (1, ...): averages over all records",
    ]
    given.write_bytes(b"another file by now")
    backup.unlink()
    kept = [i for i in range(len(IDS)) if i not in (5, 7)]
    less = tiny.task(build_model=normed, ids=people(kept), train=subset(tiny, kept))
    found = [r.what for r in Store(store.path, less).verify(level=None).residues if r.found]
    assert [what.split(":")[0] for what in found] == [
        "version 1 in the store",
        "running statistics of 1 normalisation layers (1, ...)",
    ]
    assert [r.found for r in store.verify(level=None).residues] == sorted(
        (r.found for r in store.verify(level=None).residues), reverse=True
    )


def test_options_mean_the_same_as_words_and_as_values() -> None:
    for key in REGISTRY:
        method = get(key)
        options = asdict(method)
        words = {name: str(value) for name, value in options.items()}
        assert Plan(method=key, options=options).chosen() == Plan(method=key, options=words).chosen() == method
    assert Plan(method="boundary", options={"expand": True}).chosen() != get("boundary")
    assert "steps" in refused(check_plan, Plan(options={"steps": 10.7}), Task(train=[], holdout=[], build_model=mlp))[0]
