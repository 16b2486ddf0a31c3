"""Which records belong together, such as those of one person: the keys of their groups, read from a task."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from efface.data.ids import RecordIds, read_ids
from efface.errors import RequestError
from efface.task import Task
from efface.types import Indices, RecordId

WORDS = {"train": "training", "holdout": "holdout", "test": "test"}
FIELDS = {"train": "groups", "holdout": "holdout_groups", "test": "test_groups"}
Keys = Mapping[str, Sequence[RecordId]]


def read_keys(task: Task) -> dict[str, RecordIds]:
    """The key of the group of each record, by position, for each data set whose groups are given.

    Args:
        task: The task, whose groups have been checked.

    Returns:
        Keys by the name of the data set: `train`, `holdout`, `test`.
    """
    given = {name: getattr(task, field) for name, field in FIELDS.items()}
    return {name: read_ids(keys, FIELDS[name], []) for name, keys in given.items() if keys is not None}


def cluster_numbers(keys: Sequence[RecordId] | None, positions: Indices) -> Tensor | None:
    """The number of the group of each of some records, counted from 0 in their order.

    Args:
        keys: The key of each record's group, by position; None if groups are not known.
        positions: The records.

    Returns:
        Numbers, (n,), int64; None if groups are not known.
    """
    if keys is None:
        return None
    numbers: dict[RecordId, int] = {}
    return torch.tensor([numbers.setdefault(keys[at], len(numbers)) for at in positions.tolist()], dtype=torch.int64)


def with_numbers(task: Task) -> Task:
    """The task with numbers instead of the keys of its groups, the same for the same group in all data sets.

    Args:
        task: The task.

    Raises:
        RequestError: The groups do not fit the records.
    """
    problems: list[str] = []
    sizes = {"train": len(task.train), "holdout": len(task.holdout)}
    check_keys(task, sizes if task.test is None else {**sizes, "test": len(task.test)}, problems)
    if problems:
        raise RequestError(problems)
    numbers: dict[RecordId, int] = {}
    fields: dict[str, Any] = {
        FIELDS[name]: [numbers.setdefault(key, len(numbers)) for key in keys] for name, keys in read_keys(task).items()
    }
    return replace(task, **fields) if fields else task


def check_keys(task: Task, sizes: Mapping[str, int], problems: list[str]) -> None:
    """Check the groups of all data sets: one key for each record, an integer or a string.

    Args:
        task: The task.
        sizes: The number of records of each data set that is there, by name.
        problems: Problems are added to this.
    """
    for name, field in FIELDS.items():
        if name in sizes:
            read_groups(task, sizes[name], problems, name)
        elif getattr(task, field) is not None:
            problems.append(f"{field}: given without {WORDS[name]} records")


def read_groups(task: Task, records: int, problems: list[str], place: str = "train") -> RecordIds | None:
    """Read the group of each record of a data set.

    Args:
        task: The task.
        records: The number of records of the data set.
        problems: Problems are added to this.
        place: The data set: `train`, `holdout` or `test`.

    Returns:
        The key of each record's group, by position; None without groups, or with a problem.
    """
    field, before = FIELDS[place], len(problems)
    given: Any = getattr(task, field)
    if given is None:
        return None
    keys = read_ids(given, field, problems)
    if len(problems) == before and len(keys) != records:
        problems.append(f"{field}: expected one key for each of the {records} {WORDS[place]} records, got {len(keys)}")
    return keys if len(problems) == before else None


def shared_warning(keys: Keys, forget: Indices) -> str | None:
    """A warning that holdout records belong to groups that forget records belong to; None if none does.

    Args:
        keys: The keys of groups, as `read_keys` gives them.
        forget: Positions of the forget records.
    """
    if "train" not in keys or "holdout" not in keys:
        return None
    asked = {keys["train"][at] for at in forget.tolist()}
    shared = sum(key in asked for key in keys["holdout"])
    if not shared:
        return None
    return (
        f"{shared:,} holdout records are of groups of forget records, by Task.holdout_groups: what the model learned "
        "of these groups shows in the holdout too, so traces of them look smaller than they are"
    )
