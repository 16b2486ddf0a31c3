"""Whom a run forgets: records that are missing or too many, and ids that only people see."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from efface import RequestError, Task
from efface.store import Stage, Store
from helpers.store_cases import ANEW, IDS, QUICK, people, subset, task_of
from helpers.store_secrets import ANNA, NAMED, places, written
from helpers.store_verbs import pending, refused, serving
from helpers.tiny import Tiny, weights


@pytest.fixture
def store(asked_store: Store) -> Store:
    return asked_store


def test_records_that_cannot_be_unlearned_fail_the_run_and_stay_pending(store: Store, tiny: Tiny) -> None:
    store.add(people(range(100, 170)))
    (problem,) = refused(store.run, QUICK)
    mend = "train anew without them (RunPlan(retrain=True), or efface run --retrain)"
    assert f"above 20% they cannot be unlearned together: {mend}" in problem
    run = store.history().runs[1]
    assert (run.stage, run.why) == (Stage.FAILED, "RequestError")
    assert (pending(store), serving(store)) == ([1, 2], weights(tiny.model))
    assert store.run(ANEW).requests == (1, 2)
    assert store.verify(level=None).problems == ()


def test_a_record_that_left_the_training_set_while_it_was_pending_needs_a_retraining(store: Store, tiny: Tiny) -> None:
    kept = [i for i in range(len(IDS)) if i != 7]
    less = Task(**{**vars(task_of(tiny)), "train": subset(tiny, kept), "ids": people(kept)})
    fewer = Store(store.path, less)
    (problem,) = refused(fewer.run, QUICK)
    assert problem.startswith("request 1 waits: 1 of its records is no longer in the training set, so nothing can be")
    assert "person" not in problem
    assert fewer.run(ANEW).requests == (1,)


def test_twins_are_named_by_their_ids_and_not_kept(tmp_path: Path, tiny: Tiny) -> None:
    x = tiny.x.clone()
    y = tiny.y.clone()
    x[7], y[7] = x[0], y[0]
    task = replace(task_of(tiny), ids=NAMED, train=torch.utils.data.TensorDataset(x, y))
    store = Store.create(tmp_path / "store", task, tiny.model)
    store.add([ANNA])
    with pytest.raises(RequestError) as caught:
        store.run(QUICK)
    assert f"'{ANNA}' (twin of '{IDS[7]}')" in caught.value.problems[0]
    store.cancel(1)
    assert places(store.path, (ANNA, IDS[7]), written) == []
