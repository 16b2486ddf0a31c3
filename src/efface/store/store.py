"""Store: the deletion requests against one model, its versions, and the evidence, for as long as the model lives."""

from collections.abc import Collection
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import select
from torch import nn

from efface.data.ids import RecordIndex
from efface.errors import RequestError
from efface.runtime.devices import resolve_device
from efface.store import (
    create as creating,
)
from efface.store import (
    export as exporting,
)
from efface.store import (
    requests as asking,
)
from efface.store import (
    retire as retiring,
)
from efface.store import (
    run as running,
)
from efface.store import (
    verify as verifying,
)
from efface.store.clock import read_date
from efface.store.context import StoreContext
from efface.store.create import GRACE_DAYS
from efface.store.database import BUSY_S, notes
from efface.store.drift import Limits
from efface.store.files import Folder
from efface.store.gc import finish
from efface.store.history import History, Request, Version
from efface.store.overview import Overview, overview
from efface.store.plan import Outcome, Plan
from efface.store.tag_rows import names_of
from efface.store.verify import Verification
from efface.task import Task
from efface.types import RecordId


class Store:
    """The requests against one model, and its versions.

    Several threads may use one Store, and several processes the same folder. `task` may be left out where no records
    are read: for `requests`, `status`, `export` and `rollback`. Every verb raises RequestError for what cannot be
    asked, BusyError where another process is in the way, DamagedError where the store is not what its history says,
    and StorageError where the disk fails; the version in service then stays as it is.
    """

    def __init__(
        self,
        folder: str | Path,
        task: Task | None = None,
        *,
        key: str | Path | None = None,
        device: str = "auto",
        busy_s: float = BUSY_S,
    ) -> None:
        """Open a store. `busy_s`: seconds to wait for others who write to its database."""
        self._core = StoreContext(
            Folder(Path(folder).absolute()), None if key is None else Path(key).absolute(), busy_s
        )
        self._task, self._device = task, resolve_device(device)
        self._index: RecordIndex | None = None

    @classmethod
    def create(
        cls,
        folder: str | Path,
        task: Task,
        model: nn.Module,
        *,
        key: str | Path | None = None,
        source: str | Path | None = None,
        task_path: str | None = None,
        grace_days: float = GRACE_DAYS,
        limits: Limits | None = None,
        device: str = "auto",
    ) -> "Store":
        """Make a store in a folder that is absent, with `model` as its first version.

        key: where the key is written, beside the folder by default; keep it apart from backups of the store.
        source, task_path: the file that the model came from, and the task as `module:name`, for the command line.
        grace_days: how long superseded checkpoints that know honoured records are kept for audits.
        """
        target, key_path = creating.create(
            Path(folder).absolute(),
            task,
            model,
            None if key is None else Path(key).absolute(),
            None if source is None else Path(source).absolute(),
            task_path,
            grace_days,
            limits or Limits(),
            device,
        )
        return cls(target, task, key=key_path, device=device)

    @property
    def path(self) -> Path:
        """The store's folder."""
        return self._core.folder.path

    @property
    def key_path(self) -> Path:
        """The file with the store's key."""
        return self._core.key_path

    @property
    def task(self) -> Task | None:
        """The task, if one was given."""
        return self._task

    @property
    def current(self) -> Path:
        """The weights in service: a link in the store that always leads to a whole checkpoint."""
        return self._core.folder.link

    @property
    def retired(self) -> str | None:
        """Why nothing more can be asked of the store, where its key is missing; else None."""
        return self._core.retired

    @property
    def task_path(self) -> str | None:
        """The task as `module:name`, as it was given when the store was made."""
        return self.history().task

    def history(self) -> History:
        """Everything that the ledger says, its chain checked."""
        return self._core.history()

    def add(self, ids: Collection[RecordId], note: str | None = None, due: str | date | None = None) -> asking.Answer:
        """Ask for records to be forgotten, by a date (YYYY-MM-DD) if any; the same again is the same request."""
        day = read_date(due, "due") if isinstance(due, str) else due
        return asking.add(self._core, self._records(), ids, note, day)

    def cancel(self, number: int) -> Request:
        """Withdraw a request that is still pending."""
        return asking.cancel(self._core, number)

    def requests(self) -> list[Request]:
        """All requests, in order."""
        return list(self.history().requests.values())

    def request(self, number: int) -> dict[str, Any]:
        """Everything that is known of one request."""
        return exporting.describe(self._core, number)

    def ids(self, number: int) -> list[RecordId]:
        """The ids of a request that are still kept: those that are not forgotten yet."""
        asking.asked(self.history(), number)
        with self._core.database.reading() as connection:
            names = names_of(connection, [number]).values()
        return sorted(names, key=lambda name: (isinstance(name, str), name))

    def note(self, number: int) -> str | None:
        """What was written beside a request."""
        asking.asked(self.history(), number)
        with self._core.database.reading() as connection:
            return connection.execute(select(notes.c.text).where(notes.c.request == number)).scalar()

    def run(self, plan: Plan | None = None, *, wait_s: float = 0.0, progress: bool | None = None) -> Outcome:
        """Honour all pending requests as one batch; an interrupted run goes on where it was."""
        self._check_records()
        return running.run(self._core, self._given_task(), plan or Plan(), self._device, wait_s, progress)

    def report_folder(self, run: int) -> Path:
        """Where the audit's report of a run lies."""
        return self._core.folder.report(run)

    def status(self) -> Overview:
        """Which version honours which requests, what is overdue, and whether a retraining is due."""
        return overview(self._core)

    def verify(
        self,
        level: str | None = "standard",
        references: int = 4,
        original: nn.Module | None = None,
        progress: bool | None = None,
    ) -> Verification:
        """Recompute every hash and audit the model in service again; `level=None` leaves the audit out."""
        return verifying.verify(self._core, self._task, self._device, level, references, original, progress)

    def export(self, number: int, out: str | Path) -> list[Path]:
        """Write a folder that shows how a request was honoured, without the records or their ids."""
        return exporting.export(self._core, number, Path(out))

    def rollback(self, number: int) -> Version:
        """Put an earlier version into service; refused if a request would no longer be honoured."""
        with self._core.folder.locked(0.0):
            history = self.history()
            if number not in history.versions:
                raise RequestError(f"there is no version {number} (there are: 1 to {len(history.versions)})")
            version, undone = history.versions[number], sorted(history.knows(number))
            if undone:
                shown = ", ".join(map(str, undone[:3])) + (f" and {len(undone) - 3} more" if len(undone) > 3 else "")
                raise RequestError(
                    f"version {number} knows the records of request{'s' * (len(undone) > 1)} {shown}, which "
                    f"{'were' if len(undone) > 1 else 'was'} honoured: going back would undo that"
                )
            if number == history.current:
                raise RequestError(f"version {number} is in service already")
            self._core.folder.checked("checkpoints", version.file, f"version {number}")
            with self._core.writing() as book:
                book.append("returned", {"version": number})
            finish(self._core)
            return self.history().versions[number]

    def retire(self) -> list[int]:
        """Destroy the key, and before it all that only the key keeps apart; gives the pending requests given up."""
        return retiring.retire(self._core)

    def _given_task(self) -> Task:
        if self._task is None:
            raise RequestError("this needs the task: give it to Store(folder, task)")
        return self._task

    def _records(self) -> RecordIndex:
        """The index of the training records' ids, made once."""
        task = self._given_task()
        self._check_records()
        if self._index is None:
            self._index = RecordIndex(task.ids, len(task.train))
        return self._index

    def _check_records(self) -> None:
        """Whether positions still name the same records as when the store was made."""
        task, settings = self._given_task(), self.history().settings
        if settings["by_position"] != (task.ids is None):
            raise RequestError("Task.ids was given when the store was made and is not now, or the other way round")
        records = len(task.train)
        if task.ids is None and records != settings["records"]:
            raise RequestError(
                f"the task names records by position, and has {records} of them where the store was made with "
                f"{settings['records']}: positions no longer name the same records. Give the same records in the same "
                "order, or make a store of a task with Task.ids"
            )
