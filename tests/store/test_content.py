"""Contents that change while a run is at work, or between a run that was interrupted and its resumption."""

from dataclasses import replace

import pytest
from torch.utils.data import TensorDataset

from efface.store import Stage, Store, failpoints
from helpers.store_cases import ANEW, QUICK, people, served, task_of
from helpers.store_verbs import interrupt, refused
from helpers.tiny import Tiny


def other(store: Store, tiny: Tiny, at: int) -> Store:
    """The store with a task in which one record has another content."""
    x = tiny.x.clone()
    x[at] += 1
    return Store(store.path, replace(task_of(tiny), train=TensorDataset(x, tiny.y)))


def test_a_retraining_is_not_resumed_on_other_records_than_it_trained_on(store: Store, tiny: Tiny) -> None:
    store.add(people([5]))
    interrupt(store, ANEW, "run.made")
    before = served(store.path)
    later = other(store, tiny, 20)
    (problem,) = refused(later.run, ANEW)
    assert problem.startswith("the training records changed since the run that was interrupted trained its model")
    assert (served(store.path), store.status().unfinished) == (before, None)
    assert store.history().runs[1].stage is Stage.FAILED
    outcome = later.run(ANEW)
    assert (outcome.resumed, outcome.requests) == (False, (1,))
    assert not later.refingerprint(dry_run=True).changed


def test_a_retraining_is_resumed_on_the_same_records(store: Store) -> None:
    store.add(people([5]))
    interrupt(store, ANEW, "run.made")
    assert store.run(ANEW).resumed
    assert not store.refingerprint(dry_run=True).changed


@pytest.mark.parametrize("point", ["run.began", "run.unlearned", "run.made"])
def test_content_that_changes_while_a_run_is_at_work_is_noticed(
    store: Store, tiny: Tiny, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """The records are read from a place that others write to, as a database or a folder of files."""
    x = tiny.x.clone()
    shared = Store(store.path, replace(task_of(tiny), train=TensorDataset(x, tiny.y)))
    shared.add(people([5, 7]))
    before = served(store.path)

    def reached(name: str) -> None:
        if name == point:
            x[7] += 1

    for module in ("run", "beginning"):
        monkeypatch.setattr(f"efface.store.{module}.failpoint", reached)
    (problem,) = refused(shared.run, QUICK)
    assert problem.startswith("the content of records to forget changed while the run was at work")
    assert served(store.path) == before
    assert store.requests()[0].stage is Stage.PENDING
    assert failpoints.armed() is False
    assert store.run(QUICK).requests == (1,)
