"""Store: the deletion requests against one model, the versions that honour them, and the audits of those."""

from collections.abc import Collection, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from efface.auditing.config import REFERENCES
from efface.errors import RequestError
from efface.options import clear_calls
from efface.runtime.files import as_path
from efface.store.clock import read_date
from efface.store.place import as_seconds, check_store, key_beside
from efface.store.plan import RunOutcome, RunPlan
from efface.store.settings import BUSY_S, StoreSettings

# SQLAlchemy and torch are slow to load, so what needs them is imported where it is used: a missing store is refused
# without SQLAlchemy, and methods that need no model do without torch.
if TYPE_CHECKING:
    from torch import nn

    from efface.data.index import RecordIndex
    from efface.store.add import Answer
    from efface.store.entries import DeletionRequest, Version
    from efface.store.history import History
    from efface.store.overview import Overview
    from efface.store.verify import Verification
    from efface.task import Task
    from efface.types import RecordId


@clear_calls(plan=RunPlan, settings=StoreSettings)
class Store:
    """A store of the deletion requests against one model, and of the model's versions.

    Several threads may share one Store, and several processes may open the same folder. Each method changes everything
    it should or nothing; if it raises an error, the version in service does not change.

    Args:
        folder: the store's folder.
        task: the task; only `add`, `run` and the audit of `verify` need it.
        key: the file with the store's key; by default the one named by EFFACE_KEY, else the one beside the folder.
        device: where models are made and judged: auto, cpu, cuda or cuda:N.
        busy_s: seconds to wait for other processes that write to the database.

    Raises:
        RequestError: there is no store, or an argument is invalid.
        BusyError: another process uses the store; try again.
        DamagedError: the store does not match its history.
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
        path, key_path = as_path("folder", folder).absolute(), None if key is None else as_path("key", key).absolute()
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
            folder: the store's folder, which must not exist yet.
            task: the task; its `build_model` makes the network of `model`.
            key: the file that the key is written to, by default beside the folder. Back it up apart from the store.
            settings: days of grace, limits of drift, and where the model came from.
            device: as for Store.

        Returns:
            The open store.

        Raises:
            RequestError: an argument is invalid, with every problem; nothing was made.
            StorageError: a file could not be written; what was made is removed.
        """
        from efface.store.create import NewStore

        place = as_path("folder", folder).absolute()
        key_path = key_beside(place) if key is None else as_path("key", key).absolute()
        NewStore(place, key_path, task, model, StoreSettings() if settings is None else settings).create(device)
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

    def add(self, ids: "Collection[RecordId]", note: str | None = None, due: str | date | None = None) -> "Answer":
        """Add a request to forget records; a second call with the same records finds the existing request.

        Args:
            ids: ids of the records; each must be a training record or have been forgotten before.
            note: one line of at most 500 characters. It is stored as plain text, so do not name people in it.
            due: the last day on which honouring it is in time, as a date or as YYYY-MM-DD.

        Returns:
            The request, whether it is new, and how many of its records were forgotten before.
        """
        day, records = read_date(due, "due") if isinstance(due, str) else due, self._records()
        from efface.store.add import add

        return add(self._context, records, ids, note, day)

    def cancel(self, number: int) -> "DeletionRequest":
        """Cancel a pending request and delete its ids."""
        from efface.store.cancel import cancel

        return cancel(self._context, number)

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

    def record_ids(self) -> "Sequence[RecordId]":
        """The ids of all training records of the task, in their order."""
        return self._records().names

    def note(self, number: int) -> str | None:
        """The note of a request; None if it has none."""
        from sqlalchemy import select

        from efface.store.database import notes

        with self._context.reading() as snapshot:
            number = snapshot.history.request(number).number
            return snapshot.connection.execute(select(notes.c.text).where(notes.c.request == number)).scalar()

    def run(self, plan: RunPlan | None = None, *, wait_s: float = 0.0, progress: bool | None = None) -> RunOutcome:
        """Honour all pending requests as one batch; an interrupted run with the same plan is resumed.

        Args:
            plan: how the run is carried out; by default by the method steer, with a standard audit.
            wait_s: seconds to wait for another run.
            progress: whether to show progress; by default on a terminal.

        Returns:
            The audit's conclusion, and the new version if the model went into service.
        """
        task = self._checked_task()
        from efface.runtime.devices import resolve_device
        from efface.store.run import run

        plan, wait_s = RunPlan() if plan is None else plan, as_seconds("wait_s", wait_s)
        return run(self._context, task, plan, resolve_device(self._device), wait_s, progress)

    def report_folder(self, run: int) -> Path:
        """The folder of a run's audit report."""
        return self._context.folder.report_of(run)

    def status(self) -> "Overview":
        """Which version honours which requests, what is overdue, and whether a retraining is due."""
        from efface.store.overview import overview

        return overview(self._context)

    def verify(
        self,
        level: str | None = "standard",
        references: int = REFERENCES,
        original: "nn.Module | None" = None,
        progress: bool | None = None,
    ) -> "Verification":
        """Check every hash, and audit the model in service on all records that its lineage has forgotten.

        Args:
            level: level of the audit: quick, standard or strong; None leaves the audit out.
            references: how many reference models the audit trains.
            original: the first model of the lineage, needed only if the store no longer has it.
            progress: whether to show progress; by default on a terminal.
        """
        from efface.runtime.devices import resolve_device
        from efface.store.reaudit import ReauditOptions
        from efface.store.verify import verify

        options = ReauditOptions(references, original, progress)
        task = None if self._task is None else self._checked_task()
        return verify(self._context, task, resolve_device(self._device), level, options)

    def export(self, number: int, out: str | Path) -> list[Path]:
        """Write a folder that shows how a request was honoured, without the records or their ids.

        Args:
            number: number of the request.
            out: the folder to write, which must not exist or be empty.

        Returns:
            The files that were written.
        """
        from efface.store.export import export

        return export(self._context, number, as_path("out", out))

    def rollback(self, number: int) -> "Version":
        """Put an earlier version into service; RequestError if a request would no longer be honoured."""
        from efface.store.rollback import rollback

        return rollback(self._context, number)

    def retire(self) -> list[int]:
        """Retire the store permanently: delete pending ids and superseded models, then destroy the key.

        Returns:
            Numbers of the pending requests that were cancelled.
        """
        from efface.store.retire import retire

        return retire(self._context)

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

            self._checked = named_task(self._task, self.history().settings)
        return self._checked
