"""Which records a request may name: those the store knows, training records that joined later, and deleted rows."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from efface import Task
from efface.store import KnownIds, Stage, Store
from helpers.store_cases import ANEW, IDS, QUICK, all_bytes, people, subset, task_of
from helpers.store_verbs import everything, pending, refused
from helpers.tiny import Tiny, mlp

SAY_SO = " (if their rows were deleted, say so: deleted=True, or --deleted)"


def without(tiny: Tiny, *gone: int) -> Task:
    """The task without some rows."""
    kept = [at for at in range(len(IDS)) if at not in gone]
    return replace(task_of(tiny), train=subset(tiny, kept), ids=people(kept))


def with_more(tiny: Tiny, *ids: str) -> Task:
    """The task with rows that joined later."""
    x, y = torch.cat([tiny.x, tiny.x[: len(ids)] + 3]), torch.cat([tiny.y, tiny.y[: len(ids)]])
    return replace(task_of(tiny), train=TensorDataset(x, y), ids=[*IDS, *ids])


class Unread(list[str]):
    """Ids that must not be read."""

    def __iter__(self) -> object:  # type: ignore[override]
        raise AssertionError("the ids of the task were read")


def test_a_row_that_was_deleted_first_can_be_asked_for(store: Store, tiny: Tiny) -> None:
    later = Store(store.path, without(tiny, 7))
    answer = later.add(people([7]), due="2999-12-24")
    assert (answer.known, answer.unknown, answer.remarks, answer.request.due) == (1, 0, (), "2999-12-24")
    assert (answer.request.known, answer.request.unknown) == (1, 0)
    assert "request 1 waits: 1 of its records is no longer in the training set" in refused(later.run, QUICK)[0]
    assert later.run(ANEW).requests == (1,)
    assert store.requests()[0].stage is Stage.HONOURED
    assert store.verify(level=None).problems == ()


def test_ids_that_the_store_knows_are_taken_without_the_task(store: Store, task: Task) -> None:
    store.add(people([5]))
    store.run(QUICK)
    unread = Store(store.path, replace(task, ids=Unread(IDS)))
    for opened in (unread, Store(store.path)):
        answer = opened.add(people([5, 7, 9]))
        assert (answer.known, answer.unknown, answer.forgotten) == (3, 0, 1)
    assert store.ids(2) == people([7, 9])


def test_records_that_joined_later_are_taken_from_the_training_set(store: Store, tiny: Tiny) -> None:
    later = Store(store.path, with_more(tiny, "later", "latest"))
    answer = later.add([IDS[5], "later", "latest"])
    assert (answer.known, answer.unknown) == (1, 2)
    assert answer.remarks == (
        "2 of its records joined the training set later: the model in service was not trained on them, and a "
        "retraining (--retrain) leaves them out.",
    )
    assert (answer.request.known, answer.request.unknown) == (1, 2)
    assert later.run(ANEW).requests == (1,)
    assert later.add(["later"]).remarks == ()  # forgotten, and known


@pytest.mark.parametrize("given", [True, False])
def test_ids_that_are_nowhere_are_taken_only_as_deleted_rows(store: Store, task: Task, given: bool) -> None:
    opened = Store(store.path, task if given else None)
    before = everything(store.path)
    (problem,) = refused(opened.add, [IDS[5], "gone-1", "gone-2"])
    assert "'gone-1', 'gone-2'" in problem and "deleted=True" in problem
    assert everything(store.path) == before
    answer = opened.add([IDS[5], "gone-1", "gone-2"], deleted=True)
    assert (answer.made, answer.known, answer.unknown) == (True, 1, 2)
    assert answer.remarks == ("2 of its records are not known to the store: honoured by the next retraining.",)
    again = opened.add([IDS[5], "gone-1", "gone-2"])  # it was said already
    assert (again.made, again.request.number, again.unknown) == (False, 1, 2)
    assert opened.add(["gone-1"]).waiting == 1
    assert Store(store.path, task).run(ANEW).requests == (1, 2)
    assert opened.add(["gone-2"]).request.stage is Stage.HONOURED
    assert not [name for name, held in all_bytes(store.path).items() if b"gone-" in held]
    assert store.verify(level=None).problems == ()


def test_a_cancelled_request_does_not_make_its_ids_known(store: Store) -> None:
    store.add(["gone"], deleted=True)
    store.cancel(1)
    assert "'gone'" in refused(store.add, ["gone"])[0]
    assert store.add(["gone"], deleted=True).made


@pytest.mark.parametrize("name", [IDS[5].upper(), f" {IDS[5]}", IDS[5].title()])
def test_a_deleted_row_may_be_a_mistyped_one(store: Store, name: str) -> None:
    answer = store.add([name], deleted=True)
    assert answer.remarks[1] == (
        f"Ids are exact, and some could be mistyped ones of records that the store knows: {name!r} for {IDS[5]!r}."
    )
    assert f"{IDS[5]!r} is known" in refused(Store(store.path).add, [f"{IDS[5]} "])[0]


def test_integers_and_texts_are_different_ids(tmp_path: Path, tiny: Tiny) -> None:
    ids = np.arange(300) + 1000
    store = Store.create(tmp_path / "store", tiny.task(build_model=mlp, ids=ids), tiny.model)
    assert Store(store.path).add(np.array([1005, 1007])).known == 2
    assert "1005 is known" in refused(Store(store.path).add, ["1005"])[0]
    assert store.add(torch.tensor([1009])).known == 1


def test_no_row_of_a_store_by_position_can_be_deleted(tmp_path: Path, tiny: Tiny) -> None:
    store = Store.create(tmp_path / "store", tiny.task(build_model=mlp), tiny.model)
    (problem,) = refused(store.add, [5, 300], deleted=True)
    assert problem == (
        "1 id is no record of this store: 300. It names records by position, from 0 to 299, so no row of it can be "
        "deleted"
    )
    assert refused(store.add, [5, 300])[0].endswith("was never forgotten: 300")
    assert Store(store.path).add([5]).known == 1


def test_look_alikes_are_counted(tmp_path: Path, tiny: Tiny) -> None:
    ids = ["Anna", "anna", "Bo", "7 ", *IDS[4:]]
    store = Store.create(tmp_path / "store", tiny.task(build_model=mlp, ids=ids), tiny.model)
    assert store.add(["anna", "Bo"]).alike == 1
    assert Store(store.path).known_ids(["anna", "Bo", "ANNA"]) == KnownIds(
        known=frozenset(["anna", "Bo"]), alike=frozenset(["anna"])
    )


def test_deleted_is_a_word_of_truth(store: Store) -> None:
    assert refused(store.add, [IDS[5]], deleted="yes") == ("deleted: expected True or False, got 'yes'",)


def test_the_share_counts_the_records_that_a_run_could_take(store: Store) -> None:
    assert store.add(people(range(30)), deleted=True).share == 0.1
    assert store.add(["gone"], deleted=True).share == 0.1
    store.run(replace(ANEW))
    assert store.add(people(range(27, 57))).share == pytest.approx(27 / 270)
    assert pending(store) == [3]
