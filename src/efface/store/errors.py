"""Errors of a store itself, each kind with an exit code of its own.

EffaceError
└── StoreError      the store cannot do what was asked; its contents are unchanged
    ├── DamagedError    a row, a file or the key does not match the history (exit code 4)
    ├── BusyError       another process holds the store; try again (exit code 5)
    └── StorageError    the disk is full, read-only or failing (exit code 6)
"""

from collections.abc import Sequence
from pathlib import Path

from efface.errors import EffaceError, reason_of


class StoreError(EffaceError):
    """An error of the store; `problems` holds one line for each."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class DamagedError(StoreError):
    """A row, a file or the key does not match the history; nothing was overwritten."""


class BusyError(StoreError):
    """Another process holds the store or its database; nothing was done."""


class StorageError(StoreError):
    """The disk is full, cannot be written to, or fails; the contents of the store before are still usable."""


def storage_error(path: Path, error: Exception, doing: str = "") -> StorageError:
    """Make the StorageError for an error of the operating system.

    Args:
        path: the file that the message names where the error itself names none.
        error: the error.
        doing: what failed, such as "the key cannot be read".
    """
    place, reason = getattr(error, "filename", None) or path, reason_of(error)
    return StorageError(f"{place}: {f'{doing}: ' * bool(doing)}{reason}")
