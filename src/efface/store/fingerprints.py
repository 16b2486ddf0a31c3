"""Fingerprints of content: what a store keeps of each training record, to notice that it is no longer the same.

For a record that is not forgotten: an HMAC of its id and its content (input and target), deleted with the run that
honours the request. For a forgotten one: an HMAC of its input alone, by which it is found where it comes back under
another id. `docs/threat-model.md` says who can learn what from them.
"""

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from efface.data.objects import UncomparableError
from efface.data.records import Records
from efface.errors import RequestError
from efface.runtime.progress import track
from efface.store.fingerprint_rows import Fingerprint
from efface.store.keys import Key
from efface.store.task_view import ids_of
from efface.task import Task
from efface.types import Indices

AT_ONCE = 1024  # records that are read together


def fingerprints_at(
    task: Task, key: Key, positions: Indices, similar: Collection[int] = (), progress: bool | None = False
) -> Iterator[Fingerprint]:
    """Read training records and make the fingerprint of each.

    Args:
        task: the task, whose ids `named_task` has read.
        key: the store's key.
        positions: positions of the records in the whole training set.
        similar: positions of the records whose ids look like that of another (see `alike`).
        progress: whether to show progress; by default not, None shows it on a terminal.

    Raises:
        RequestError: a record cannot be read, or an input is an object whose content cannot be seen.
    """
    names, records = ids_of(task), _records(task)
    with track("fingerprints of the training records", -(-len(positions) // AT_ONCE), progress) as step:
        for start in range(0, len(positions), AT_ONCE):
            some = positions[start : start + AT_ONCE]
            for at, content in zip(some.tolist(), _hashes(records, some, True), strict=True):
                tag = key.tag(names[at])
                yield Fingerprint(tag, key.content_mac(tag, content), at in similar)
            step()


def forgotten_macs(task: Task, key: Key, positions: Sequence[int]) -> list[bytes]:
    """HMACs of the content of some training records alone, equal for records of equal inputs.

    Args:
        task: the task.
        key: the store's key.
        positions: positions of the records in the whole training set.

    Raises:
        RequestError: a record cannot be read, or an input is an object whose content cannot be seen.
    """
    at, records = np.asarray(positions, dtype=np.int64), _records(task)
    found: list[bytes] = []
    for start in range(0, len(at), AT_ONCE):
        found += map(key.forgotten_mac, _hashes(records, at[start : start + AT_ONCE], False))
    return found


def _records(task: Task) -> Records:
    return Records(task.eval_records or task.train, task, "train", ids_of(task))


def _hashes(records: Records, positions: Indices, with_targets: bool) -> list[bytes]:
    try:
        return records.hashes(positions, with_targets)
    except UncomparableError as error:
        raise RequestError(
            f"{error}, so the store could not notice that the content of a record changed: give Task.unpack or "
            "Task.collate, so that inputs are made of tensors"
        ) from error
