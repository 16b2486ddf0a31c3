"""What of forgotten records is in the training set, and what changed there since the model was trained."""

from dataclasses import dataclass

import numpy as np

from efface.store.batch import training_records
from efface.store.context import StoreContext
from efface.store.group_rows import returned_by_group
from efface.store.intake import compare
from efface.store.returned import NO_GROUPS_NOW, returned_records
from efface.task import Task

AT_ONCE = 50_000  # records whose fingerprints are compared at once


@dataclass(frozen=True)
class StillThere:
    """What of forgotten records is in the training set, and how the others compare with what the model was trained on.

    Args:
        by_id: how many forgotten records stand there under their ids.
        by_content: how many other records have the content of a forgotten one.
        by_group: how many others are of groups that were forgotten, and joined since; None where the task has no groups
            by which that could be seen.
        changed: how many of the records that stay have another content than the model was trained on.
        joined: how many of them the model was not trained on.
    """

    by_id: int
    by_content: int
    by_group: int | None
    changed: int
    joined: int

    @property
    def warnings(self) -> list[str]:
        """What changed, one line each."""
        lines = [NO_GROUPS_NOW] if self.by_group is None else []
        if self.changed:
            lines.append(
                f"{self.changed:,} training records have another content than the model was trained on: requests for "
                "them have to wait for a retraining"
            )
        if self.joined:
            lines.append(f"{self.joined:,} training records joined later: the model in service was not trained on them")
        return lines


def still_there(context: StoreContext, task: Task) -> StillThere:
    """Read all training records, and compare them with what the store keeps.

    Args:
        context: the open store.
        task: the task, whose ids and groups `named_task` has read.

    Raises:
        RequestError: a record cannot be read.
    """
    records = training_records(context, task)
    staying = np.asarray(records.view.positions, dtype=np.int64)
    changed = joined = 0
    for start in range(0, len(staying), AT_ONCE):
        found = compare(context, task, staying[start : start + AT_ONCE])
        changed, joined = changed + len(found.changed), joined + len(found.unknown)
    with context.reading() as snapshot:
        of_groups = returned_by_group(snapshot, task, context.key)
    return StillThere(
        by_id=len(task.train) - len(staying),
        by_content=len(returned_records(context, records, (), everywhere=True)),
        by_group=None if of_groups is None else len({at for those in of_groups.values() for at in those}),
        changed=changed,
        joined=joined,
    )
