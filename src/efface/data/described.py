"""The records of a request as people check them: id, position, label, and a few words of the user's own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from efface.errors import describe_error
from efface.types import RecordId, SizedDataset

MAX_DESCRIPTION = 200  # characters


@dataclass(frozen=True)
class ForgetRecord:
    """A record that a request takes.

    Args:
        id: Its id.
        position: Its position in `train`.
        label: Its class.
        description: What `Task.describe` says of it, as one line; None if the task has no such function.
        group: The key of its group; None if the task has no groups.
    """

    id: RecordId
    position: int
    label: int
    description: str | None = None
    group: RecordId | None = None

    def __str__(self) -> str:
        """One line: what is known of the record."""
        parts = [f"{self.id!r}", f"position {self.position}", f"label {self.label}"]
        parts += [] if self.group is None else [f"group {self.group!r}"]
        return ", ".join(parts) + ("" if self.description is None else f": {self.description}")


def describe_records(
    describe: Callable[[Any], str] | None,
    data: SizedDataset,
    ids: Sequence[RecordId],
    positions: Sequence[int],
    problems: list[str],
) -> list[str | None]:
    """Describe records by the user's function; each is read once more for it.

    Args:
        describe: The function; None describes nothing.
        data: The training records.
        ids: The ids of the records, for messages.
        positions: Their positions.
        problems: A problem is added to this at the first record that cannot be described.
    """
    if describe is None:
        return [None] * len(positions)
    lines: list[str | None] = []
    for name, at in zip(ids, positions, strict=True):
        try:
            text = describe(data[at])
        except Exception as error:  # a user's function may raise anything
            problems.append(f"Task.describe fails for record {name!r} ({describe_error(error)}): correct it")
            return []
        if not isinstance(text, str):
            problems.append(f"Task.describe: expected text for record {name!r}, got {type(text).__name__}")
            return []
        lines.append(_one_line(text))
    return lines


def _one_line(text: str) -> str:
    line = "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
    return line if len(line) <= MAX_DESCRIPTION else f"{line[: MAX_DESCRIPTION - 3]}..."
