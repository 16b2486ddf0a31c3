"""What holds for the verbs of a store together: the task they need, positions as ids, and stores that are moved."""

import os
from pathlib import Path

import pytest
import torch
from torch.utils.data import TensorDataset

from efface.store import Store
from helpers.store_cases import IDS, QUICK, fit, people, task_of
from helpers.store_verbs import refused
from helpers.tiny import RECORDS, Tiny, mlp


def test_verbs_that_read_records_ask_for_the_task(store: Store) -> None:
    bare = Store(store.path)
    for call in (lambda: bare.add([IDS[3]]), lambda: bare.run(QUICK)):
        assert refused(call) == ("this needs the task: give it to Store(folder, task)",)
    assert bare.verify(level=None).problems == ()
    assert bare.verify().not_audited == "no task was given"


@pytest.mark.parametrize("verb", ["request", "ids", "note", "cancel"])
def test_a_request_that_is_not_there_is_named(store: Store, verb: str) -> None:
    assert refused(getattr(store, verb), 4) == ("there is no request 4 (there are: none yet)",)


def test_a_task_without_ids_names_records_by_position(tmp_path: Path, tiny: Tiny) -> None:
    task = tiny.task(build_model=mlp, fit=fit)
    store = Store.create(tmp_path / "store", task, tiny.model)
    assert store.add(torch.tensor([5, 9])).request.records == 2
    assert sorted(store.ids(1)) == [5, 9]
    assert "300" in refused(store.add, [RECORDS])[0]
    assert "was never forgotten: '5'" in refused(store.add, ["5"])[0]
    store.run(QUICK)
    shorter = tiny.task(build_model=mlp, train=TensorDataset(tiny.x[:-1], tiny.y[:-1]))
    for call in (lambda s: s.add([1]), lambda s: s.run(QUICK)):
        (problem,) = refused(call, Store(store.path, shorter))
        assert problem.startswith("the task names records by position, and has 299 of them where the store was made")
    (problem,) = refused(Store(store.path, task_of(tiny)).add, [IDS[1]])
    assert problem.startswith("Task.ids was given when the store was made and is not now, or the other way round")


def test_a_store_and_its_key_may_be_moved_together(store: Store, tiny: Tiny, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    os.rename(store.path, moved / "store")
    os.rename(tmp_path / "store.key", moved / "store.key")
    there = Store(moved / "store", task_of(tiny))
    there.add(people([5]))
    assert there.run(QUICK).version is not None
    assert there.verify(level=None).problems == ()
