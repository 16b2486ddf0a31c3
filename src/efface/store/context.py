"""An open store: its folder, database and key, and transactions that keep the history in memory up to date."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from efface.errors import RequestError
from efface.store import ledger
from efface.store.database import Database, events
from efface.store.entries import Event
from efface.store.errors import DamagedError, StoreError
from efface.store.files import Folder
from efface.store.head import Head, read_head, write_head
from efface.store.history import History
from efface.store.keys import Key, is_destroyed, read_key
from efface.store.logs import log_events
from efface.store.place import KEY_VARIABLE, find_key
from efface.store.settings import BUSY_S


class Snapshot:
    """A consistent view of a store: the database within one transaction, and the history as of that transaction."""

    def __init__(self, context: "StoreContext", connection: Connection, history: History) -> None:
        self.connection, self.history, self._context = connection, history, context

    @property
    def has_key(self) -> bool:
        """Whether the store's key is there."""
        return self._context.has_key

    @property
    def key(self) -> Key:
        """The store's key; RequestError where it is missing."""
        return self._context.key


class Transaction(Snapshot):
    """A snapshot that can be written to; all of its changes are stored when it ends, or none."""

    def __init__(self, context: "StoreContext", connection: Connection, history: History) -> None:
        super().__init__(context, connection, history)
        self.appended: list[Event] = []

    def append(self, kind: str, body: dict[str, Any]) -> None:
        """Add an event to the history; `body` is stored as JSON."""
        event = ledger.append(self.connection, self.key, kind, body)
        self.history.apply([event])
        self.appended.append(event)


class StoreContext:
    """An open store, which several threads may share; several processes may open the same folder.

    Args:
        folder: the store's folder.
        key_path: the file with its key; by default the one named by EFFACE_KEY, else the one beside the folder.
        busy_s: seconds to wait for other processes that write to the database.

    Raises:
        RequestError: there is no store, or the key would lie inside it.
        DamagedError: the key belongs to another store, or the first or last events of the history are missing.
    """

    def __init__(self, folder: Folder, key_path: Path | None = None, busy_s: float = BUSY_S) -> None:
        self._start(folder, Database(folder.database, busy_s), None)
        self.database.check()
        self.key_path = find_key(folder.path, key_path)
        self._key = read_key(self.key_path)
        if self._key is not None and self._key.fingerprint != self._fingerprint():
            raise DamagedError(
                f"{self.key_path}: is not the key of this store: name the right one (key, --key or {KEY_VARIABLE})"
            )
        self._check_head()

    @classmethod
    def begin(cls, folder: Folder, database: Database, key: Key) -> "StoreContext":
        """Open a store that is being created and has no events yet.

        Args:
            folder: the store's folder.
            database: its database, with empty tables.
            key: its new key.
        """
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
        """Why the store cannot be used, as a sentence, if its key is missing; else None."""
        if self._key is not None:
            return None
        if day := self._history.retired:
            return (
                f"the store was retired on {day[:10]}, and its key destroyed: its versions stay, and no record can be "
                "matched to a request any more, so nothing is added, run or verified"
            )
        what = "holds nothing but zeros" if is_destroyed(self.key_path) else "is missing"
        return (
            f"the key {self.key_path} {what}, so no record can be matched to a request. If it was destroyed, the "
            "store is retired: its versions stay, and its history says nothing about anyone. If it was moved, name it "
            f"(key, --key or {KEY_VARIABLE})"
        )

    @property
    def has_key(self) -> bool:
        """Whether the store's key is there."""
        return self._key is not None

    def forget_key(self) -> None:
        """Go on as without the key, which was destroyed."""
        self._key = None

    def check_open(self) -> None:
        """Check that the store still takes changes; RequestError if it is retired, or being retired."""
        self.key  # noqa: B018
        _check_open(self.history())

    @property
    def key(self) -> Key:
        """The store's key; RequestError where it is missing."""
        if self._key is None:
            raise RequestError(self.retired or "")
        return self._key

    def history(self) -> History:
        """The current history; DamagedError if an event was changed or removed."""
        with self.reading() as snapshot:
            return snapshot.history

    def reread_history(self) -> History:
        """The current history, with every event read from the database and checked, those known before included."""
        self._check_head()
        history = History()
        with self.database.reading() as connection:
            history.apply(ledger.read(connection, self._key))
        return history

    @contextmanager
    def reading(self) -> Iterator[Snapshot]:
        """Open a snapshot for reading; others may write meanwhile without changing it."""
        with self.database.reading() as connection:
            yield Snapshot(self, connection, self._history_in(connection))

    @contextmanager
    def writing(self, ending: bool = False) -> Iterator[Transaction]:
        """Open a transaction; at its end its changes are stored, and the file `head` is updated to the last event.

        Args:
            ending: whether this is part of a retirement, which alone may go on once it has begun.

        Raises:
            RequestError: the key is missing, or the store is retired, or being retired.
        """
        self.key  # noqa: B018  a store without its key is refused before anything is locked
        with self.database.writing() as connection:
            transaction = Transaction(self, connection, self._history_in(connection).copy())
            _check_open(transaction.history, ending)
            yield transaction
        self._remember(transaction.history)
        log_events(self.folder.path, transaction.appended)
        with suppress(StoreError):  # the transaction is stored already; the next one updates `head`
            self.note_head()

    def note_head(self) -> None:
        """Write the number and hash of the last event into the file `head`, outside of the database."""
        with self._lock:
            seq, digest = self._history.seq, self._history.hash
        write_head(self.folder.path, Head(seq, digest, self._head_mac(seq, digest)))

    def _history_in(self, connection: Connection) -> History:
        """The history as of a transaction; only events that were not read before are read and checked."""
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
        """Fingerprint of the key that the store was made with."""
        with self.database.reading() as connection:
            first = next(ledger.read(connection, None), None)
        if first is None or first.kind != "created" or "key" not in first.body:
            raise DamagedError("the history lacks event 1, by which the store was made: a row was removed or changed")
        return first.body["key"]

    def _head_mac(self, seq: int, digest: str) -> str:
        return self.key.mac("head", f"{seq} {digest}")

    def _check_head(self) -> None:
        """Check that the history still holds the last event that the file `head` names."""
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


def _check_open(history: History, ending: bool = False) -> None:
    if history.retired:
        raise RequestError(f"the store was retired on {history.retired[:10]}: nothing is added to it any more")
    if history.retiring and not ending:
        raise RequestError(
            f"the store is being retired since {history.retiring[:10]}, so nothing is added to it any more; efface "
            "retire --yes finishes that"
        )


def _check_event(connection: Connection, seq: int, digest: str) -> None:
    row = connection.execute(select(events.c.hash).where(events.c.seq == seq)).first()
    if row is None:
        raise DamagedError(f"the history ends before event {seq}, which was there: rows were removed from its end")
    if row.hash != digest:
        raise DamagedError(f"event {seq} of the history is not the one that was there: rows were changed")
