"""Store: the deletion requests against one model, its versions, and the evidence, for as long as the model lives."""

import math
import os
import secrets
import shutil
import uuid
from collections.abc import Collection
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import torch
from sqlalchemy import select
from torch import nn
from torch.utils.data import IterableDataset

from efface.checkpoint import weights_digest
from efface.data.checks import Findings, check_reading
from efface.data.index import RecordIndex
from efface.data.records import Records
from efface.errors import RequestError, attempt
from efface.requests import check_model
from efface.runtime import resolve_device, versions
from efface.store import asking, exporting, running, verifying
from efface.store.clock import read_date
from efface.store.core import KEY_VARIABLE, Core
from efface.store.database import BUSY_S, Database, named, notes
from efface.store.drift import Limits, write_answers
from efface.store.files import Folder, hash_of
from efface.store.history import History, Request, Version
from efface.store.keys import key_exists, make_key
from efface.store.overview import Overview, overview
from efface.store.rows import names_of
from efface.store.running import Outcome, Plan
from efface.store.upkeep import finish
from efface.store.verifying import Verification
from efface.task import Task
from efface.types import RecordId

GRACE_DAYS, LONGEST_GRACE = 30.0, 365_000.0


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
        self._core = Core(Folder(Path(folder).absolute()), None if key is None else Path(key).absolute(), busy_s)
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
        limits = Limits() if limits is None else limits
        target = Path(folder).absolute()
        key_path = Path(key).absolute() if key is not None else target.with_name(f"{target.name}.key")
        problems: list[str] = []
        for check in (_check_place, _check_key):
            attempt(problems, check, target, key_path)
        attempt(problems, _check_settings, grace_days, limits)
        attempt(problems, _check_source, source)
        attempt(problems, resolve_device, device)
        attempt(problems, _check_task, task, model)
        if problems:
            raise RequestError(problems)
        # made beside its place and then moved there, so that no half-made store is ever seen
        making = Folder(target.with_name(f".{target.name}.{secrets.token_hex(4)}.new"))
        secret = make_key(key_path)
        try:
            with named(target):
                making.create()
                file = making.keep("checkpoints", lambda path: running.save(model, path))
                baseline = making.keep("baselines", lambda path: write_answers(task, model, path))
            database = Database(making.database)
            database.create()
            core = Core.begin(making, database, secret)
            with core.writing() as book:
                book.append(
                    "created",
                    {
                        "store": str(uuid.uuid4()),
                        "task": task_path,
                        "source": None if source is None else str(Path(source).absolute()),
                        "key": secret.fingerprint,
                        "key_path": os.path.relpath(key_path, target),
                        "settings": {
                            "grace_days": float(grace_days),
                            "limits": asdict(limits),
                            "records": len(task.train),  # type: ignore[arg-type]
                            "by_position": task.ids is None,
                            "source_hash": None if source is None else hash_of(Path(source)),
                            "made_with": versions(),
                        },
                    },
                )
                book.append(
                    "version",
                    {
                        "number": 1,
                        "parent": None,
                        "lineage": 1,
                        "kind": "original",
                        "run": None,
                        "file": file,
                        "weights": weights_digest(model),
                        "requests": [],
                        "baseline": baseline,
                        "drift": None,
                        "audit": None,
                    },
                )
            making.serve(file)
            with named(target):
                making.path.rename(target)
        except BaseException:
            shutil.rmtree(making.path, ignore_errors=True)
            key_path.unlink(missing_ok=True)
            raise
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
        history = self.history()
        return exporting.describe(self._core, history, asking.asked(history, number))

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

    def _given_task(self) -> Task:
        if self._task is None:
            raise RequestError("this needs the task: give it to Store(folder, task)")
        return self._task

    def _records(self) -> RecordIndex:
        """The index of the training records' ids, made once."""
        task = self._given_task()
        self._check_records()
        if self._index is None:
            self._index = RecordIndex(task.ids, len(task.train))  # type: ignore[arg-type]
        return self._index

    def _check_records(self) -> None:
        """Whether positions still name the same records as when the store was made."""
        task, settings = self._given_task(), self.history().settings
        if settings["by_position"] != (task.ids is None):
            raise RequestError("Task.ids was given when the store was made and is not now, or the other way round")
        records = len(task.train)  # type: ignore[arg-type]
        if task.ids is None and records != settings["records"]:
            raise RequestError(
                f"the task names records by position, and has {records} of them where the store was made with "
                f"{settings['records']}: positions no longer name the same records. Give the same records in the same "
                "order, or make a store of a task with Task.ids"
            )


def _check_place(target: Path, _: Path) -> None:
    if os.path.lexists(target):
        raise RequestError(f"{target}: there is something already; name another folder (--store)")
    if not target.parent.is_dir():
        raise RequestError(f"{target}: there is no folder {target.parent} to make the store in (--store)")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise RequestError(f"{target}: cannot be made in {target.parent}, which cannot be written to (--store)")


def _check_key(target: Path, key_path: Path) -> None:
    if target == key_path or target in key_path.parents:
        raise RequestError(f"{key_path}: the key must lie outside of the store (--key, or {KEY_VARIABLE})")
    if os.path.lexists(key_path):
        raise key_exists(key_path)


def _check_source(source: str | Path | None) -> None:
    if source is not None and not Path(source).is_file():
        raise RequestError(f"{source}: there is no such file, which the model is said to come from")


def _check_settings(grace_days: float, limits: Limits) -> None:
    values = {"grace_days": grace_days, **asdict(limits)}
    wrong = [
        f"{name}: expected a number of 0 or more, got {value!r}"
        for name, value in values.items()
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf
    ]
    if not wrong and grace_days > LONGEST_GRACE:
        wrong.append(f"grace_days: expected at most {LONGEST_GRACE:,.0f} days, got {grace_days!r}")
    if wrong:
        raise RequestError(wrong)


def _check_task(task: Task, model: nn.Module) -> None:
    if not isinstance(task, Task):
        raise RequestError(f"task: expected an efface.Task, got {type(task).__name__}")
    found = Findings()
    if task.build_model is None:
        found.problems.append("the task has no build_model: set Task.build_model, which makes the network to load into")
    named_sets = {"training": task.eval_records or task.train, "holdout": task.holdout}
    for name, data in named_sets.items():
        if not (hasattr(data, "__len__") and hasattr(data, "__getitem__")) or isinstance(data, IterableDataset):
            found.problems.append(f"{name} records: expected a map-style dataset with a length and an index")
        elif not len(data):
            needs = "that the model never saw" if name == "holdout" else "that the model was trained on"
            found.problems.append(f"the {name} set is empty: efface needs records {needs}")
    if found.problems:
        raise RequestError(found.problems)
    records = {name: Records(data, task) for name, data in named_sets.items()}
    if all([check_reading(data, name, found) for name, data in records.items()]):
        with torch.no_grad():
            check_model(model, task, records["training"], found)
    attempt(found.problems, RecordIndex, task.ids, len(task.train))  # type: ignore[arg-type]
    if found.problems:
        raise RequestError(found.problems)
