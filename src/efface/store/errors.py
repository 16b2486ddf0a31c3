"""What can go wrong with a store itself, each kind with an exit code of its own.

EffaceError
└── StoreError      the store cannot do what was asked; what it held is as it was
    ├── DamagedError    a row, a file or the key is not what the history says (exit code 4)
    ├── BusyError       another process holds the store; try again (exit code 5)
    └── StorageError    the disk is full, read-only or failing (exit code 6)
"""

from collections.abc import Sequence
from pathlib import Path

from efface.errors import EffaceError


class StoreError(EffaceError):
    """A fault of the store; `problems` names each place, one line each."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class DamagedError(StoreError):
    """A row, a file or the key is not what the history says; nothing was overwritten."""


class BusyError(StoreError):
    """Another process holds the store or its database; nothing was done."""


class StorageError(StoreError):
    """The disk is full, cannot be written to, or fails; what was there before still serves."""


def storage_error(path: Path, error: Exception, doing: str = "") -> StorageError:
    """The StorageError for an error of the operating system.

    Args:
        path: the file at hand, for errors that name none themselves.
        doing: what failed, such as "the key cannot be read".
    """
    place, reason = getattr(error, "filename", None) or path, getattr(error, "strerror", None) or error
    return StorageError(f"{place}: {f'{doing}: ' * bool(doing)}{reason}")
