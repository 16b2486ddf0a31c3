"""The records that a run forgets, as database rows, tags, ids and positions."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from efface.data.index import RecordIndex
from efface.data.limits import MAX_SHARE
from efface.errors import RequestError, shorten
from efface.runtime.printing import Brief
from efface.store.context import StoreContext
from efface.store.entries import RunRecord
from efface.store.errors import DamagedError
from efface.store.failpoints import armed, failpoint
from efface.store.keys import TAG_DIGITS, short_tag
from efface.store.tag_rows import id_faults, pending_ids_of, tags_of
from efface.store.task_view import TaskView, ids_of, remaining_task
from efface.task import Task
from efface.types import RecordId

TAG = re.compile(rf"'([0-9a-f]{{{TAG_DIGITS}}})'")
MARKED_POSITION = re.compile(rf"'[0-9a-f]{{{TAG_DIGITS}}}:(\d+)'")


@dataclass(frozen=True, repr=False)
class PendingRecords(Brief):
    """The records that a run is to forget, as the database stores them.

    Args:
        names: their ids, by tag.
        forgotten: tags of all records that were forgotten before.
    """

    names: Mapping[bytes, RecordId]
    forgotten: set[bytes]

    def restore_ids(self, line: str, task: Task) -> str:
        """Replace the tags and positions in a message by record ids, for showing it to people; never store the result.

        Args:
            line: one line of a message.
            task: the task as the user gave it, with the ids of all training records.
        """
        by_tag = {short_tag(tag): name for tag, name in self.names.items()}
        line = TAG.sub(lambda m: repr(by_tag.get(m[1], m[1])), line)
        ids = ids_of(task)
        return MARKED_POSITION.sub(lambda m: repr(ids[int(m[1])]), line)


@dataclass(frozen=True, repr=False)
class DeletionBatch(Brief):
    """The records that a run is to forget, by their positions in the task.

    Args:
        view: the task without the records that were forgotten before.
        leaving: the short tag of each record to forget, by its position in the whole training set.
        tags: the position of each record to forget, by its tag; None where it is no longer in the training set.
    """

    view: TaskView
    leaving: Mapping[int, str]
    tags: Mapping[bytes, int | None]

    @property
    def forget(self) -> list[str]:
        """The ids of the records to forget in `task`: their short tags."""
        return sorted(self.leaving.values())

    @cached_property
    def task(self) -> Task:
        """The task of the run, in which the records to forget have their short tags as ids."""
        task = self.view.with_tags(self.leaving)
        return _with_failpoint(task) if armed() else task

    @cached_property
    def forget_classes(self) -> Tensor:
        """Classes without any training record once the batch is forgotten."""
        return self.view.forget_classes_after(self.leaving)


def read_pending(context: StoreContext, run: RunRecord) -> PendingRecords:
    """Read the ids of the records that a run is to forget, and check them against the tags in the history.

    The check keeps a changed row from making a run forget a wrong record or skip one.

    Raises:
        DamagedError: a row was changed, added or removed.
    """
    with context.reading() as snapshot:
        names = pending_ids_of(snapshot, run.requests)
        forgotten = tags_of(snapshot, snapshot.history.honoured)
        known = tags_of(snapshot, run.requests)
    whose = f"requests {', '.join(map(str, run.requests))}"
    if wrong := id_faults(context.key, whose, names, known, forgotten):
        raise DamagedError(wrong)
    return PendingRecords(names, forgotten)


def find_batch(context: StoreContext, task: Task, pending: PendingRecords, retrain: bool) -> DeletionBatch:
    """Find the positions of the records that a run is to forget.

    Args:
        context: the open store.
        task: the task as the user gave it.
        pending: the records to forget, with their ids.
        retrain: whether the model is trained anew. Records may then be missing from the training set, and may be any
            share of it.

    Raises:
        RequestError: without `retrain`, a record is no longer in the training set, or the records are more than the
            share MAX_SHARE of it.
    """
    view = remaining_task(task, context.key, pending.forgotten)
    index = RecordIndex(task.ids, len(task.train))
    found = {tag: index.position(name) for tag, name in pending.names.items()}
    leaving = {position: short_tag(tag) for tag, position in found.items() if position is not None}
    if not retrain:
        _check_missing([short_tag(tag) for tag, position in found.items() if position is None])
        _check_share(len(leaving), len(view.positions))
    return DeletionBatch(view, leaving, found)


def _check_missing(missing: list[str]) -> None:
    if missing:
        raise RequestError(
            f"{len(missing)} records that are to be forgotten are no longer in the training set ({shorten(missing)}), "
            "so nothing can be unlearned by them: put them back until the run is over, or retrain "
            "(RunPlan(retrain=True), or --retrain)"
        )


def _check_share(leaving: int, left: int) -> None:
    if leaving > MAX_SHARE * left:
        raise RequestError(
            f"the pending requests hold {leaving / left:.0%} of the training records, and above {MAX_SHARE:.0%} "
            "they cannot be unlearned together: train anew without them (RunPlan(retrain=True), or efface run "
            "--retrain), or cancel some and ask again after the run"
        )


def _with_failpoint(task: Task) -> Task:
    def forward(model: nn.Module, inputs: Any) -> Tensor:
        failpoint("unlearn.forward")
        return task.forward(model, inputs)

    return replace(task, forward=forward)
