"""What a store calls the records of its task, fixed when it is made."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from efface.data.groups import read_groups
from efface.data.ids import ArrayIds
from efface.data.naming import BASE, SUBSET, Names, name_records, subset_indices
from efface.errors import RequestError
from efface.task import Task


def names_for_store(task: Task) -> Names:
    """What the records of a task are called in a new store, which must be stated where there are two ways.

    Raises:
        RequestError: The ids are invalid; or `train` is a Subset, and nothing says by which positions it is named.
    """
    problems: list[str] = []
    names = name_records(task, len(task.train), problems)
    if not names.is_given:
        problems.append(
            "train is a Subset: say what its records are called in the store, by Task.ids: an id for each record, or "
            "'base' (positions in the data set that it is a Subset of), or 'subset' (positions in the Subset)"
        )
    if problems:
        raise RequestError(problems)
    return names


def name_settings(names: Names) -> dict[str, Any]:
    """What a store notes of its records' names when it is made."""
    return {"by_position": names.by_position, "numbering": names.numbering}


def id_kinds(task: Task) -> list[str]:
    """The types of the ids of a new store's records: `int`, `str` or both, sorted."""
    names = names_for_store(task)
    if isinstance(names.ids, range | ArrayIds):
        return ["int"]
    return sorted({"str" if isinstance(name, str) else "int" for name in names.ids})


def named_task(task: Task, settings: Mapping[str, Any]) -> Task:
    """The task with its ids and groups read once, by position; without ids where records are named by position.

    Args:
        task: The task as the user gave it.
        settings: The settings in the history of the store; those of older stores have no numbering.

    Raises:
        RequestError: The ids are invalid, or the records are named otherwise than when the store was made.
    """
    records, by_position = len(task.train), settings["by_position"]
    if task.ids is None:
        numbering = settings.get("numbering")
        if by_position and subset_indices(task.train, records) is not None:
            numbering = SUBSET
        task = replace(task, ids=numbering)
    problems: list[str] = []
    names = name_records(task, records, problems)
    groups = read_groups(task, records, problems)
    if problems:
        raise RequestError(problems)
    was = settings.get("numbering")
    if names.by_position != by_position or (names.numbering == BASE) != (was == BASE):
        raise RequestError(
            "Task.ids was given when the store was made and is not now, or the other way round"
            + (f": it was made with ids={was!r}" if was else "")
        )
    if by_position and records != settings["records"]:
        raise RequestError(
            f"the task names records by position, and has {records} of them where the store was made with "
            f"{settings['records']}: positions no longer name the same records. Give the same records in the same "
            "order, or make a store of a task with Task.ids"
        )
    return replace(task, ids=None if by_position else names.ids, groups=groups)
