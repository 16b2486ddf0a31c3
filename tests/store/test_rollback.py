"""An earlier version goes back into service, unless that would undo a request."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from efface.store import RunPlan, Store
from helpers.store_cases import ANEW, IDS, QUICK, people, task_of
from helpers.store_verbs import interrupt, refused, serving
from helpers.tiny import Tiny


def test_rollback_goes_only_where_no_honoured_request_is_undone(tmp_path: Path, tiny: Tiny) -> None:
    store = Store.create(tmp_path / "store", task_of(tiny), tiny.model)
    for wanted in ([5], [7]):
        store.add(people(wanted))
        store.run(QUICK)
    store.run(RunPlan(retrain=True))
    assert refused(store.rollback, 9) == ("there is no version 9 (there are: 1 to 4)",)
    assert refused(store.rollback, 4) == ("version 4 is in service already",)
    (one,) = refused(store.rollback, 2)
    assert one.startswith("version 2 knows the records of request 2, which was honoured")
    (two,) = refused(store.rollback, 1)
    assert two.startswith("version 1 knows the records of requests 1-2, which were honoured")
    retrained = serving(store)
    assert store.rollback(3).number == 3
    assert serving(store) != retrained
    assert store.status().serving.replaced is None
    assert store.rollback(4).number == 4
    assert serving(store) == retrained
    assert store.verify(level=None).problems == ()


def test_after_a_rollback_a_run_starts_from_the_version_in_service(store: Store, tiny: Tiny) -> None:
    store.add(people([5]))
    store.run(QUICK)
    store.run(RunPlan(retrain=True))
    store.rollback(2)
    store.add(people([7]))
    version = store.run(QUICK).version
    assert version is not None
    assert (version.number, version.parent, version.lineage) == (4, 2, 1)
    assert store.status().honours[4] == (1, 2)


def test_a_rollback_gives_an_interrupted_run_up(store: Store) -> None:
    store.add(people([5, 7, 9]))
    store.run(QUICK)
    store.run(ANEW)
    store.add(people([11]))
    interrupt(store, QUICK, "run.made")
    store.rollback(2)
    outcome = store.run(QUICK)
    assert outcome.version is not None
    assert (outcome.resumed, outcome.version.parent) == (False, 2)


def _other(tiny: Tiny, what: str) -> tuple[Tensor, Tensor, list[str]]:
    """Training records that differ from those of the store in one way."""
    kept = [at for at in range(len(IDS)) if at != 20]
    if what == "changed":
        x = tiny.x.clone()
        x[20] += 1
        return x, tiny.y, list(IDS)
    if what == "gone":
        return tiny.x[kept], tiny.y[kept], people(kept)
    return torch.cat([tiny.x, tiny.x[:1] + 5]), torch.cat([tiny.y, tiny.y[:1]]), [*IDS, "later"]


@pytest.mark.parametrize("what", ["changed", "gone", "joined"])
def test_nothing_is_unlearned_from_a_version_that_was_trained_on_other_contents(
    store: Store, tiny: Tiny, what: str
) -> None:
    x, y, ids = _other(tiny, what)
    other = Store(store.path, replace(task_of(tiny), train=TensorDataset(x, y), ids=ids))
    other.run(ANEW)
    assert [v.contents for v in store.status().versions] == [1, 2]
    before = store.rollback(1)
    said = "version 1, which is in service, was trained on other records or contents than version 2"
    assert any(line.startswith(said) for line in store.verify(level=None).warnings)
    (problem,) = refused(store.refingerprint)
    assert problem.startswith(said)
    assert not store.alerts()
    store.add(people([7]))
    assert [(a.code, a.what.startswith(said)) for a in store.alerts()] == [(3, True)]
    for task in (store, other):
        (problem,) = refused(task.run, QUICK)
        assert problem.startswith(said)
        assert "go back to version 2 (Store.rollback, or efface rollback), or train anew" in problem
    assert store.status().serving == before
    store.rollback(2)
    assert other.run(QUICK).requests == (1,)
    assert refused(store.rollback, 1)


def test_a_retraining_makes_good_what_a_rollback_left(store: Store, tiny: Tiny) -> None:
    x, y, ids = _other(tiny, "changed")
    Store(store.path, replace(task_of(tiny), train=TensorDataset(x, y), ids=ids)).run(ANEW)
    store.rollback(1)
    store.add(people([7]))
    store.run(ANEW)
    store.add(people([9]))
    assert store.run(QUICK).version is not None
    assert [v.contents for v in store.status().versions] == [1, 2, 3, 3]
    assert store.verify(level=None).problems == ()
