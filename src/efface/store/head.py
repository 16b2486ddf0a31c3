"""The file `head`, which holds the number and hash of the history's last event outside of the database."""

import json
import re
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from efface.runtime.files import atomic_write
from efface.store.database import translate_errors
from efface.store.errors import DamagedError, storage_error
from efface.store.failpoints import failpoints_of
from efface.store.logs import logged_wait

HEAD = "head"
TEMPORARY_HEAD = re.compile(rf"\.{HEAD}\.[0-9a-f]+\.tmp")  # while the file is written, or where that was killed
LOCK_TIMEOUT_S = 60


class Head(NamedTuple):
    """The content of the file `head`.

    Args:
        seq: number of the last event.
        hash: hash of that event.
        mac: HMAC of both by the store's key.
    """

    seq: int
    hash: str
    mac: str


def write_head(folder: Path, head: Head) -> None:
    """Write the last event's number and hash, so that rows removed from the history's end are noticed.

    Args:
        folder: the store's folder.
        head: the last event; nothing is written if the file names this event or a later one already.
    """
    path = folder / HEAD
    lock = FileLock(folder / "head.lock", timeout=LOCK_TIMEOUT_S, mode=0o600, thread_local=False)
    with translate_errors(path), ExitStack() as held:
        with logged_wait(folder, "others that note the head"):
            held.enter_context(lock)
        known = read_head(folder)
        if known is not None and known.seq >= head.seq:
            return
        for left in folder.glob(f".{HEAD}.*"):  # by a process that was killed here
            left.unlink()
        with atomic_write(path, 0o600, failpoints_of(HEAD)) as temporary:
            temporary.write_text(json.dumps(head._asdict()), encoding="ascii")


def read_head(folder: Path) -> Head | None:
    """Read the file `head`; None if there is none.

    Raises:
        DamagedError: its content is not that of a head.
        StorageError: it cannot be read.
    """
    path = folder / HEAD
    try:
        noted = json.loads(path.read_text(encoding="ascii"))
        return Head(int(noted["seq"]), str(noted["hash"]), str(noted["mac"]))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise storage_error(Path(HEAD), error, "cannot be read") from error
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        raise DamagedError("head: cannot be read; it holds the number and hash of the history's last event") from None
