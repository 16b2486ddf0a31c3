"""What can be asked of a store without changing it."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from efface.errors import RequestError
from efface.runtime.files import as_absolute
from efface.store.place import as_seconds, check_store
from efface.store.settings import BUSY_S

# SQLAlchemy and torch are slow to load, so what needs them is imported where it is used: a missing store is refused
# without SQLAlchemy, and methods that need no model do without torch.
if TYPE_CHECKING:
    from efface.data.index import RecordIndex
    from efface.store.alerts import Alert
    from efface.store.clock_state import ClockState
    from efface.store.entries import DeletionRequest
    from efface.store.history import History
    from efface.store.known import KnownIds
    from efface.store.noted_head import HeadNote
    from efface.store.overview import Overview
    from efface.task import Task
    from efface.types import RecordId


class StoreReader:
    """The part of `efface.Store` that changes nothing; see there for the arguments."""

    def __init__(
        self,
        folder: str | Path,
        task: "Task | None" = None,
        *,
        key: str | Path | None = None,
        device: str = "auto",
        busy_s: float = BUSY_S,
    ) -> None:
        path, key_path = as_absolute("folder", folder), None if key is None else as_absolute("key", key)
        check_store(path)

        from efface.store.context import StoreContext
        from efface.store.files import Folder

        self._context = StoreContext(Folder(path), key_path, as_seconds("busy_s", busy_s))
        self._task, self._device = task, device
        self._index: RecordIndex | None = None
        self._checked: Task | None = None
        if task is not None:
            from efface.runtime.devices import resolve_device
            from efface.task import check_task

            check_task(task)
            resolve_device(device)

    @property
    def path(self) -> Path:
        """The store's folder."""
        return self._context.folder.path

    @property
    def key_path(self) -> Path:
        """The file with the store's key."""
        return self._context.key_path

    @property
    def task(self) -> "Task | None":
        """The task, if one was given."""
        return self._task

    @property
    def current(self) -> Path:
        """The weights in service: the path of a link that always leads to a complete checkpoint."""
        return self._context.folder.link

    @property
    def retired(self) -> str | None:
        """Why the store cannot be used, as a sentence, if its key is missing; else None."""
        return self._context.retired

    @property
    def task_path(self) -> str | None:
        """The task as `module:name`, if it was given when the store was made."""
        return self.history().task

    def history(self) -> "History":
        """The history of the store; DamagedError if an event was changed or removed."""
        return self._context.history()

    def requests(self) -> "list[DeletionRequest]":
        """All requests, in order."""
        return list(self.history().requests.values())

    def request(self, number: int) -> dict[str, Any]:
        """Everything that is known about a request, as values that JSON can hold."""
        from efface.store.describe import describe

        return describe(self._context, number)

    def ids(self, number: int) -> "list[RecordId]":
        """The ids of a request's records that are not forgotten yet; other ids are not stored."""
        from efface.store.tag_rows import pending_ids_of

        with self._context.reading() as snapshot:
            names = pending_ids_of(snapshot, [snapshot.history.request(number).number]).values()
        return sorted(names, key=lambda name: (isinstance(name, str), name))

    def known_ids(self, ids: "Iterable[RecordId]") -> "KnownIds":
        """Those of some ids that the store knows, without its task: it was trained on them or has forgotten them."""
        from efface.store.known import known_ids

        with self._context.reading() as snapshot:
            return known_ids(snapshot, ids)

    def record_ids(self) -> "Sequence[RecordId]":
        """The ids of all training records of the task, in their order."""
        return self._records().names

    def record_groups(self) -> "Sequence[RecordId] | None":
        """The keys of the groups of all training records of the task, in their order; None if it has no groups."""
        task = self._checked_task()
        from efface.data.groups import read_groups

        return read_groups(task, len(task.train), [])

    def note(self, number: int) -> str | None:
        """The notes of a request, one a line; None if it has none."""
        from sqlalchemy import select

        from efface.store.database import notes

        with self._context.reading() as snapshot:
            number = snapshot.history.request(number).number
            return snapshot.connection.execute(select(notes.c.text).where(notes.c.request == number)).scalar()

    def notes(self) -> dict[int, str]:
        """The notes of all requests that have one, by number of the request."""
        from sqlalchemy import select

        from efface.store.database import notes

        with self._context.reading() as snapshot:
            rows = snapshot.connection.execute(select(notes.c.request, notes.c.text)).all()
        return {row.request: str(row.text) for row in rows}

    def report_folder(self, run: int) -> Path:
        """The folder of a run's audit report."""
        return self._context.folder.report_of(run)

    def status(self) -> "Overview":
        """Which version honours which requests, what is overdue, and whether a retraining is due."""
        from efface.store.overview import overview

        return overview(self._context)

    def clock(self) -> "ClockState":
        """The machine's time beside that of the history, and what is odd about it."""
        from efface.store.clock_state import clock_state

        with self._context.reading() as snapshot:
            return clock_state(snapshot)

    def alerts(self, within_days: int | None = None) -> "tuple[Alert, ...]":
        """What the store needs from you, the worst first: damage to the model in service, what is due, what is left.

        Args:
            within_days: name requests too that are due within so many days.
        """
        from efface.store.alerts import alerts

        return alerts(self._context, within_days)

    def head(self) -> "HeadNote":
        """The last event of the history; noted elsewhere, it shows later that the store was not put back to a copy."""
        from efface.store.noted_head import HeadNote

        history = self.history()
        return HeadNote(history.seq, history.hash, history.latest)

    def check_head(self, noted: "str | HeadNote | Sequence[str | HeadNote]") -> None:
        """Check that the history holds an event that was noted elsewhere.

        Args:
            noted: what `head` gave, as it is or as text, or the `head` of a bundle, or several of them.

        Raises:
            DamagedError: it does not: the store was put back to an older copy of itself, or is another one.
        """
        from efface.store.noted_head import as_notes, check_notes

        check_notes(self._context, as_notes(noted, "noted", bundles=True))

    def _records(self) -> "RecordIndex":
        """The index of the training records' ids, made once."""
        task = self._checked_task()
        if self._index is None:
            from efface.data.index import RecordIndex

            self._index = RecordIndex(task.ids, len(task.train))
        return self._index

    def _checked_task(self) -> "Task":
        """The task with its ids read, which must be named as when the store was made."""
        if self._task is None:
            raise RequestError("this needs the task: give it to Store(folder, task)")
        if self._checked is None:
            from efface.store.naming import named_task
            from efface.store.noted_kind import with_noted_kind

            settings = self.history().settings
            self._checked = with_noted_kind(named_task(self._task, settings), settings)
        return self._checked
