"""The records of pending requests, as the database stores them until they are forgotten."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from efface.runtime.printing import Brief
from efface.store.context import StoreContext
from efface.store.errors import DamagedError
from efface.store.keys import TAG_DIGITS, short_tag
from efface.store.row_faults import id_faults
from efface.store.tag_rows import pending_ids_of, tags_of
from efface.store.task_view import ids_of
from efface.store.wording import numbered
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


def read_pending(context: StoreContext, requests: Sequence[int]) -> PendingRecords:
    """Read the ids of the records of pending requests, and check them against the tags in the history.

    The check keeps a changed row from making a run forget a wrong record or skip one.

    Args:
        context: the open store.
        requests: numbers of the requests.

    Raises:
        DamagedError: a row was changed, added or removed.
    """
    with context.reading() as snapshot:
        names = pending_ids_of(snapshot, requests)
        forgotten = tags_of(snapshot, snapshot.history.honoured)
        known = tags_of(snapshot, requests)
    if wrong := id_faults(context.key, numbered("request", requests), names, known, forgotten):
        raise DamagedError(wrong)
    return PendingRecords(names, forgotten)
