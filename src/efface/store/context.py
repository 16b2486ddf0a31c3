"""A store that is open: its folder, database and key, and transactions that keep history and memory in step."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from efface.errors import RequestError
from efface.store import ledger
from efface.store.database import BUSY_S, Database, events
from efface.store.errors import DamagedError, StoreError
from efface.store.files import Folder
from efface.store.head import Head, read_head, write_head
from efface.store.history import History
from efface.store.keys import Key, read_key
from efface.store.place import KEY_VARIABLE, check_store, find_key


class Snapshot:
    """One state of a store: the rows of its database within a transaction, and what the history says in it."""

    def __init__(self, context: "StoreContext", connection: Connection, history: History) -> None:
        self.connection, self.history, self._context = connection, history, context

    @property
    def key(self) -> Key:
        """The store's key; RequestError where it is missing."""
        return self._context.key


class Transaction(Snapshot):
    """A snapshot that can be written to; what is appended is stored with the transaction, or not at all."""

    def append(self, kind: str, body: dict[str, Any]) -> None:
        """Add an event to the history."""
        self.history.apply([ledger.append(self.connection, self.key, kind, body)])


class StoreContext:
    """An open store. Several threads may use one, and several processes the same folder.

    Args:
        folder: where the store lies.
        key_path: the file with its key; by default that in EFFACE_KEY, or beside the folder.
        busy_s: seconds to wait for others who write to its database.

    Raises:
        RequestError: there is no store, or the key would lie inside it.
        DamagedError: the key is another store's, or the history lacks its beginning or its end.
    """

    def __init__(self, folder: Folder, key_path: Path | None = None, busy_s: float = BUSY_S) -> None:
        check_store(folder.path)
        self._start(folder, Database(folder.database, busy_s), None)
        self.database.check()
        self.key_path = find_key(folder.path, key_path)
        self._key = read_key(self.key_path)
        if self._key is not None and self._key.fingerprint != self._fingerprint():
            raise DamagedError(f"{self.key_path}: is not the key of this store: name it (--key, or {KEY_VARIABLE})")
        self._check_head()

    @classmethod
    def begin(cls, folder: Folder, database: Database, key: Key) -> "StoreContext":
        """A store that is being made, whose history is still empty."""
        context = cls.__new__(cls)
        context._start(folder, database, key)
        return context

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
        with self.reading() as snapshot:
            return snapshot.history

    def reread_history(self) -> History:
        """What the history says now, every event of it read and checked anew."""
        self._check_head()
        history = History()
        with self.database.reading() as connection:
            history.apply(ledger.read(connection, self._key))
        return history

    @contextmanager
    def reading(self) -> Iterator[Snapshot]:
        """One state of the store, while others may go on writing."""
        with self.database.reading() as connection:
            yield Snapshot(self, connection, self._history_in(connection))

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """A transaction; its events are stored at its end, and so is how far the history goes."""
        self.key  # noqa: B018  a store without its key is refused before anything is locked
        with self.database.writing() as connection:
            transaction = Transaction(self, connection, self._history_in(connection).copy())
            if transaction.history.retired:
                raise RequestError(
                    f"the store was retired on {transaction.history.retired[:10]}: nothing is added to it any more"
                )
            yield transaction
        self._remember(transaction.history)
        with suppress(StoreError):  # what was asked for is done and stored; the next transaction notes the head
            self.note_head()

    def note_head(self) -> None:
        """Note outside of the database how far the history goes."""
        with self._lock:
            seq, digest = self._history.seq, self._history.hash
        write_head(self.folder.path, Head(seq, digest, self._head_mac(seq, digest)))

    def _history_in(self, connection: Connection) -> History:
        """What the history says within a transaction; events that were checked before are not checked again."""
        with self._lock:
            known = self._history
        if known.seq:
            _check_event(connection, known.seq, known.hash)
        fresh = list(ledger.read(connection, self._key, known.seq, known.hash))
        if not fresh:
            return known
        history = known.copy()
        history.apply(fresh)
        self._remember(history)
        return history

    def _remember(self, history: History) -> None:
        with self._lock:
            if history.seq > self._history.seq:
                self._history = history

    def _fingerprint(self) -> object:
        """That of the key with which the store was made."""
        with self.database.reading() as connection:
            first = next(ledger.read(connection, None), None)
        if first is None or first.kind != "created" or "key" not in first.body:
            raise DamagedError("the history lacks event 1, by which the store was made: a row was removed or changed")
        return first.body["key"]

    def _head_mac(self, seq: int, digest: str) -> str:
        return self.key.mac("head", f"{seq} {digest}")

    def _check_head(self) -> None:
        """Whether the history still holds the last event that was noted outside of it."""
        head = read_head(self.folder.path)
        if head is None:
            raise DamagedError(
                "head: the file is missing that says how far the history goes, so rows removed from its end would not "
                "be missed: restore it from a backup"
            )
        if self._key is not None and self._head_mac(head.seq, head.hash) != head.mac:
            raise DamagedError("head: was changed; it notes how far the history goes")
        with self.database.reading() as connection:
            _check_event(connection, head.seq, head.hash)


def _check_event(connection: Connection, seq: int, digest: str) -> None:
    row = connection.execute(select(events.c.hash).where(events.c.seq == seq)).first()
    if row is None:
        raise DamagedError(f"the history ends before event {seq}, which was there: rows were removed from its end")
    if row.hash != digest:
        raise DamagedError(f"event {seq} of the history is not the one that was there: rows were changed")
