"""Requests in a row on one store: each starts from the last model, and never meets again whom others forgot."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from efface import Task
from efface.auditing.report.provenance import ids_digest
from efface.data.splits import make_splits
from efface.models.checkpoint import load_weights, weights_digest
from efface.store import Store
from helpers.store_cases import ANEW, AUDITED, IDS, QUICK, fit, people, task_of
from helpers.store_verbs import refused
from helpers.tiny import FEATURES, HOLDOUT, RECORDS, Tiny, memorise, mlp, records, weights

BATCHES = (range(5, 65, 5), range(2, 40, 6), range(100, 108))
SMALL_CLASS = range(288, 300)


class Watched(Dataset[tuple[Tensor, Tensor]]):
    """Training records that note which of them were read, however that was done."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y
        self.read: set[int] = set()

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, at: int) -> tuple[Tensor, Tensor]:
        if not 0 <= at < len(self):
            raise IndexError(at)
        self.read.add(at)
        return self.x[at], self.y[at]

    def taken(self) -> set[int]:
        """What was read since the last time."""
        read, self.read = self.read, set()
        return read


def taught(x: Tensor, y: Tensor, classes: int) -> tuple[nn.Module, Callable[[], nn.Module]]:
    """A network that knows the records by heart, and what makes such networks."""

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(FEATURES, 48), nn.ReLU(), nn.Linear(48, classes))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return memorise(build(), x, y), build


@pytest.fixture
def spied(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[dict[str, Any]]]]:
    """What runs hand to the library: `unlearn`, `audit` and `retrain`, which do their work as ever."""
    from efface.store import build as making
    from efface.store import run as running

    seen: dict[str, list[dict[str, Any]]] = {"unlearn": [], "audit": []}

    def spy(module: ModuleType, name: str) -> None:
        real = getattr(module, name)

        def call(*given: Any, **named: Any) -> Any:
            seen[name].append({**named, "model": given[0] if given else None})
            return real(*given, **named)

        monkeypatch.setattr(module, name, call)

    spy(making, "unlearn")
    spy(running, "audit")
    yield seen


def loaded(store: Store, number: int) -> nn.Module:
    model = mlp()
    load_weights(model, store.path / "checkpoints" / f"{store.history().versions[number].file}.safetensors")
    return model


def test_each_run_starts_from_the_last_model(
    tmp_path: Path, tiny: Tiny, spied: dict[str, list[dict[str, Any]]]
) -> None:
    store = Store.create(tmp_path / "store", task_of(tiny), tiny.model)
    for wanted in BATCHES:
        store.add(people(wanted))
        store.run(AUDITED)
    for number, (made, judged) in enumerate(zip(spied["unlearn"], spied["audit"], strict=True), 1):
        assert weights(made["model"]) == weights(loaded(store, number))
        assert weights(judged["original"]) == weights(loaded(store, number))
        assert weights(judged["unlearned"]) == weights(loaded(store, number + 1))
    assert len({v.weights for v in store.history().versions.values()}) == 4
    assert store.status().honours[4] == (1, 2, 3)


@pytest.mark.parametrize("augmented", [False, True], ids=["one set", "eval_records"])
def test_whom_others_forgot_is_never_read_again(tmp_path: Path, tiny: Tiny, augmented: bool) -> None:
    """Neither by references, the map of the holdout, retain batches, audits, nor a training anew."""
    train, plainly = Watched(tiny.x, tiny.y), Watched(tiny.x, tiny.y)
    fitted: set[int] = set()

    def fit_on(model: nn.Module, dataset: Dataset[Any], seed: int) -> None:
        before = train.taken() | plainly.taken()
        fit(model, dataset, seed)
        fitted.update(train.read)
        train.read |= before

    task = replace(task_of(tiny), train=train, eval_records=plainly if augmented else None, fit=fit_on)
    store = Store.create(tmp_path / "store", task, tiny.model)
    gone: set[int] = set()
    for wanted in BATCHES:
        store.add(people(wanted))
        current = set(wanted) - gone
        train.taken(), plainly.taken()
        store.run(AUDITED)
        read = train.taken() | plainly.taken()
        assert current <= read
        assert read.isdisjoint(gone)
        assert len(read) > 0.9 * (RECORDS - len(gone))
        gone |= current
    store.add(people(range(200, 204)))
    train.taken(), plainly.taken()
    store.run(ANEW)
    assert (train.taken() | plainly.taken()).isdisjoint(gone)
    assert fitted == set(range(RECORDS)) - gone - set(range(200, 204))
    store.add(people(range(210, 214)))
    store.run(AUDITED)
    assert (train.taken() | plainly.taken()).isdisjoint(gone | set(range(200, 204)))
    # a new audit is about whom this lineage forgot; those before are no part of it
    assert store.verify(references=1).report is not None
    read = train.taken() | plainly.taken()
    assert set(range(210, 214)) <= read
    assert read.isdisjoint(gone | set(range(200, 204)))


def test_a_new_audit_is_about_all_that_the_lineage_forgot(tmp_path: Path, tiny: Tiny) -> None:
    store = Store.create(tmp_path / "store", task_of(tiny), tiny.model)
    for wanted in BATCHES:
        store.add(people(wanted))
        store.run(QUICK)
    report = store.verify(references=1).report
    assert report is not None
    tags = {store._core.key.tag(name).hex()[:16] for wanted in BATCHES for name in people(wanted)}
    assert {r["id"] for r in report.document["records"]} == tags
    assert report.document["weights"] == {
        "original": weights_digest(tiny.model),
        "unlearned": store.status().serving.weights,
    }


def test_drift_is_counted_from_the_first_model_of_the_lineage(tmp_path: Path, tiny: Tiny) -> None:
    store = Store.create(tmp_path / "store", task_of(tiny), tiny.model)
    for wanted in BATCHES[:2]:
        store.add(people(wanted))
        store.run(QUICK)
    store.run(ANEW)
    for wanted in BATCHES[2:]:
        store.add(people(wanted))
        store.run(QUICK)

    def answers(number: int) -> list[int]:
        model = loaded(store, number)
        return [int(model(x[None]).argmax()) for x in tiny.holdout_x]

    def changed(first: int, last: int) -> float:
        return sum(a != b for a, b in zip(answers(first), answers(last), strict=True)) / HOLDOUT

    versions = store.history().versions
    assert versions[4].drift is None
    assert changed(1, 3) != changed(2, 3)
    for first, last in ((1, 2), (1, 3), (4, 5)):
        assert versions[last].drift["changed"] == pytest.approx(changed(first, last))  # type: ignore[index]


def with_small_class(tiny: Tiny) -> tuple[Task, nn.Module, Watched]:
    """Some records, the last of all and a part of the holdout, are of a fourth class."""
    parts = []
    for n, seed, few in ((RECORDS, 0, len(SMALL_CLASS)), (HOLDOUT, 1, 20)):
        x, y = records(n, seed)
        x[-few:, 3] += 6.0
        y[-few:] = 3
        parts.append((x, y))
    train = Watched(*parts[0])
    model, build = taught(*parts[0], classes=4)
    held = TensorDataset(*parts[1])
    test = TensorDataset(parts[1][0] + 0.01, parts[1][1])
    return Task(train=train, holdout=held, test=test, ids=IDS, build_model=build), model, train


def classes_in(data: Any) -> set[int]:
    return {int(data[i][1]) for i in range(len(data))}


def test_a_class_forgotten_wholly_takes_its_holdout_records_with_it(
    tmp_path: Path, tiny: Tiny, spied: dict[str, list[dict[str, Any]]]
) -> None:
    task, model, train = with_small_class(tiny)
    store = Store.create(tmp_path / "store", task, model)
    store.add(people(SMALL_CLASS))
    first = store.run(AUDITED)
    store.add(people(BATCHES[0]))
    train.taken()
    second = store.run(AUDITED)
    assert train.taken().isdisjoint(SMALL_CLASS)
    for name in ("unlearn", "audit"):
        before, after = (call["task"] for call in spied[name])
        assert classes_in(before.holdout) == classes_in(before.test) == {0, 1, 2, 3}
        assert classes_in(after.holdout) == classes_in(after.test) == classes_in(after.train) == {0, 1, 2}
    for outcome in (first, second):
        assert outcome.version is not None
        assert outcome.version.drift is not None
        assert outcome.version.drift["records"] == HOLDOUT - 20
    assert store.verify(references=1).report is not None


def test_rows_may_be_deleted_from_the_training_set_between_runs(tmp_path: Path, tiny: Tiny) -> None:
    """The run after it gives the same weights, bit for bit, as with the rows still there."""
    store = Store.create(tmp_path / "store", task_of(tiny), tiny.model)
    store.add(people(BATCHES[0]))
    store.run(QUICK)
    store.add(people(BATCHES[1]))
    shutil.copytree(store.path, tmp_path / "other", symlinks=True)
    kept = [i for i in range(RECORDS) if i not in BATCHES[0]]
    less = replace(task_of(tiny), train=TensorDataset(tiny.x[kept], tiny.y[kept]), ids=people(kept))
    there = store.run(QUICK).version
    deleted = Store(tmp_path / "other", less, key=tmp_path / "store.key").run(QUICK).version
    assert there is not None
    assert deleted is not None
    assert (there.weights, there.drift) == (deleted.weights, deleted.drift)
    after = Store(tmp_path / "other", less, key=tmp_path / "store.key")
    assert after.add(people(BATCHES[0])[:2]).request.version == 2  # rows that are gone, but were forgotten
    assert refused(after.add, ["person-9999@example.org"])
    assert after.verify(references=1).not_audited is None


def test_records_that_return_to_the_training_set_stay_forgotten(tmp_path: Path, tiny: Tiny) -> None:
    train = Watched(tiny.x, tiny.y)
    store = Store.create(tmp_path / "store", replace(task_of(tiny), train=train), tiny.model)
    store.add(people(BATCHES[0]))
    store.run(QUICK)
    order = torch.randperm(RECORDS, generator=torch.Generator().manual_seed(3)).tolist()
    moved = Watched(tiny.x[order], tiny.y[order])
    again = Store(store.path, replace(task_of(tiny), train=moved, ids=people(order)))
    again.add(people(BATCHES[2]))
    again.run(QUICK)
    read = {order[at] for at in moved.taken()}
    assert read.isdisjoint(BATCHES[0])
    assert set(BATCHES[2]) <= read


def test_who_stays_cannot_be_tried_out_by_the_hashes_in_a_report(
    tmp_path: Path, tiny: Tiny, spied: dict[str, list[dict[str, Any]]]
) -> None:
    """A report holds hashes of the parts of those who stay, which follow from who is forgotten and from the seed."""
    gone = (77, 123)
    store = Store.create(tmp_path / "store", task_of(tiny), tiny.model)
    store.add(people(gone))
    store.run(AUDITED)
    (call,) = spied["audit"]
    document = (store.report_folder(1) / "report.json").read_text()
    parts = make_splits(np.array(gone), RECORDS, HOLDOUT, AUDITED.seed)

    def found(naming: Callable[[int], Any]) -> list[bool]:
        training = (parts.forget, parts.retain, parts.reference, parts.heldout_retain, parts.audit_reference)
        hashes = [ids_digest([naming(i) for i in at.tolist()]).removeprefix("sha256:") for at in training]
        return [one in document for one in hashes]

    for naming in (int, str, IDS.__getitem__):
        assert not any(found(naming))  # who guesses right cannot see it
    assert sum(found(call["task"].ids.__getitem__)) >= 3  # by the names that the run used they are there
