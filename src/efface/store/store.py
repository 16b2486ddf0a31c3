"""Store: the deletion requests against one model, its versions, and the evidence, for as long as the model lives."""

from collections.abc import Collection
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from efface.auditing.config import REFERENCES
from efface.errors import RequestError
from efface.store.cancel import cancel
from efface.store.clock import read_date
from efface.store.context import StoreContext
from efface.store.database import BUSY_S, notes
from efface.store.entries import DeletionRequest, Version
from efface.store.files import Folder
from efface.store.history import History
from efface.store.overview import Overview, overview
from efface.store.place import key_beside
from efface.store.plan import RunOutcome, RunPlan
from efface.store.retire import retire
from efface.store.rollback import rollback
from efface.store.settings import StoreSettings
from efface.store.tag_rows import pending_ids_of
from efface.types import RecordId

# What needs torch is imported where it is used, so that verbs without a model answer, or refuse, at once.
if TYPE_CHECKING:
    from torch import nn

    from efface.data.ids import RecordIndex
    from efface.store.add import Answer
    from efface.store.verify import Verification
    from efface.task import Task


class Store:
    """The requests against one model, and its versions.

    Several threads may use one Store, and several processes the same folder. Each verb that changes something either
    does all of it or nothing; where it raises, the version in service stays as it is.

    Args:
        folder: where the store lies.
        task: the task; it may be left out where no records are read: for all verbs but `add`, `run`, and the audit of
            `verify`.
        key: the file with the store's key; by default that in EFFACE_KEY, or beside the folder.
        device: where models are made and judged: auto, cpu, cuda or cuda:N.
        busy_s: seconds to wait for others who write to the database.

    Raises:
        RequestError: there is no store, or what is asked cannot be.
        BusyError: another process is in the way; try again.
        DamagedError: the store is not what its history says.
        StorageError: the disk is full, cannot be written to, or fails.
    """

    def __init__(
        self,
        folder: str | Path,
        task: "Task | None" = None,
        *,
        key: str | Path | None = None,
        device: str = "auto",
        busy_s: float = BUSY_S,
    ) -> None:
        place = Folder(Path(folder).absolute())
        self._context = StoreContext(place, None if key is None else Path(key).absolute(), busy_s)
        self._task, self._device = task, device
        self._index: RecordIndex | None = None
        if task is not None:
            from efface.runtime.devices import resolve_device

            resolve_device(device)

    @classmethod
    def create(
        cls,
        folder: str | Path,
        task: "Task",
        model: "nn.Module",
        *,
        key: str | Path | None = None,
        settings: StoreSettings | None = None,
        device: str = "auto",
    ) -> "Store":
        """Make a store, with `model` as its first version.

        Args:
            folder: where; it must be absent.
            task: the task; its build_model makes the network of `model`.
            key: where the key is written, by default beside the folder. Keep it apart from backups of the store.
            settings: days of grace, limits of drift, and where the model came from.
            device: as for Store.

        Returns:
            The store, open.

        Raises:
            RequestError: with everything that is wrong; nothing was made.
            StorageError: the disk does not take it; nothing is left.
        """
        from efface.store.create import NewStore

        place = Path(folder).absolute()
        key_path = key_beside(place) if key is None else Path(key).absolute()
        NewStore(place, key_path, task, model, settings or StoreSettings()).create(device)
        return cls(place, task, key=key_path, device=device)

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
        """The weights in service: a link in the store that always leads to a whole checkpoint."""
        return self._context.folder.link

    @property
    def retired(self) -> str | None:
        """Why nothing more can be asked of the store, where its key is missing; else None."""
        return self._context.retired

    @property
    def task_path(self) -> str | None:
        """The task as `module:name`, as it was given when the store was made."""
        return self.history().task

    def history(self) -> History:
        """Everything that the ledger says, its chain checked."""
        return self._context.history()

    def add(self, ids: Collection[RecordId], note: str | None = None, due: str | date | None = None) -> "Answer":
        """Ask for records to be forgotten; the same records again are the same request.

        Args:
            ids: of the records; each must be a training record, or have been forgotten before.
            note: one line beside the request, at most 500 characters. It is stored as it is, so name nobody in it.
            due: the last day in time, as a date or as YYYY-MM-DD.

        Returns:
            The request, and what is known of its records.
        """
        day, records = read_date(due, "due") if isinstance(due, str) else due, self._records()
        from efface.store.add import add

        return add(self._context, records, ids, note, day)

    def cancel(self, number: int) -> DeletionRequest:
        """Withdraw a request that is still pending, and delete its ids."""
        return cancel(self._context, number)

    def requests(self) -> list[DeletionRequest]:
        """All requests, in order."""
        return list(self.history().requests.values())

    def request(self, number: int) -> dict[str, Any]:
        """Everything that is known of one request, as values that JSON holds."""
        from efface.store.describe import describe

        return describe(self._context, number)

    def ids(self, number: int) -> list[RecordId]:
        """The ids of a request that are still stored: those of records that are not forgotten yet."""
        with self._context.reading() as snapshot:
            snapshot.history.request(number)
            names = pending_ids_of(snapshot, [number]).values()
        return sorted(names, key=lambda name: (isinstance(name, str), name))

    def note(self, number: int) -> str | None:
        """What was written beside a request; None for one without a note."""
        with self._context.reading() as snapshot:
            snapshot.history.request(number)
            return snapshot.connection.execute(select(notes.c.text).where(notes.c.request == number)).scalar()

    def run(self, plan: RunPlan | None = None, *, wait_s: float = 0.0, progress: bool | None = None) -> RunOutcome:
        """Honour all pending requests as one batch; an interrupted run with the same plan goes on where it was.

        Args:
            plan: how; by default by steer and a standard audit.
            wait_s: seconds to wait for another run.
            progress: whether to show progress; by default on a terminal.

        Returns:
            The audit's conclusion, and the new version where the model went into service.
        """
        task = self._checked_task()
        from efface.runtime.devices import resolve_device
        from efface.store.run import run

        return run(self._context, task, plan or RunPlan(), resolve_device(self._device), wait_s, progress)

    def report_folder(self, run: int) -> Path:
        """Where the audit's report of a run lies."""
        return self._context.folder.report_of(run)

    def status(self) -> Overview:
        """Which version honours which requests, what is overdue, and whether a retraining is due."""
        return overview(self._context)

    def verify(
        self,
        level: str | None = "standard",
        references: int = REFERENCES,
        original: "nn.Module | None" = None,
        progress: bool | None = None,
    ) -> "Verification":
        """Recompute every hash, and audit the model in service on all records that its lineage forgot.

        Args:
            level: how much the audit spends: quick, standard or strong; None leaves it out.
            references: how many reference models the audit trains.
            original: the model that the lineage began with, where the store no longer has it.
            progress: whether to show progress; by default on a terminal.
        """
        from efface.runtime.devices import resolve_device
        from efface.store.reaudit import ReauditOptions
        from efface.store.verify import verify

        options = ReauditOptions(references, original, progress)
        return verify(self._context, self._task, resolve_device(self._device), level, options)

    def export(self, number: int, out: str | Path) -> list[Path]:
        """Write a folder that shows how a request was honoured, without the records or their ids.

        Args:
            number: of the request.
            out: the folder, which must be absent or empty.

        Returns:
            The files in it.
        """
        from efface.store.export import export

        return export(self._context, number, Path(out))

    def rollback(self, number: int) -> Version:
        """Put an earlier version into service; refused if a request would no longer be honoured."""
        return rollback(self._context, number)

    def retire(self) -> list[int]:
        """End the store for good: destroy its key, and before that all that only the key keeps apart.

        Returns:
            The numbers of the pending requests that were cancelled.
        """
        return retire(self._context)

    def _records(self) -> "RecordIndex":
        """The index of the training records' ids, made once."""
        task = self._checked_task()
        if self._index is None:
            from efface.data.ids import RecordIndex

            self._index = RecordIndex(task.ids, len(task.train))
        return self._index

    def _checked_task(self) -> "Task":
        """The task, whose positions must still name the same records as when the store was made."""
        if self._task is None:
            raise RequestError("this needs the task: give it to Store(folder, task)")
        task, settings = self._task, self.history().settings
        if settings["by_position"] != (task.ids is None):
            raise RequestError("Task.ids was given when the store was made and is not now, or the other way round")
        records = len(task.train)
        if task.ids is None and records != settings["records"]:
            raise RequestError(
                f"the task names records by position, and has {records} of them where the store was made with "
                f"{settings['records']}: positions no longer name the same records. Give the same records in the same "
                "order, or make a store of a task with Task.ids"
            )
        return task
