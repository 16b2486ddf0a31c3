"""A backup of a store: a copy of one moment, made while the store is in use, verified, and without the key."""

from dataclasses import dataclass
from pathlib import Path

from efface.errors import RequestError
from efface.runtime.printing import Brief
from efface.store import clock
from efface.store.backup_mark import BackupMark, begin_mark, finish_mark
from efface.store.backup_places import check_backup_place
from efface.store.context import StoreContext
from efface.store.copying import check_space, copy_files, drop_locks, files_to_copy
from efface.store.database import Database
from efface.store.errors import BusyError, DamagedError
from efface.store.failpoints import failpoint, failpoints_of
from efface.store.files import SUBFOLDERS, Folder
from efface.store.gc import removal_date, superseded
from efface.store.history import History
from efface.store.noted_head import HeadNote
from efface.store.place import DATABASE
from efface.store.whole_folder import whole_folder
from efface.store.wording import numbered

TRIES = 5  # to copy the files of one moment while runs remove superseded ones


@dataclass(frozen=True, repr=False)
class Backup(Brief):
    """A backup that was made.

    Args:
        path: its folder.
        key_path: the file with the store's key, which the backup does not hold and cannot be restored without.
        head: the last event of the history in it.
        taken: when it was made, in UTC.
        files: how many files it holds beside the database.
        size: how many bytes they have, with the database.
        pending: numbers of the requests whose ids it holds, because they were pending.
        knowing: numbers of the superseded versions in it that know forgotten records.
        delete_by: the day by which the store itself removes the first of them, as YYYY-MM-DD; None without any.
        grace_days: how many days after a run the models that it superseded may be kept, and so may this backup.
    """

    path: Path
    key_path: Path
    head: HeadNote
    taken: str
    files: int
    size: int
    pending: tuple[int, ...]
    knowing: tuple[int, ...]
    delete_by: str | None
    grace_days: float

    @property
    def holds(self) -> list[str]:
        """What it holds of people who asked to be forgotten and how long it may be kept, one line each."""
        lines = []
        if self.pending:
            lines.append(
                f"ids of the pending {numbered('request', self.pending)}: the store "
                "deletes them when it honours the requests, so make a new backup then and delete this one"
            )
        if self.knowing:
            one = len(self.knowing) == 1
            lines.append(
                f"{numbered('version', self.knowing)}, which know{'s' * one} forgotten records: the "
                f"store removes {'it' if one else 'them'} from {self.delete_by} on, so delete this backup by then"
            )
        lines.append(
            "the version in service, which knows all records that later runs make it forget, their fingerprints, and "
            "what the first model said of some: "
            f"delete this backup {self.grace_days:g} days after the next run at the latest"
        )
        return lines


def backup(context: StoreContext, out: Path) -> Backup:
    """Copy a store as of one moment to a new folder, all of it or nothing; others may use the store meanwhile.

    Args:
        context: the open store.
        out: a folder that does not exist or is empty, outside of the store.

    Raises:
        RequestError: `out` cannot be used, or the store is retired or lacks its key.
        DamagedError: a file or a row of the store does not match its history.
        BusyError: runs kept removing files while they were copied.
        StorageError: there is too little room, or a file cannot be written.
    """
    place = check_backup_place(context.folder.path, out)
    key = context.key
    if context.history().retiring:
        raise RequestError("the store is retired, and a backup would keep what was to end: nothing was written")
    with whole_folder(place, failpoints_of("backup")) as making:
        begin_mark(making.path)
        making.add_subfolders()
        failpoint("backup.folder")
        history, taken = _fill(context, making)
        check_copy(making, context.key_path, "the store is damaged, so no backup was made")
        failpoint("backup.verified")
        drop_locks(making)
        finish_mark(making.path, BackupMark(history.store, history.seq, history.hash, taken), key)
        size, files = _size(making.path)
        failpoint("backup.marked")
    return _summary(context, place, history, taken, (files, size))


def check_copy(folder: Folder, key_path: Path, otherwise: str) -> None:
    """Check every row and file of a copy as `verify` does.

    Args:
        folder: the copy.
        key_path: the store's key.
        otherwise: what a problem means; messages begin with it.

    Raises:
        DamagedError: with every problem.
    """
    from efface.store.verify import inspect  # needs torch, which a refusal does without

    found = inspect(StoreContext(folder, key_path))
    if found.problems:
        raise DamagedError([f"{otherwise}: {problem}" for problem in found.problems])


def _fill(context: StoreContext, making: Folder) -> tuple[History, str]:
    """Copy the database as of one moment, and the files that it names; returns its history, and when that was."""
    for _ in range(TRIES):
        for left in making.path.glob(f"{DATABASE}*"):
            left.unlink()
        taken = clock.now().isoformat(timespec="seconds")
        context.database.copy_to(making.database)
        failpoint("backup.database")
        copy = StoreContext.begin(making, Database(making.database), context.key)
        history = copy.history()
        copy.note_head()
        files = files_to_copy(history, context.folder, making)
        check_space(files, making.path)
        missing = copy_files(files, lambda: failpoint("backup.file"))
        if not missing:
            _drop_others(making, {file.target for file in files})
            making.serve(history.serving.file)
            return history, taken
        if context.history().seq == history.seq:  # no run removed it: removals are noted first
            raise DamagedError([f"{what} is missing" for what in missing])
    raise BusyError(
        f"{context.folder.path}: runs kept removing files while they were copied: try again when it is quieter"
    )


def _drop_others(making: Folder, wanted: set[Path]) -> None:
    """Remove copies of files that an earlier attempt needed and this one does not."""
    for name in SUBFOLDERS:
        for path in (making.path / name).rglob("*"):
            if path.is_file() and path not in wanted:
                path.unlink()


def _size(folder: Path) -> tuple[int, int]:
    """How many bytes the files of a backup have together, and how many they are beside the database."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    beside = [path for path in files if path.parent != folder]
    return sum(path.stat().st_size for path in files), len(beside)


def _summary(context: StoreContext, place: Path, history: History, taken: str, counts: tuple[int, int]) -> Backup:
    knowing = superseded(history)
    days = [day for version in knowing if (day := removal_date(history, version)) is not None]
    return Backup(
        path=place,
        key_path=context.key_path,
        head=HeadNote(history.seq, history.hash, history.latest),
        taken=taken,
        files=counts[0],
        size=counts[1],
        pending=tuple(request.number for request in history.pending),
        knowing=tuple(version.number for version in knowing),
        delete_by=f"{min(days):%Y-%m-%d}" if days else None,
        grace_days=history.settings["grace_days"],
    )
