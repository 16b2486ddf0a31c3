"""The SQLite database of a store: its tables, its transactions, and SQLite's errors as StoreErrors."""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakSet

from filelock import Timeout
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    create_engine,
    event,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from efface.errors import EffaceError
from efface.runtime.files import sync
from efface.store.errors import BusyError, DamagedError, StorageError, StoreError, storage_error
from efface.store.logs import logged_wait
from efface.store.settings import BUSY_S

APPLICATION, FORMAT = 0x65666163, 3  # "efac"; SQLite keeps both numbers in the file's header
CURSORS = "efface_cursors"  # where a connection keeps its cursors
TRUNCATE_MS = 100  # how long truncating the log waits for readers; the caller tries again
AT_ONCE = 500  # values in one SQL statement; SQLite takes 999, or more in later versions
EMPTY_LOG = "PRAGMA wal_checkpoint(TRUNCATE)"
# parts of SQLite's messages that mean damage
DAMAGE = ("malformed", "not a database", "no such table", "append-only", "no such col", "decode to UTF-8")

metadata = MetaData()
T = TypeVar("T")


class Blob(LargeBinary):
    """Bytes as SQLite takes and returns them, without conversion; a damaged row may hold a value of another type."""

    cache_ok = True

    def bind_processor(self, dialect: Any) -> None:
        """Return no converter, since bytes are taken as they are: a request may write hundreds of thousands."""

    def result_processor(self, dialect: Any, coltype: object) -> None:
        """Return no converter, so that values stay as they are."""


# The history: the only record of what was requested and done.
events = Table(
    "events",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("hash", Text, nullable=False),
)
# HMAC of each record id of each request; the history holds their digest.
tags = Table(
    "tags",
    metadata,
    Column("request", Integer, primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("tag", Blob, nullable=False),
    Column("check", Blob, nullable=False),
    Index("tags_by_tag", "tag"),
)
# The ids themselves, as JSON, for as long as they are needed.
pending_ids = Table(
    "pending_ids",
    metadata,
    Column("request", Integer, primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("tag", Blob, nullable=False),
    Column("name", Text, nullable=False),
    Index("pending_ids_by_tag", "tag"),
)
# The notes that people gave with requests, each on a line of its own; the history holds an HMAC of a request's notes.
notes = Table("notes", metadata, Column("request", Integer, primary_key=True), Column("text", Text, nullable=False))

# A MAC of the content of each training record that is not forgotten, by the first half of its tag; see fingerprints.py.
fingerprints = Table(
    "fingerprints",
    metadata,
    Column("tag", Blob, primary_key=True),
    Column("content", Blob, nullable=False),
    Column("alike", Integer, nullable=False),
    sqlite_with_rowid=False,
)
# A MAC of the content of each forgotten record, by which it is found where it comes back under another id.
forgotten_content = Table(
    "forgotten_content",
    metadata,
    Column("content", Blob, primary_key=True),
    Column("request", Integer, primary_key=True),
    sqlite_with_rowid=False,
)

TRIGGERS = {
    f"{table}_{verb.lower()}": f"CREATE TRIGGER {table}_{verb.lower()} BEFORE {verb} ON {table} BEGIN "
    f"SELECT RAISE(ABORT, '{table} is append-only'); END"
    for table in ("events", "tags")
    for verb in ("UPDATE", "DELETE")
}


class Database:
    """One SQLite file in WAL mode; safe for several threads and processes, each transaction on its own connection.

    Args:
        path: the file.
        busy_s: seconds to wait for other processes that write.
    """

    def __init__(self, path: Path, busy_s: float = BUSY_S) -> None:
        self.path = path
        self._engine = _engine(path, busy_s)

    def create(self) -> None:
        """Create the file, readable by its owner only, with empty tables."""
        self.path.touch(mode=0o600, exist_ok=False)
        with self.writing() as connection:
            metadata.create_all(connection)
            for trigger in TRIGGERS.values():
                connection.exec_driver_sql(trigger)
            connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION}")
            connection.exec_driver_sql(f"PRAGMA user_version = {FORMAT}")

    def check(self) -> None:
        """Check that the file is the database of a store in the current format.

        Raises:
            DamagedError: it is not the database of a store.
            StoreError: it has another format.
        """
        with self.reading() as connection:
            application = connection.exec_driver_sql("PRAGMA application_id").scalar()
            version = connection.exec_driver_sql("PRAGMA user_version").scalar()
        if application != APPLICATION:
            raise DamagedError(f"{self.path}: is not the database of an efface store")
        if version != FORMAT:
            advice = "update efface" if (version or 0) > FORMAT else "use the version of efface that made it"
            raise StoreError(f"{self.path}: has format {version}, this version of efface reads {FORMAT}: {advice}")

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction that holds SQLite's write lock from its start and is stored as a whole or not at all."""
        with translate_errors(self.path), self._engine.begin() as connection, _closing_cursors(connection):
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a read transaction, which sees one state of the database throughout."""
        engine = self._engine.execution_options(efface_reads=True)
        with translate_errors(self.path), engine.connect() as connection, _closing_cursors(connection):
            yield connection

    def truncate(self) -> bool:
        """Write the file anew and truncate the write-ahead log, since both may still hold deleted ids.

        `secure_delete` overwrites a row that is deleted, but not copies that SQLite left in the free space of a page
        when it moved rows from one page to another.

        Returns:
            False if another process uses the database, or the disk has no room for a second copy of it meanwhile.
        """
        with translate_errors(self.path), self._engine.connect().execution_options(efface_reads=True) as connection:
            raw: Any = connection.connection.dbapi_connection
            raw.execute(f"PRAGMA busy_timeout = {TRUNCATE_MS}")
            if raw.execute(EMPTY_LOG).fetchone()[0]:
                return False
            try:
                raw.execute("VACUUM")
            except sqlite3.OperationalError as error:
                if any(word in str(error) for word in ("locked", "busy", "full")):
                    return False
                raise
            busy, _, _ = raw.execute(EMPTY_LOG).fetchone()
        return not busy

    def copy_to(self, path: Path) -> None:
        """Write the present state to a new file, which then holds nothing deleted; others may write meanwhile."""
        with translate_errors(path):
            path.touch(mode=0o600, exist_ok=False)
            with self._engine.connect().execution_options(efface_reads=True) as connection:
                raw: Any = connection.connection.dbapi_connection
                raw.execute("VACUUM INTO CAST(? AS TEXT)", (os.fsencode(path),))  # a path may be no Unicode
            sync(path)

    def faults(self) -> list[str]:
        """Problems that SQLite's integrity check finds, one line each."""
        with self.reading() as connection:
            rows = connection.exec_driver_sql("PRAGMA integrity_check(10)").scalars().all()
        return [] if list(rows) == ["ok"] else [f"{self.path.name}: {row}" for row in rows]


def batches(values: Iterable[T], size: int | None = None) -> Iterator[list[T]]:
    """The values in lists, by default of as many as one SQL statement takes; the last may be shorter."""
    left = iter(values)
    while some := list(islice(left, size or AT_ONCE)):
        yield some


def _engine(path: Path, busy_s: float) -> Engine:
    # no pool: a connection that outlives its work would keep the write-ahead log from being cleared, or cross a fork
    def connect() -> sqlite3.Connection:  # by the path itself: in a URL `?` and `%` would have a meaning
        return sqlite3.connect(path, timeout=busy_s, check_same_thread=False)

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)

    @event.listens_for(engine, "connect")
    def prepare(raw: sqlite3.Connection, _: object) -> None:
        raw.isolation_level = None  # we say BEGIN ourselves, below
        raw.execute("PRAGMA journal_mode = WAL")
        raw.execute("PRAGMA synchronous = FULL")
        raw.execute("PRAGMA secure_delete = ON")
        raw.execute("PRAGMA temp_store = MEMORY")  # or a large statement could leave ids in a file elsewhere

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if not connection.get_execution_options().get("efface_reads"):
            with logged_wait(path.parent, "others that write to the database"):
                connection.exec_driver_sql("BEGIN IMMEDIATE")
        elif connection.connection.dbapi_connection is not None:
            connection.exec_driver_sql("BEGIN")

    @event.listens_for(engine, "before_cursor_execute")
    def note(connection: Connection, cursor: sqlite3.Cursor, *_: object) -> None:
        connection.info.setdefault(CURSORS, WeakSet()).add(cursor)

    return engine


@contextmanager
def _closing_cursors(connection: Connection) -> Iterator[None]:
    """Close every cursor of a connection when the block ends.

    An error keeps the frames that it passed through, and so their cursors, for as long as it is kept itself. SQLite
    cannot close a connection with an open cursor, and its read lock keeps the write-ahead log from being truncated.
    """
    try:
        yield
    finally:
        for cursor in list(connection.info.get(CURSORS, ())):
            cursor.close()


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Raise errors of the operating system, of SQLite and of file locks in the block as StoreErrors.

    Args:
        path: the file that the message names where the error itself names none.
    """
    try:
        yield
    except Timeout as error:  # an OSError too
        lock = Path(error.lock_file).name
        raise BusyError(f"{path}: another process holds {lock}: wait for it, or try again later") from error
    except UnicodeDecodeError as error:  # damage can make SQLite's own message undecodable
        raise DamagedError(f"{path}: holds text that cannot be read: it was changed") from error
    except OSError as error:
        raise storage_error(path, error) from error
    except EffaceError as error:
        if type(error) is EffaceError and isinstance(error.__cause__, OSError):  # a report that could not be saved
            raise storage_error(path, error.__cause__) from error
        raise
    except (DBAPIError, sqlite3.Error) as error:
        raw = error.orig if isinstance(error, DBAPIError) else error
        text = str(raw)
        if "locked" in text or "busy" in text:
            raise BusyError(f"{path}: another process holds the database ({text}): try again") from error
        if any(word in text for word in DAMAGE):
            raise DamagedError(f"{path}: {text}") from error
        raise StorageError(f"{path}: {text}") from error
