"""A store that is open: its folder, database and key, and transactions that keep history and memory in step."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from efface.errors import RequestError
from efface.store import ledger
from efface.store.database import BUSY_S, Database, events, named
from efface.store.errors import DamagedError
from efface.store.files import Folder
from efface.store.history import History
from efface.store.keys import Key, read_key

KEY_VARIABLE = "EFFACE_KEY"


class Book:
    """A transaction's view of the history; what is appended is kept with the transaction, or not at all."""

    def __init__(self, connection: Connection, key: Key, history: History) -> None:
        self.connection, self.history, self._key = connection, history, key

    def append(self, kind: str, body: dict[str, Any]) -> None:
        """Add an event to the history."""
        self.history.take([ledger.append(self.connection, self._key, kind, body)])


class Core:
    """An open store. Several threads may use one, and several processes the same folder."""

    def __init__(self, folder: Folder, key_path: Path | None = None, busy_s: float = BUSY_S) -> None:
        self.folder = folder
        with named(folder.path):  # may be somebody else's
            there = folder.path.is_dir() and folder.database.is_file()
        if not there:
            raise RequestError(f"{folder.path}: there is no store: make one (efface init), or name another (--store)")
        self._start(folder, Database(folder.database, busy_s), None)
        self.database.check()
        born = self._first_event()
        # noted as seen from the store, so that both may be moved together
        self.key_path = key_path or _from_environment() or Path(os.path.normpath(folder.path / born["key_path"]))
        self._key = read_key(self.key_path)
        if self._key is not None and self._key.fingerprint != born["key"]:
            raise DamagedError(f"{self.key_path}: is not the key of this store")
        self._check_head()

    @classmethod
    def begin(cls, folder: Folder, database: Database, key: Key) -> "Core":
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
            return self._refreshed(connection)

    @contextmanager
    def writing(self) -> Iterator[Book]:
        """A transaction; its events are kept at its end, and so is how far the history goes."""
        key = self.key
        with self.database.writing() as connection:
            book = Book(connection, key, self._refreshed(connection).copy())
            yield book
        with self._lock:
            if book.history.seq > self._history.seq:
                self._history = book.history
        self.folder.write_head(book.history.seq, book.history.hash)

    def _refreshed(self, connection: Connection) -> History:
        with self._lock:
            known = self._history
        if ledger.length(connection) < known.seq:
            raise DamagedError(f"the history ends before event {known.seq}, which was there: rows were removed")
        fresh = list(ledger.read(connection, self._key, known.seq, known.hash))
        if not fresh:
            return known
        history = known.copy()
        history.take(fresh)
        with self._lock:
            if history.seq > self._history.seq:
                self._history = history
        return history

    def _first_event(self) -> dict[str, Any]:
        with self.database.reading() as connection:
            first = next(ledger.read(connection, None), None)
        if first is None or first.kind != "created" or not {"key", "key_path"} <= set(first.body):
            raise DamagedError("the history lacks event 1, by which the store was made: a row was removed or changed")
        return first.body

    def _check_head(self) -> None:
        """Whether the history still holds the last event that was noted outside of it."""
        head = self.folder.read_head()
        if head is None:
            raise DamagedError(
                "head: the file is missing that says how far the history goes, so rows removed from its end would not "
                "be missed: restore it from a backup"
            )
        with self.database.reading() as connection:
            row = connection.execute(select(events.c.hash).where(events.c.seq == head[0])).first()
        if row is None:
            raise DamagedError(
                f"the history ends before event {head[0]}, which was there: rows were removed from its end"
            )
        if row.hash != head[1]:
            raise DamagedError(f"event {head[0]} of the history is not the one that was there: rows were changed")


def _from_environment() -> Path | None:
    named = os.environ.get(KEY_VARIABLE)
    return Path(named) if named else None
