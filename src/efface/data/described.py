"""The records of a request as people check them: id, position, label, and a few words of the user's own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from efface.data.ids import RecordIds
from efface.errors import describe_error
from efface.runtime.printing import clip
from efface.task import Task
from efface.types import Indices, RecordId, SizedDataset

MAX_DESCRIPTION = 200  # characters


@dataclass(frozen=True, repr=False)
class ForgetRecord:
    """A record that a request takes.

    Args:
        id: Its id.
        position: Its position in `train`.
        label: Its class; where records have none, its target in a few words.
        description: What `Task.describe` says of it, as one line; None if the task has no such function.
        group: The key of its group; None if the task has no groups.
    """

    id: RecordId
    position: int
    label: int | str
    description: str | None = None
    group: RecordId | None = None

    def __repr__(self) -> str:
        """One line: what is known of the record."""
        parts = [f"{self.id!r}", f"position {self.position}", f"label {self.label}"]
        parts += [] if self.group is None else [f"group {self.group!r}"]
        return ", ".join(parts) + ("" if self.description is None else f": {self.description}")


def forget_records(
    task: Task,
    ids: RecordIds,
    positions: Indices,
    labels: Sequence[int | str],
    keys: RecordIds | None,
    problems: list[str],
) -> tuple[ForgetRecord, ...]:
    """The records of a request; each is read once more if `Task.describe` describes records.

    Args:
        task: The task.
        ids: The ids of the training records.
        positions: The positions of the records in `train`.
        labels: Their labels in short.
        keys: The key of each training record's group; None if the task has no groups.
        problems: A problem is added to this at the first record that cannot be described.
    """
    at, data = positions.tolist(), task.train if task.eval_records is None else task.eval_records
    descriptions = _describe(task.describe, data, [(ids[i], i) for i in at], problems)
    rows = zip(at, labels, descriptions, strict=not problems)
    return tuple(ForgetRecord(ids[i], i, label, text, None if keys is None else keys[i]) for i, label, text in rows)


def _describe(
    describe: Callable[[Any], str] | None,
    data: SizedDataset,
    records: Sequence[tuple[RecordId, int]],
    problems: list[str],
) -> list[str | None]:
    """What the user's function says of records, given by id and position; empty at the first that it fails for."""
    if describe is None:
        return [None] * len(records)
    lines: list[str | None] = []
    for name, at in records:
        try:
            text = describe(data[at])
        except Exception as error:  # a user's function may raise anything
            problems.append(f"Task.describe fails for record {name!r} ({describe_error(error)}): correct it")
            return []
        if not isinstance(text, str):
            problems.append(f"Task.describe: expected text for record {name!r}, got {type(text).__name__}")
            return []
        lines.append(clip("".join(c if c.isprintable() else " " for c in text), MAX_DESCRIPTION))
    return lines
