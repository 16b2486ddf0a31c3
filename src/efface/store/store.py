"""Store: the deletion requests against one model, the versions that honour them, and the audits of those."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from efface.auditing.config import REFERENCES
from efface.errors import RequestError, collect_errors, kind_of
from efface.runtime.files import as_absolute, as_path
from efface.runtime.notices import warn_caller
from efface.runtime.options import clear_calls
from efface.store.place import as_seconds, places_of
from efface.store.plan import RunOutcome, RunPlan
from efface.store.reader import StoreReader
from efface.store.settings import StoreSettings

# SQLAlchemy and torch are slow to load, so what needs them is imported where it is used: a missing store is refused
# without SQLAlchemy, and methods that need no model do without torch.
if TYPE_CHECKING:
    from torch import nn

    from efface.data.ids import ByGroup
    from efface.store.add import Answer
    from efface.store.backup import Backup
    from efface.store.clock_state import ClockState
    from efface.store.entries import DeletionRequest, Version
    from efface.store.noted_head import HeadNote
    from efface.store.refingerprint import Refingerprinting
    from efface.store.restore import Restoration
    from efface.store.verify import Verification
    from efface.task import Task
    from efface.types import RecordId


@clear_calls(plan=RunPlan, settings=StoreSettings)
class Store(StoreReader):
    """A store of the deletion requests against one model, and of the model's versions.

    Several threads may share one Store, and several processes may open the same folder. Each method changes everything
    it should or nothing; if it raises an error, the version in service does not change.

    Args:
        folder: the store's folder.
        task: the task. `run`, `refingerprint` and the audit of `verify` need it, and `add` for groups and for ids that
            the store does not know.
        key: the file with the store's key; by default the one named by EFFACE_KEY, else the one beside the folder.
        device: where models are made and judged: auto, cpu, cuda or cuda:N.
        busy_s: seconds to wait for other processes that write to the database.

    Raises:
        RequestError: there is no store, or an argument is invalid.
        BusyError: another process uses the store; try again.
        DamagedError: the store does not match its history.
        StorageError: the disk is full, cannot be written to, or fails.
    """

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

        place, key_path = places_of(folder, key)
        NewStore(place, key_path, task, model, StoreSettings() if settings is None else settings).create(device)
        return cls(place, task, key=key_path, device=device)

    @classmethod
    def restore(
        cls,
        backup: str | Path,
        folder: str | Path,
        *,
        key: str | Path | None = None,
        against: str | Path | None = None,
        head: "str | HeadNote | Sequence[str | HeadNote] | None" = None,
        bring_back: bool = False,
    ) -> "Restoration":
        """Make a store of a backup; what would come back by that is refused, and listed, unless it may.

        Args:
            backup: the folder that `backup` made; it is only read.
            folder: the store's folder, which must not exist yet.
            key: the file with the store's key; by default the one named by EFFACE_KEY, else the one beside the folder.
            against: the store that the backup was made of, if it can still be read: it shows what was done since.
            head: the head of that store that was noted last, or several: it shows whether anything was done since.
            bring_back: restore it although ids, models that know forgotten records, or an earlier state come back.

        Returns:
            Where the store is, what came back, and what to do now.
        """
        from efface.store.noted_head import as_notes

        problems: list[str] = []
        heads = [] if head is None else collect_errors(problems, as_notes, head, "head")
        if not isinstance(bring_back, bool):
            problems.append(f"bring_back: expected True or False, got {kind_of(bring_back)}")
        if problems or heads is None:
            raise RequestError(problems)
        source, place = as_path("backup", backup), as_absolute("folder", folder)
        key_path = None if key is None else as_absolute("key", key)
        other = None if against is None else as_absolute("against", against)
        from efface.store.backup_places import check_restoration

        check_restoration(source, place, key_path, other)
        from efface.store.bringing_back import KnownSince
        from efface.store.restore import restore

        return restore(source, place, key_path, KnownSince(other, heads), bring_back)

    def add(
        self,
        ids: "Collection[RecordId] | ByGroup",
        note: str | None = None,
        due: str | date | None = None,
        *,
        deleted: bool = False,
    ) -> "Answer":
        """Add a request to forget records; a second call with the same records finds the existing request.

        While that is pending, a further note is kept beside its own, and an earlier date replaces its own; a later one
        does not. To postpone a request, cancel it and ask again.

        Args:
            ids: ids of the records. Those that the store knows are taken whether or not their rows are still in the
                training set, without reading the task; others must be training records. Or `efface.ByGroup` with keys
                of `Task.groups`: all training records that these groups have now. Needs the task.
            note: one line of at most 500 characters. It is stored as plain text, so do not name people in it.
            due: the last day (UTC) on which honouring it is in time: text as YYYY-MM-DD, a date, or a datetime with a
                time zone, of which the day in UTC counts.
            deleted: take ids that are not known as well: their rows were deleted from the training set. The next
                retraining honours them.

        Returns:
            The request, whether it is new, how many of its records were forgotten before, how many the store knows,
            and what became of a date or a note that was given for an existing request.
        """
        from efface.store.add import add
        from efface.store.wanted import RecordSource, Wanted

        records = None if self._task is None else RecordSource(self._records, self.record_groups)
        settings = self.history().settings
        if records is not None and (settings["by_position"] or settings["numbering"]):
            self._checked_task()  # a task that counts its records otherwise could mean others by the same positions
        return add(self._context, records, Wanted(ids, note, due, deleted))

    def cancel(self, number: int) -> "DeletionRequest":
        """Cancel a pending request and delete its ids."""
        from efface.store.cancel import cancel

        return cancel(self._context, number)

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
        from efface.store.beginning import RunSetting
        from efface.store.clock_state import clock_doubts
        from efface.store.run import run

        plan, wait_s = RunPlan() if plan is None else plan, as_seconds("wait_s", wait_s)
        outcome = run(RunSetting(self._context, task, plan, resolve_device(self._device), progress), wait_s)
        outcome = replace(outcome, warnings=(*outcome.warnings, *clock_doubts(self.history())))
        warn_caller(outcome.warnings)
        return outcome

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
        """Write a bundle: what became of a request, for whoever asked, without records, ids or anything of others.

        Args:
            number: number of the request.
            out: the folder to write, which must not exist or be empty; or a link to an empty one.

        Returns:
            The files that were written.
        """
        from efface.store.export import export

        return export(self._context, number, as_path("out", out))

    def backup(self, out: str | Path) -> "Backup":
        """Copy the store as of one moment, without its key, while it may be in use; `restore` makes a store of it.

        Args:
            out: the folder to make, outside of the store; it must not exist or be empty.

        Returns:
            What the backup holds of people who asked to be forgotten, and how long it may be kept.
        """
        from efface.store.backup import backup

        return backup(self._context, as_path("out", out))

    def refingerprint(self, dry_run: bool = False, progress: bool | None = None) -> "Refingerprinting":
        """Take the contents of the training records as they are now for those that the model was trained on.

        Args:
            dry_run: only count what would change.
            progress: whether to show progress; by default on a terminal.

        Returns:
            How many contents changed, and how many records are gone or joined.
        """
        task = self._checked_task()
        from efface.store.refingerprint import refingerprint

        return refingerprint(self._context, task, dry_run, progress)

    def rollback(self, number: int) -> "Version":
        """Put an earlier version into service; RequestError if a request would no longer be honoured."""
        from efface.store.rollback import rollback

        return rollback(self._context, number)

    def confirm_clock(self) -> "ClockState":
        """Note that the machine's clock is right although it lies far ahead of an event, so that dates count again.

        Raises:
            RequestError: events have later times than the machine's clock, so one of them is wrong.
        """
        from efface.store.clock_state import confirm_clock

        return confirm_clock(self._context)

    def reset_clock(self) -> "ClockState":
        """Note that times in the future of the machine's clock were wrong; they count as the present from now on.

        Raises:
            RequestError: no event has a later time than the machine's clock, or that is plainly wrong.
        """
        from efface.store.clock_state import reset_clock

        return reset_clock(self._context)

    def retire(self) -> list[int]:
        """Delete pending ids and superseded models, then destroy the key; returns the numbers of cancelled requests.

        A retirement that was interrupted or could not go on is finished; `status` says what it has left.
        """
        from efface.store.retire import retire

        return retire(self._context)
