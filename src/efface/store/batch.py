"""The records that a run forgets, as database rows, tags, ids and positions."""

from array import array
from collections.abc import Collection, Mapping, Sequence
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
from efface.store.fingerprint_rows import known_halves
from efface.store.intake import TrainingRecords
from efface.store.keys import MAC_BYTES, short_tag
from efface.store.pending import PendingRecords
from efface.store.tag_rows import tags_of
from efface.store.task_view import TaskView, masked, remaining_task, subset_task
from efface.task import Task


@dataclass(frozen=True, repr=False)
class DeletionBatch(Brief):
    """The records that a run is to forget, by their positions in the task.

    Args:
        view: the task without the records that were forgotten before and those that the run must not train on.
        leaving: the short tag of each record to forget, by its position in the whole training set.
        tags: the position of each record to forget, by its tag; None where it is no longer in the training set.
        joined: positions of the records that an unlearning leaves out, since the model was not trained on them; without
            those that pending requests name.
    """

    view: TaskView
    leaving: Mapping[int, str]
    tags: Mapping[bytes, int | None]
    joined: Sequence[int] = ()

    @property
    def forget(self) -> list[str]:
        """The ids of the records to forget in `task`: their short tags."""
        return sorted(self.leaving.values())

    @property
    def staying(self) -> list[int]:
        """Positions of the records that a retrained model is trained on, in the whole training set."""
        return [at for at in self.view.positions if at not in self.leaving]

    def name(self, position: int) -> str:
        """The id in `task` of a record at a position in the whole training set."""
        return self.leaving.get(position) or masked(self.view.mark, position)

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


def find_batch(
    context: StoreContext, records: TrainingRecords, pending: PendingRecords, retrain: bool
) -> DeletionBatch:
    """Find the positions of the records that a run is to forget.

    An unlearning trains on records that stay, so it leaves out those that the model must not learn by that: records
    that it was not trained on before, and those that other pending requests name.

    Args:
        context: the open store.
        records: the training records.
        pending: the records to forget, with their ids.
        retrain: whether the model is trained anew. Records may then be any share of the training set.

    Raises:
        RequestError: without `retrain`, the records are more than the share MAX_SHARE of the training set.
    """
    found = {tag: records.index.position(name) for tag, name in pending.names.items()}
    leaving = {position: short_tag(tag) for tag, position in found.items() if position is not None}
    if retrain:
        return DeletionBatch(records.view, leaving, found)
    view, joined = _learned(context, records, found)
    _check_share(len(leaving), len(view.positions))
    return DeletionBatch(view, leaving, found, joined)


def _learned(
    context: StoreContext, records: TrainingRecords, batch: Collection[bytes]
) -> tuple[TaskView, tuple[int, ...]]:
    """The task without the records that an unlearning must not train on, and positions of those that joined."""
    names, key = records.index.names, context.key
    with context.reading() as snapshot:
        known = known_halves(snapshot)
        waiting = tags_of(snapshot, [r.number for r in snapshot.history.pending]) - set(batch)
    left, joined = array("q"), []
    for at in records.view.positions:
        tag = key.tag(names[at])
        if tag in waiting:
            continue
        if tag[:MAC_BYTES] in known:
            left.append(at)
        else:
            joined.append(at)
    if len(left) == len(records.view.positions):
        return records.view, ()
    return subset_task(records.task, left, records.view.mark), tuple(joined)


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
