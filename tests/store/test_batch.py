"""Whom a run forgets: records that are missing or too many, and ids that only people see."""

from dataclasses import replace
from pathlib import Path
from typing import Any

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


def _joined(tiny: Tiny) -> Task:
    """The task with records that joined later: two of a content of their own, and a twin of a record."""
    x = torch.cat([tiny.x, tiny.x[:2] + 5, tiny.x[20:21]])
    y = torch.cat([tiny.y, tiny.y[:2], tiny.y[20:21]])
    return replace(
        task_of(tiny), train=torch.utils.data.TensorDataset(x, y), ids=[*IDS, "later", "later too", "twin of 20"]
    )


def test_an_unlearning_trains_on_nothing_that_the_model_was_not_trained_on_and_on_nothing_that_waits(
    store: Store, tiny: Tiny, spied: dict[str, list[dict[str, Any]]]
) -> None:
    changed = _joined(tiny)
    assert isinstance(changed.train, torch.utils.data.TensorDataset)
    changed.train.tensors[0][11] += 1
    other = Store(store.path, changed)
    other.add([*people([11]), "later"])  # which waits, since one joined later and one changed
    outcome = other.run(QUICK)
    assert outcome.requests == (1,)
    (call,) = spied["unlearn"]
    read = [inputs for inputs, _ in call["task"].train]
    assert len(read) == 299
    for left_out in (11, 300, 301):
        assert not any(torch.equal(inputs, changed.train.tensors[0][left_out]) for inputs in read)
    assert sum(torch.equal(inputs, tiny.x[20]) for inputs in read) == 1
    assert other.run(ANEW).requests == (2,)


def test_a_twin_that_joined_later_is_named(store: Store, tiny: Tiny) -> None:
    other = Store(store.path, _joined(tiny))
    other.cancel(1)
    other.add(people([20]))
    (problem,) = refused(other.run, QUICK)
    assert problem.startswith("1 training record that joined later has the content of one to forget under another id")
    assert "'twin of 20'" in problem
    other.add(["twin of 20"])
    assert other.run(QUICK).requests == (2,)
    assert other.run(ANEW).requests == (3,)
