"""The groups of records, such as the persons that they belong to: their keys, and requests for all records of some."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from efface.data.ids import RecordIds, read_ids
from efface.data.similar import unknown_ids
from efface.errors import RequestError, shorten
from efface.runtime.printing import by_number, how_many, how_many_do
from efface.task import Task
from efface.types import Indices, RecordId

NO_GROUPS = "the request names groups, but the task has none: set Task.groups, a key a record"
WORDS = {"train": "training", "holdout": "holdout", "test": "test"}
FIELDS = {"train": "groups", "holdout": "holdout_groups", "test": "test_groups"}
Keys = Mapping[str, Sequence[RecordId]]


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
    """The task with a number for each key of a group, the same in all data sets; RequestError if keys do not fit."""
    problems: list[str] = []
    read = read_keys(task, problems)
    if problems:
        raise RequestError(problems)
    numbers: dict[RecordId, int] = {}
    fields: dict[str, Any] = {
        FIELDS[name]: [numbers.setdefault(key, len(numbers)) for key in keys] for name, keys in read.items()
    }
    return replace(task, **fields) if fields else task


def read_keys(task: Task, problems: list[str]) -> dict[str, RecordIds]:
    """Read and check the groups of all data sets: one key for each record, an integer or a string.

    Args:
        task: The task.
        problems: Problems are added to this.

    Returns:
        The key of each record's group, by position, for each data set whose groups are given: `train`, `holdout`,
        `test`.
    """
    found = {}
    for name, field in FIELDS.items():
        if (data := getattr(task, name)) is None:
            problems += [f"{field}: given without {WORDS[name]} records"] * (getattr(task, field) is not None)
        elif (keys := read_groups(task, len(data), problems, name)) is not None:
            found[name] = keys
    return found


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


def positions_in_groups(wanted: Sequence[RecordId], groups: RecordIds, problems: list[str]) -> Indices:
    """The positions of all records of some groups, group by group in the order of the request.

    Args:
        wanted: The keys of the groups.
        groups: The key of each training record's group.
        problems: Problems are added to this.
    """
    if not wanted:
        problems.append("the forget set is empty: name at least one group")
    if repeated := [key for key, n in Counter(wanted).items() if n > 1]:
        problems.append(f"the forget set names groups {shorten(repeated)} more than once: name each once")
    members: dict[RecordId, list[int]] = {key: [] for key in wanted}
    for at, key in enumerate(groups):
        if key in members:
            members[key].append(at)
    if unknown := [key for key, at in members.items() if not at]:
        problems.append(
            f"{how_many_do(len(unknown), 'group', 'has', 'have')} no training records (Task.groups): "
            f"{unknown_ids(unknown, groups)}"
        )
    return np.array([at for those in members.values() for at in those], dtype=np.int64)


def remaining_line(forget: Indices, groups: RecordIds) -> str | None:
    """A sentence on the records that stay of groups with a record in the forget set; None if none stays.

    Args:
        forget: The positions of the forget set.
        groups: The key of each training record's group.
    """
    taken = Counter(groups[at] for at in forget.tolist())
    total = Counter(key for key in groups if key in taken)
    left = {key: total[key] - n for key, n in taken.items() if total[key] > n}
    if not left:
        return None
    # without the keys, which may be names of people: reports of a store hold none
    others = how_many(sum(left.values()), "other record")
    return (
        f"{others} of the {how_many(len(left), 'group')} that requested records belong to "
        f"{by_number(sum(left.values()), 'stays', 'stay')} in training: a request by group takes all records of a group"
    )
