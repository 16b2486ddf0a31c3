"""Records of the groups that were asked for, such as persons, which no request names: they joined since."""

from collections.abc import Collection, Mapping

from efface.data.groups import read_groups
from efface.store.context import Snapshot
from efface.store.entries import DeletionRequest
from efface.store.keys import Key
from efface.store.tag_rows import requests_of
from efface.store.task_view import ids_of
from efface.task import Task
from efface.types import RecordId


def grown_groups(snapshot: Snapshot, task: Task, key: Key) -> dict[int, int] | None:
    """Count the training records of the groups of pending requests that joined since they were asked for.

    A record counts if no request names it that is pending or was honoured.

    Args:
        snapshot: a view of the store.
        task: the task, whose ids and groups `named_task` has read.
        key: the store's key.

    Returns:
        The number of such records, by number of the request; requests without any are left out. None where requests by
        group are pending and the task has no groups, so that nobody can tell.
    """
    asked = [r for r in snapshot.history.pending if r.groups]
    if not asked:
        return {}
    return None if task.groups is None else {n: len(at) for n, at in _unnamed(snapshot, task, key, asked).items()}


def returned_by_group(snapshot: Snapshot, task: Task, key: Key) -> dict[int, list[int]] | None:
    """Find training records of groups that were forgotten: they joined after the request was honoured.

    Args:
        snapshot: a view of the store.
        task: the task, whose ids and groups `named_task` has read.
        key: the store's key.

    Returns:
        Positions of the records that no pending or honoured request names, by number of the honoured request; requests
        without any are left out. None where requests by group were honoured and the task has no groups.
    """
    asked = [r for r in snapshot.history.requests.values() if r.groups and r.number in snapshot.history.honoured]
    if not asked:
        return {}
    return None if task.groups is None else _unnamed(snapshot, task, key, asked)


def _unnamed(snapshot: Snapshot, task: Task, key: Key, asked: Collection[DeletionRequest]) -> dict[int, list[int]]:
    """Positions of training records of some requests' groups that no live request names, by number of the request."""
    whose: dict[str, list[int]] = {}
    for request in asked:
        for group in request.groups:
            whose.setdefault(group, []).append(request.number)
    found: dict[int, list[int]] = {}
    at_tag: dict[bytes, tuple[int, list[int]]] = {}
    names = ids_of(task)
    for at, numbers in _members(task, key, whose).items():
        at_tag[key.tag(names[at])] = at, numbers
    honoured, pending = snapshot.history.honoured, {r.number for r in snapshot.history.pending}
    requests = requests_of(snapshot, list(at_tag))
    for tag, (at, numbers) in at_tag.items():
        if (honoured | pending).isdisjoint(requests.get(tag, ())):
            for number in numbers:
                found.setdefault(number, []).append(at)
    return found


def _members(task: Task, key: Key, whose: Mapping[str, list[int]]) -> dict[int, list[int]]:
    """The requests that name the group of a training record, by its position; records of other groups are left out."""
    numbers: dict[RecordId, list[int]] = {}
    found = {}
    for at, name in enumerate(read_groups(task, len(task.train), []) or ()):
        if name not in numbers:
            numbers[name] = whose.get(key.group_tag(name), [])
        if numbers[name]:
            found[at] = numbers[name]
    return found
