"""The task without what was forgotten before: later requests never meet those records again."""

from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset

from efface.data.records import Records, subset
from efface.store.keys import SHOWN, Key
from efface.task import Task
from efface.types import RecordId, SizedDataset


class Names(Sequence[RecordId]):
    """Ids of the records that are left: a tag for each that is to be forgotten now, the marked position for others.

    So no run, report or error ever holds the id of a person who asked to be forgotten. `mark` is a secret: a report
    holds hashes of who stays, and without it one could try who has to be left out to get them.
    """

    def __init__(self, positions: Sequence[int], tags: Mapping[int, str], mark: str) -> None:
        self._positions, self._tags, self._mark = positions, tags, mark

    def __len__(self) -> int:
        return len(self._positions)

    @overload
    def __getitem__(self, at: int) -> RecordId: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[RecordId]: ...
    def __getitem__(self, at: int | slice) -> RecordId | Sequence[RecordId]:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        return self._name(self._positions[at])

    def __iter__(self) -> Iterator[RecordId]:
        return map(self._name, self._positions)

    def _name(self, position: int) -> str:
        return self._tags.get(position) or f"{self._mark}:{position}"


@dataclass(frozen=True)
class Remaining:
    """A task without the records forgotten before; `positions` are those of its training records in the whole set.

    `forget_classes` are classes of which no training record is left; `mark` stands before the positions that name records.
    """

    task: Task
    positions: Sequence[int]
    forget_classes: Tensor
    mark: str


def remaining(task: Task, key: Key, forgotten: Collection[bytes]) -> Remaining:
    """Leave out the training records whose tag is in `forgotten`, and holdout records of classes that are wholly forgotten."""
    mark = key.mac("mark", "others")[:SHOWN]
    if not forgotten:
        return subset_task(task, range(len(task.train)), mark)
    kept = array("q", (at for at, name in enumerate(ids_of(task)) if key.tag(name) not in forgotten))
    return subset_task(task, kept, mark)


def subset_task(task: Task, kept: Sequence[int], mark: str) -> Remaining:
    """The task with the training records at some positions only; see `remaining`."""
    if len(kept) == len(task.train):
        return Remaining(task, kept, torch.empty(0, dtype=torch.long), mark)
    left = replace(
        task,
        train=subset(task.train, kept),
        eval_records=None if task.eval_records is None else subset(task.eval_records, kept),
        ids=Names(kept, {}, mark),
    )
    forget_classes = _gone(left)
    if len(forget_classes):
        test = None if left.test is None else _of_others(left, left.test, forget_classes)
        left = replace(left, holdout=_of_others(left, left.holdout, forget_classes), test=test)
    return Remaining(left, kept, forget_classes, mark)


def named(left: Remaining, tags: Mapping[int, str]) -> Task:
    """The task with tags as the ids of the records at those positions of the whole set, which are to be forgotten."""
    return replace(left.task, ids=Names(left.positions, tags, left.mark))


def emptied(left: Remaining, leaving: Collection[int]) -> Tensor:
    """Classes of which no training record is left once those at some positions of the whole set are forget_classes as well."""
    stay = ~np.isin(np.asarray(left.positions), np.fromiter(leaving, dtype=np.int64))
    train = subset(left.task.eval_records or left.task.train, array("q", np.flatnonzero(stay).tobytes()))
    forget_classes: Tensor = torch.unique(
        torch.cat([left.forget_classes, _gone(replace(left.task, train=train, eval_records=None, ids=None))])
    )
    return forget_classes


def ids_of(task: Task) -> Iterator[RecordId]:
    """The ids of all training records as Python's own ints and strings."""
    records = len(task.train)
    return iter(range(records)) if task.ids is None else map(plain, task.ids)


def plain(name: Any) -> RecordId:
    """An id as Python's own int or string."""
    own: RecordId = name.item() if isinstance(name, np.generic) else name
    return own


def _gone(task: Task) -> Tensor:
    """Classes of the holdout of which no training record is left; stops reading as soon as each was seen."""
    holdout = Records(task.holdout, task)
    missing = set(holdout.targets(range(len(holdout))).tolist())
    train = Records(task.eval_records or task.train, task)
    for batch in train.stream(range(len(train)), task.batch_size):
        missing -= set(batch.targets.tolist())
        if not missing:
            break
    return torch.tensor(sorted(missing), dtype=torch.long)


def _of_others(task: Task, data: SizedDataset, forget_classes: Tensor) -> Subset[Any]:
    records = Records(data, task)
    stays = ~torch.isin(records.targets(range(len(records))), forget_classes)
    return subset(data, stays.nonzero().flatten().tolist())
