"""Requests in a row on one store: later ones never meet again whom others forgot."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from efface import RequestError, Task
from efface.auditing.report.provenance import ids_digest
from efface.data.splits import make_splits
from efface.store import Store
from efface.store.task_view import subset_task
from helpers.store_cases import ANEW, AUDITED, BATCHES, IDS, QUICK, fit, people, task_of
from helpers.store_verbs import refused
from helpers.tiny import FEATURES, HOLDOUT, RECORDS, Tiny, memorise, records

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


@pytest.mark.parametrize("augmented", [False, True], ids=["one set", "eval_records"])
def test_whom_others_forgot_is_never_read_again(tmp_path: Path, tiny: Tiny, augmented: bool) -> None:
    """Neither by references, the map of the holdout, retain batches, audits, nor a training anew."""
    train, evaluated = Watched(tiny.x, tiny.y), Watched(tiny.x, tiny.y)
    fitted: set[int] = set()

    def fit_on(model: nn.Module, dataset: Dataset[Any], seed: int) -> None:
        before = train.taken() | evaluated.taken()
        fit(model, dataset, seed)
        fitted.update(train.read)
        train.read |= before

    task = replace(task_of(tiny), train=train, eval_records=evaluated if augmented else None, fit=fit_on)
    store = Store.create(tmp_path / "store", task, tiny.model)
    forgotten: set[int] = set()
    for wanted in BATCHES:
        store.add(people(wanted))
        current = set(wanted) - forgotten
        train.taken(), evaluated.taken()
        store.run(AUDITED)
        read = train.taken() | evaluated.taken()
        assert current <= read
        assert read.isdisjoint(forgotten)
        assert len(read) > 0.9 * (RECORDS - len(forgotten))
        forgotten |= current
    store.add(people(range(200, 204)))
    train.taken(), evaluated.taken()
    store.run(ANEW)
    assert (train.taken() | evaluated.taken()).isdisjoint(forgotten)
    assert fitted == set(range(RECORDS)) - forgotten - set(range(200, 204))
    store.add(people(range(210, 214)))
    store.run(AUDITED)
    assert (train.taken() | evaluated.taken()).isdisjoint(forgotten | set(range(200, 204)))
    # a new audit is about whom this lineage forgot; those before are no part of it
    assert store.verify(references=1).report is not None
    read = train.taken() | evaluated.taken()
    assert set(range(210, 214)) <= read
    assert read.isdisjoint(forgotten | set(range(200, 204)))


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
    for name in ("unlearn", "audit_models"):
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
    assert after.add(people(BATCHES[0])[:2]).request.version == 2  # rows that were deleted, but were forgotten
    assert refused(after.add, ["person-9999@example.org"])
    assert after.verify(references=1).not_audited is None


def test_records_that_return_to_the_training_set_stay_forgotten(tmp_path: Path, tiny: Tiny) -> None:
    train = Watched(tiny.x, tiny.y)
    store = Store.create(tmp_path / "store", replace(task_of(tiny), train=train), tiny.model)
    store.add(people(BATCHES[0]))
    store.run(QUICK)
    order = torch.randperm(RECORDS, generator=torch.Generator().manual_seed(3)).tolist()
    moved = Watched(tiny.x[order], tiny.y[order])
    returned = Store(store.path, replace(task_of(tiny), train=moved, ids=people(order)))
    returned.add(people(BATCHES[2]))
    returned.run(QUICK)
    read = {order[at] for at in moved.taken()}
    assert read.isdisjoint(BATCHES[0])
    assert set(BATCHES[2]) <= read


def test_who_stays_cannot_be_tried_out_by_the_hashes_in_a_report(
    tmp_path: Path, tiny: Tiny, spied: dict[str, list[dict[str, Any]]]
) -> None:
    """A report holds hashes of the parts of those who stay, which follow from who is forgotten and from the seed."""
    forgotten = (77, 123)
    store = Store.create(tmp_path / "store", task_of(tiny), tiny.model)
    store.add(people(forgotten))
    store.run(AUDITED)
    (call,) = spied["audit_models"]
    document = (store.report_folder(1) / "report.json").read_text()
    parts = make_splits(np.array(forgotten), RECORDS, HOLDOUT, AUDITED.seed)

    def found(naming: Callable[[int], Any]) -> list[bool]:
        training = (parts.forget, parts.retain, parts.reference, parts.heldout_retain, parts.audit_reference)
        hashes = [ids_digest([naming(i) for i in at.tolist()]).removeprefix("sha256:") for at in training]
        return [one in document for one in hashes]

    for naming in (int, str, IDS.__getitem__):
        assert not any(found(naming))  # who guesses right cannot see it
    assert sum(found(call["task"].ids.__getitem__)) >= 3  # by the names that the run used they are there


def test_groups_stay_with_their_records_and_are_numbers(tiny: Tiny) -> None:
    task, _, _ = with_small_class(tiny)
    keys = [f"Anna {i // 7}" for i in range(RECORDS)]
    others = [keys[-1], *(f"Bea {i // 5}" for i in range(1, HOLDOUT))]
    grouped = replace(task, groups=keys, holdout_groups=others, test_groups=tuple(others))
    for positions in (range(RECORDS), [*range(0, 100, 3), *SMALL_CLASS], range(0, SMALL_CLASS[0], 2)):
        left = subset_task(grouped, positions, "mark").task
        small = set(SMALL_CLASS) & set(positions)
        kept = range(HOLDOUT if small else HOLDOUT - 20)  # the last 20 are of the class that left
        pairs = [*zip((keys[i] for i in positions), left.groups or (), strict=True)]
        pairs += zip((others[i] for i in kept), left.holdout_groups or (), strict=True)
        pairs += zip((others[i] for i in kept), left.test_groups or (), strict=True)
        named = {key: number for key, number in pairs}
        assert set(pairs) == set(named.items()), "one number for a key, in all sets"
        assert len(set(named.values())) == len(named) and all(type(n) is int for n in named.values())
        assert (len(left.train), len(left.holdout), len(left.test or ())) == (len(positions), len(kept), len(kept))
    with pytest.raises(RequestError, match=r"groups: expected one key for each of the 300 training records, got 1"):
        subset_task(replace(task, groups=["Anna"]), range(10), "mark")
