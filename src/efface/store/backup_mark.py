"""The file that marks a folder as a backup of a store, so that it is restored before anything else is done with it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from efface.errors import RequestError
from efface.runtime.files import atomic_write
from efface.store.errors import DamagedError, storage_error
from efface.store.keys import Key
from efface.store.noted_head import HeadNote
from efface.store.place import BACKUP_MARK

ABOUT = (
    "A backup of a store of efface, without its key. It holds what the store held: ids of requests that were pending, "
    "and models that know forgotten records. `efface restore` makes a store of it again; no other command takes it."
)


@dataclass(frozen=True)
class BackupMark:
    """What a backup says of itself.

    Args:
        store: id of the store.
        event: number of the last event of its history.
        hash: hash of that event.
        taken: when the backup was made, in UTC.
    """

    store: str
    event: int
    hash: str
    taken: str

    @property
    def head(self) -> HeadNote:
        """The last event of its history."""
        return HeadNote(self.event, self.hash)

    def mac(self, key: Key) -> str:
        """HMAC of all of it by the store's key."""
        return key.mac("backup", json.dumps([self.store, self.event, self.hash, self.taken]))


def begin_mark(folder: Path) -> None:
    """Mark a folder as one that is not finished, before anything else is in it."""
    _write(folder, {"finished": False})


def finish_mark(folder: Path, mark: BackupMark, key: Key) -> None:
    """Mark a folder as a whole backup."""
    _write(folder, {"finished": True, **asdict(mark), "mac": mark.mac(key)})


def read_mark(folder: Path) -> tuple[BackupMark, str]:
    """What a backup says of itself, and the HMAC that says so.

    Raises:
        RequestError: it was not finished.
        DamagedError: it cannot be read.
        StorageError: the file cannot be read.
    """
    path = folder / BACKUP_MARK
    try:
        found = json.loads(path.read_text(encoding="ascii"))
        if found["finished"]:
            mark = BackupMark(str(found["store"]), int(found["event"]), str(found["hash"]), str(found["taken"]))
            return mark, str(found["mac"])
    except OSError as error:
        raise storage_error(path, error, "cannot be read") from error
    except (ValueError, TypeError, KeyError, OverflowError):
        raise DamagedError(f"{path}: cannot be read; it says what the backup holds") from None
    raise RequestError(f"{folder}: was not finished, so it is no backup: remove it")


def _write(folder: Path, content: dict[str, Any]) -> None:
    with atomic_write(folder / BACKUP_MARK, 0o600) as temporary:
        temporary.write_text(json.dumps({"about": ABOUT, **content}, indent=1), encoding="ascii")
