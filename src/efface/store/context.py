"""A store that is open: its folder, database and key, and transactions that keep history and memory in step."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from efface.errors import RequestError
from efface.store import ledger
from efface.store.database import BUSY_S, Database, events, named
from efface.store.errors import DamagedError, StoreError
from efface.store.files import Folder
from efface.store.history import History
from efface.store.keys import Key, read_key

KEY_VARIABLE = "EFFACE_KEY"


class Transaction:
    """A transaction's view of the history; what is appended is kept with the transaction, or not at all."""

    def __init__(self, connection: Connection, key: Key, history: History) -> None:
        self.connection, self.history, self._key = connection, history, key

    def append(self, kind: str, body: dict[str, Any]) -> None:
        """Add an event to the history."""
        self.history.take([ledger.append(self.connection, self._key, kind, body)])


class StoreContext:
    """An open store. Several threads may use one, and several processes the same folder."""

    def __init__(self, folder: Folder, key_path: Path | None = None, busy_s: float = BUSY_S) -> None:
        self.folder = folder
        with named(folder.path):  # may be somebody else's
            there = folder.path.is_dir() and folder.database.is_file()
        if not there:
            raise RequestError(f"{folder.path}: there is no store: make one (efface init), or name another (--store)")
        self._start(folder, Database(folder.database, busy_s), None)
        self.database.check()
        # never a place that the store itself names: whoever can write there could bring a key of his own
        self.key_path = key_path or _from_environment() or beside(folder.path)
        check_outside(folder.path, self.key_path)
        self._key = read_key(self.key_path)
        if self._key is not None and self._key.fingerprint != self._fingerprint():
            raise DamagedError(f"{self.key_path}: is not the key of this store: name it (--key, or {KEY_VARIABLE})")
        self._check_head()

    @classmethod
    def begin(cls, folder: Folder, database: Database, key: Key) -> "StoreContext":
        """A store that is being made, whose history is still empty."""
        core = cls.__new__(cls)
        core._start(folder, database, key)
        return core

    def _start(self, folder: Folder, database: Database, key: Key | None) -> None:
        self.folder, self.database, self._key = folder, database, key
        self.key_path = Path()
        self._lock = threading.Lock()
        self._history = History()

    @property
    def retired(self) -> str | None:
        """Why nothing can be asked of the store any more; None while its key is there."""
        if self._key is not None:
            return None
        return (
            f"the key {self.key_path} is missing, so no record can be matched to a request. If it was destroyed, the "
            "store is retired: its versions stay, and its history says nothing about anyone. If it was moved, name it "
            f"(--key, or {KEY_VARIABLE})"
        )

    @property
    def key(self) -> Key:
        """The store's key; RequestError where it is missing."""
        if self._key is None:
            raise RequestError(self.retired or "")
        return self._key

    def history(self) -> History:
        """What the history says now; DamagedError where an event was changed or removed."""
        with self.database.reading() as connection:
            return self.refreshed(connection)

    def whole(self) -> History:
        """What the history says now, every event of it read and checked again."""
        self._check_head()
        history = History()
        with self.database.reading() as connection:
            history.take(ledger.read(connection, self._key))
        return history

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """A transaction; its events are kept at its end, and so is how far the history goes."""
        key = self.key
        with self.database.writing() as connection:
            book = Transaction(connection, key, self.refreshed(connection).copy())
            if book.history.retired:
                raise RequestError(
                    f"the store was retired on {book.history.retired[:10]}: nothing is added to it any more"
                )
            yield book
        with self._lock:
            if book.history.seq > self._history.seq:
                self._history = book.history
        with suppress(StoreError):  # what was asked for is done and kept; the next transaction notes the head
            self.note_head()

    def note_head(self) -> None:
        """Note outside of the database how far the history goes."""
        with self._lock:
            seq, digest = self._history.seq, self._history.hash
        self.folder.write_head(seq, digest, self.key.mac("head", f"{seq} {digest}"))

    def refreshed(self, connection: Connection) -> History:
        """What the history says within a transaction; events that were checked before are not checked again."""
        with self._lock:
            known = self._history
        if known.seq:
            self._check_event(connection, known.seq, known.hash)
        fresh = list(ledger.read(connection, self._key, known.seq, known.hash))
        if not fresh:
            return known
        history = known.copy()
        history.take(fresh)
        with self._lock:
            if history.seq > self._history.seq:
                self._history = history
        return history

    def _fingerprint(self) -> object:
        """That of the key with which the store was made."""
        with self.database.reading() as connection:
            first = next(ledger.read(connection, None), None)
        if first is None or first.kind != "created" or "key" not in first.body:
            raise DamagedError("the history lacks event 1, by which the store was made: a row was removed or changed")
        return first.body["key"]

    def _check_head(self) -> None:
        """Whether the history still holds the last event that was noted outside of it."""
        head = self.folder.read_head()
        if head is None:
            raise DamagedError(
                "head: the file is missing that says how far the history goes, so rows removed from its end would not "
                "be missed: restore it from a backup"
            )
        seq, digest, mac = head
        if self._key is not None and self._key.mac("head", f"{seq} {digest}") != mac:
            raise DamagedError("head: was changed; it notes how far the history goes")
        with self.database.reading() as connection:
            self._check_event(connection, seq, digest)

    @staticmethod
    def _check_event(connection: Connection, seq: int, digest: str) -> None:
        row = connection.execute(select(events.c.hash).where(events.c.seq == seq)).first()
        if row is None:
            raise DamagedError(f"the history ends before event {seq}, which was there: rows were removed from its end")
        if row.hash != digest:
            raise DamagedError(f"event {seq} of the history is not the one that was there: rows were changed")


def beside(folder: Path) -> Path:
    """Where a store's key is looked for, unless another place is named."""
    return folder.with_name(f"{folder.name}.key")


def check_outside(folder: Path, key_path: Path) -> None:
    """Refuse a key that lies inside the store."""
    if folder == key_path or folder in key_path.parents:
        raise RequestError(f"{key_path}: the key must lie outside of the store (--key, or {KEY_VARIABLE})")


def _from_environment() -> Path | None:
    named = os.environ.get(KEY_VARIABLE)
    return Path(named).absolute() if named else None
