"""Requests by group, such as by person: for all records that a group has now, and what joins it later is noticed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import select
from torch.utils.data import TensorDataset

from efface import ByGroup, Task
from efface.store import Stage, Store
from efface.store.database import events
from efface.store.group_rows import grown_groups, returned_by_group
from efface.store.naming import named_task
from helpers.store_cases import ANEW, IDS, QUICK, all_bytes, context_of, people, task_of
from helpers.store_verbs import everything, refused
from helpers.tiny import Tiny

KEYS = [f"Family {at // 3}" for at in range(300)]  # records 3 to 5 are family 1, and so on


def households(tiny: Tiny, **changes: Any) -> Task:
    return replace(task_of(tiny), **{"groups": KEYS, **changes})


def joined(tiny: Tiny, *keys: str) -> Task:
    """The task with a record more for each of some groups."""
    x, y = torch.cat([tiny.x, tiny.x[: len(keys)] + 3]), torch.cat([tiny.y, tiny.y[: len(keys)]])
    ids = [*IDS, *(f"later-{at}" for at in range(len(keys)))]
    return households(tiny, train=TensorDataset(x, y), ids=ids, groups=[*KEYS, *keys])


def without(tiny: Tiny, gone: range) -> Task:
    kept = [at for at in range(300) if at not in gone]
    train = TensorDataset(tiny.x[kept], tiny.y[kept])
    return households(tiny, train=train, ids=people(kept), groups=[KEYS[at] for at in kept])


@pytest.fixture
def families(store: Store, tiny: Tiny) -> Store:
    return Store(store.path, households(tiny))


def bodies(store: Store) -> list[dict[str, Any]]:
    """What the history notes of each request when it was added."""
    query = select(events.c.body).where(events.c.kind == "requested").order_by(events.c.seq)
    with context_of(store).reading() as snapshot:
        return [json.loads(body) for body in snapshot.connection.execute(query).scalars()]


def grown(store: Store, task: Task) -> dict[int, int] | None:
    context = context_of(store)
    with context.reading() as snapshot:
        return grown_groups(snapshot, named_task(task, snapshot.history.settings), context.key)


def returned(store: Store, task: Task) -> dict[int, list[int]] | None:
    context = context_of(store)
    with context.reading() as snapshot:
        return returned_by_group(snapshot, named_task(task, snapshot.history.settings), context.key)


def test_a_request_by_group_is_for_all_its_records(families: Store) -> None:
    answer = families.add(ByGroup(["Family 1", "Family 40"]), note="ticket 7", due="2999-01-01")
    assert (answer.made, answer.request.records, len(answer.request.groups)) == (True, 6, 2)
    assert (answer.known, answer.unknown, answer.remarks) == (6, 0, ())
    assert families.ids(1) == people([3, 4, 5, 120, 121, 122])
    again = families.add(ByGroup(["Family 40", "Family 1", "Family 1"]), note="ticket 7")
    assert (again.made, again.request) == (False, answer.request)
    assert families.run(QUICK).records == 6
    assert families.requests()[0].stage is Stage.HONOURED


def test_the_history_holds_tags_of_groups_and_no_key(families: Store) -> None:
    families.add(ByGroup(["Family 1", "Family 40"]))
    families.add(ByGroup(["Family 1"]))
    families.add(people([9]))
    first, second, third = (body["groups"] for body in bodies(families))
    assert first == sorted(first) and len(first) == 2 and set(second) < set(first) and third == []
    assert all(len(tag) == 32 for tag in first)
    key = context_of(families).key
    assert second == [key.group_tag("Family 1")]
    assert key.group_tag("1") != key.group_tag(1) and key.group_tag("1") != key.tag("1").hex()[:32]
    assert not [name for name, held in all_bytes(families.path).items() if b"Family" in held]
    assert "Family" not in repr(families.requests()) + json.dumps(families.request(1))


def test_ids_and_a_group_of_the_same_records_are_two_requests(families: Store) -> None:
    families.add(people([3, 4, 5]))
    answer = families.add(ByGroup(["Family 1"]))
    assert (answer.made, answer.request.number, answer.waiting) == (True, 2, 3)
    assert not families.add(people([3, 4, 5])).made
    assert families.run(QUICK).requests == (1, 2)
    late = families.add(ByGroup(["Family 1"]))
    assert (late.made, late.request.number, late.request.stage) == (False, 2, Stage.HONOURED)


def test_a_group_that_has_grown_is_noticed_and_can_be_asked_for_again(families: Store, tiny: Tiny) -> None:
    families.add(ByGroup(["Family 1"]))
    families.add(ByGroup(["Family 2"]))
    families.add(people([12]))  # of family 4, by its id
    later = joined(tiny, "Family 1", "Family 1", "Family 4")
    assert grown(families, households(tiny)) == {}
    assert grown(families, later) == {1: 2}
    more = Store(families.path, later)
    answer = more.add(ByGroup(["Family 1"]))
    assert (answer.made, answer.request.number, answer.request.records, answer.unknown) == (True, 4, 5, 2)
    assert answer.remarks[0].startswith("2 of its records joined the training set later")
    assert grown(families, later) == {}
    more.cancel(4)
    assert grown(families, later) == {1: 2}
    more.cancel(1)
    assert grown(families, later) == {}


def test_records_of_a_forgotten_group_that_come_back_are_found(families: Store, tiny: Tiny) -> None:
    families.add(ByGroup(["Family 1"]))
    families.add(people([12]))
    families.run(QUICK)
    assert returned(families, households(tiny)) == {}  # rows that stay in the data set are left out by their ids
    assert returned(families, joined(tiny, "Family 3", "Family 1", "Family 4")) == {1: [301]}
    Store(families.path, joined(tiny, "Family 3", "Family 1")).add(["later-1"])
    assert returned(families, joined(tiny, "Family 3", "Family 1")) == {}
    assert returned(families, task_of(tiny)) is None


def test_without_groups_nobody_can_tell_of_a_pending_group(families: Store, tiny: Tiny) -> None:
    assert grown(families, task_of(tiny)) == {}
    families.add(ByGroup(["Family 1"]))
    assert grown(families, task_of(tiny)) is None


@pytest.mark.parametrize("honoured", [True, False])
def test_a_group_whose_rows_are_gone_is_answered_by_its_request(families: Store, tiny: Tiny, honoured: bool) -> None:
    families.add(ByGroup(["Family 1"]))
    if honoured:
        families.run(QUICK)
    later = Store(families.path, without(tiny, range(3, 6)))
    answer = later.add(ByGroup(["Family 1"]))
    assert (answer.made, answer.request, answer.known, answer.unknown) == (False, families.requests()[0], 3, 0)
    (problem,) = refused(later.add, ByGroup(["Family 1", "Family 2"]))
    assert problem.startswith("1 group has no training records (Task.groups): 'Family 1'; asked for before: request 1;")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            ["family 1", "nobody"],
            "2 groups have no training records (Task.groups): 'family 1', 'nobody'; 'Family 1'",
        ),
        ([people([5])[0]], "is the id of a record: give ids, or --ids; rows of"),
        (["nobody"], "rows of a person that were deleted are asked for by their ids"),
        ([], "the request names no group: give at least one key"),
        ([1.5], "record ids are integers or strings, got 1.5"),
        ("Family 1", "expected a sequence of record ids, got str"),
    ],
)
def test_groups_that_cannot_be_are_refused(families: Store, asked: Any, said: str) -> None:
    before = everything(families.path)
    (problem,) = refused(families.add, ByGroup(asked))
    assert said in problem
    assert everything(families.path) == before


def test_a_request_by_group_needs_groups(store: Store, tiny: Tiny) -> None:
    assert "needs the task" in refused(Store(store.path).add, ByGroup(["a"]))[0]
    assert "the task has none: set Task.groups" in refused(store.add, ByGroup(["a"]))[0]
    families = Store(store.path, households(tiny))
    (problem,) = refused(families.add, ["Family 1"])
    assert problem.endswith("'Family 1' is a key of Task.groups: give efface.ByGroup([...]), or --groups")
    assert "ask for deleted rows by ids" in refused(families.add, ByGroup(["a"]), deleted=True)[0]


def test_a_person_may_be_asked_for_in_part_by_id_and_by_group(families: Store, tiny: Tiny) -> None:
    """A row of a person that was deleted before is no record of the group any more: it is asked for by its id."""
    later = Store(families.path, without(tiny, range(3, 4)))
    assert later.add(ByGroup(["Family 1"])).request.records == 2
    assert later.add(people([3])).known == 1
    assert later.run(replace(ANEW)).requests == (1, 2)
    assert families.verify(level=None).problems == ()


def test_groups_by_number(tmp_path: Path, tiny: Tiny) -> None:
    task = households(tiny, ids=None, groups=torch.arange(300) // 3)
    store = Store.create(tmp_path / "store", task, tiny.model)
    assert store.add(ByGroup([1])).request.records == 3
    assert store.ids(1) == [3, 4, 5]
    assert "1 is there: it differs in type" in refused(store.add, ByGroup(["1"]))[0]


def test_a_run_leaves_out_a_group_that_has_grown_until_it_is_asked_for_again(families: Store, tiny: Tiny) -> None:
    families.add(ByGroup(["Family 1"]))
    families.add(people([12]))
    later = Store(families.path, joined(tiny, "Family 1"))
    outcome = later.run(QUICK)
    assert outcome.requests == (2,)
    assert outcome.deferred[0].startswith("request 1 waits: 1 training record of its groups joined since")
    assert later.add(ByGroup(["Family 1"])).request.records == 4
    assert later.run(ANEW).requests == (1, 3)
    assert families.verify(level=None).problems == ()
    again = Store(families.path, joined(tiny, "Family 1", "Family 1"))
    (problem,) = refused(again.run, ANEW)
    assert problem.startswith("1 training record is of groups that were forgotten by request")


def test_a_group_that_has_grown_is_not_honoured_through_requests_for_its_earlier_records(
    families: Store, tiny: Tiny
) -> None:
    families.add(ByGroup(["Family 1"]))
    families.add(families.ids(1))
    later = Store(families.path, joined(tiny, "Family 1"))
    outcome = later.run(QUICK)
    assert outcome.requests == (2,)
    assert [str(r.stage) for r in later.requests()] == ["pending", "honoured"]
    assert families.verify(level=None).problems == ()
    assert families.ids(1) == []
    later.add(people([12]))
    assert later.run(QUICK).requests == (3,)
    assert families.run(QUICK).status == "nothing"  # the record is gone again
    assert [str(r.stage) for r in later.requests()] == ["honoured"] * 3
    assert later.requests()[0].through == (2,)
