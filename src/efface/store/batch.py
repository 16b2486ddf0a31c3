"""The records that a run forgets, as database rows, tags, ids and positions."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from efface.data.index import RecordIndex
from efface.data.limits import MAX_SHARE
from efface.errors import RequestError
from efface.runtime.printing import Brief
from efface.store.context import StoreContext
from efface.store.failpoints import armed, failpoint
from efface.store.intake import TrainingRecords
from efface.store.keys import short_tag
from efface.store.pending import PendingRecords
from efface.store.tag_rows import tags_of
from efface.store.task_view import TaskView, remaining_task
from efface.task import Task


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


def training_records(context: StoreContext, task: Task) -> TrainingRecords:
    """The training records as they are now, with those apart that were forgotten before."""
    with context.reading() as snapshot:
        forgotten = tags_of(snapshot, snapshot.history.honoured)
    return TrainingRecords(task, RecordIndex(task.ids, len(task.train)), remaining_task(task, context.key, forgotten))


def find_batch(records: TrainingRecords, pending: PendingRecords, retrain: bool) -> DeletionBatch:
    """Find the positions of the records that a run is to forget.

    Args:
        records: the training records.
        pending: the records to forget, with their ids.
        retrain: whether the model is trained anew. Records may then be any share of the training set.

    Raises:
        RequestError: without `retrain`, the records are more than the share MAX_SHARE of the training set.
    """
    found = {tag: records.index.position(name) for tag, name in pending.names.items()}
    leaving = {position: short_tag(tag) for tag, position in found.items() if position is not None}
    if not retrain:
        _check_share(len(leaving), len(records.view.positions))
    return DeletionBatch(records.view, leaving, found)


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
