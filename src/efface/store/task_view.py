"""A task without the records that were forgotten before, so that later runs do not use them."""

from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset

from efface.data.groups import with_numbers
from efface.data.ids import PositionalIds, RecordIds, read_ids
from efface.data.records import Records, subset
from efface.runtime.printing import Brief
from efface.store.keys import TAG_DIGITS, Key
from efface.task import Task
from efface.task.structure import renumbered
from efface.types import Indices, RecordId, SizedDataset


class MaskedIds(PositionalIds):
    """Ids of the remaining records without the user's ids: tags for the records to forget, marked positions for others.

    So no run, report or error holds the id of a person who asked to be forgotten.

    Args:
        positions: positions of the remaining records in the whole training set.
        tags: the tag of each record that is to be forgotten now, by its position.
        mark: a secret that precedes each position. A report holds hashes of the ids of retain records; without a secret
            in them, one could find out by trial which records are missing.
    """

    def __init__(self, positions: Sequence[int], tags: Mapping[int, str], mark: str) -> None:
        self._positions, self._tags, self._mark = positions, tags, mark

    def __len__(self) -> int:
        return len(self._positions)

    def name(self, position: int) -> RecordId:
        """The id at a position among the remaining records."""
        at = self._positions[position]
        return self._tags.get(at) or masked(self._mark, at)


def masked(mark: str, position: int) -> str:
    """The id, among the remaining records, of one that is not to be forgotten now; by its position in the whole set."""
    return f"{mark}:{position}"


@dataclass(frozen=True, repr=False)
class TaskView(Brief):
    """A task without the records that were forgotten before.

    Args:
        task: the task with the remaining records.
        positions: positions of its training records in the whole training set.
        forget_classes: classes without remaining training records, (k,), int64.
        mark: see MaskedIds.
    """

    task: Task
    positions: Sequence[int]
    forget_classes: Tensor
    mark: str

    def with_tags(self, tags: Mapping[int, str]) -> Task:
        """The task with tags as ids of some records; `tags` are given by position in the whole training set."""
        return replace(self.task, ids=MaskedIds(self.positions, tags, self.mark))

    def staying(self, leaving: Collection[int]) -> Indices:
        """Positions, in this task, of the records that stay; `leaving` are positions in the whole training set."""
        stays = ~np.isin(np.asarray(self.positions), np.fromiter(leaving, dtype=np.int64))
        return np.flatnonzero(stays)

    def forget_classes_after(self, leaving: Collection[int]) -> Tensor:
        """Classes without training records once more records leave; `leaving` are positions in the whole set."""
        stay = array("q", self.staying(leaving).tobytes())
        train = subset(self.task.eval_records or self.task.train, stay)
        fewer = replace(self.task, train=train, eval_records=None, ids=None, groups=None)
        classes: Tensor = torch.unique(torch.cat([self.forget_classes, _classes_left_out(fewer)]))
        return classes


def remaining_task(task: Task, key: Key, forgotten: Collection[bytes]) -> TaskView:
    """Leave out forgotten training records, and the holdout and test records of classes without training records.

    Args:
        task: the task as the user gave it.
        key: the store's key.
        forgotten: tags of the records to leave out; tags that no training record has are ignored.
    """
    mark = key.mac("mark", "others")[:TAG_DIGITS]
    if not forgotten:
        return subset_task(task, range(len(task.train)), mark)
    left = array("q", (at for at, name in enumerate(ids_of(task)) if key.tag(name) not in forgotten))
    return subset_task(task, left, mark)


def subset_task(task: Task, positions: Sequence[int], mark: str) -> TaskView:
    """The task with only some of its training records; see `remaining_task`.

    Args:
        task: the task as the user gave it.
        positions: positions of the training records that remain.
        mark: see MaskedIds.
    """
    # no run, report or error holds the key of a person, or what describes one
    task = replace(with_numbers(task), describe=None)
    if len(positions) == len(task.train):
        return TaskView(task, positions, torch.empty(0, dtype=torch.long), mark)
    left = replace(
        task,
        train=subset(task.train, positions),
        eval_records=None if task.eval_records is None else subset(task.eval_records, positions),
        ids=MaskedIds(positions, {}, mark),
        groups=_at(task.groups, positions),
        structure=renumbered(task.structure, positions, len(task.train)),
    )
    forget_classes = _classes_left_out(left)
    if len(forget_classes):
        holdout = _of_other_classes(left, left.holdout, forget_classes)
        left = replace(left, holdout=holdout, holdout_groups=_at(left.holdout_groups, holdout.indices))
        if left.test is not None:
            test = _of_other_classes(left, left.test, forget_classes)
            left = replace(left, test=test, test_groups=_at(left.test_groups, test.indices))
    return TaskView(left, positions, forget_classes, mark)


def ids_of(task: Task) -> RecordIds:
    """The ids of all training records of a task that `named_task` has checked."""
    return range(len(task.train)) if task.ids is None else read_ids(task.ids, "ids", [])


def _at(keys: Collection[RecordId] | None, positions: Sequence[int]) -> Sequence[RecordId] | None:
    own = None if keys is None else read_ids(keys, "groups", [])
    return None if own is None else [own[at] for at in positions]


def _classes_left_out(task: Task) -> Tensor:
    """Classes of the holdout without training records; stops reading as soon as every class was found."""
    if not task.rules.has_classes:
        return torch.empty(0, dtype=torch.long)
    holdout = Records(task.holdout, task)
    missing = set(_classes(holdout, range(len(holdout))))
    train = Records(task.eval_records or task.train, task)
    for start in range(0, len(train), task.batch_size):
        missing -= set(_classes(train, range(start, min(start + task.batch_size, len(train)))))
        if not missing:
            break
    return torch.tensor(sorted(missing), dtype=torch.long)


def _classes(records: Records, positions: Sequence[int]) -> list[int]:
    found = records.rules.classes(records.targets(positions)) if positions else None
    return [] if found is None else found.tolist()


def _of_other_classes(task: Task, data: SizedDataset, forget_classes: Tensor) -> Subset[Any]:
    records = Records(data, task)
    stays = ~records.rules.is_erased(records.targets(range(len(records))), forget_classes.tolist())
    return subset(data, stays.nonzero().flatten().tolist())
