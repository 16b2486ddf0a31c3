"""Making a store of a backup: copied, verified, and noted in the history; what would come back is asked first."""

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from efface.errors import RequestError
from efface.runtime.files import sync
from efface.runtime.printing import Brief
from efface.store.backup import check_copy
from efface.store.backup_mark import BackupMark, begin_mark, read_mark
from efface.store.backup_places import check_restoration
from efface.store.bringing_back import KnownSince, done_since, held
from efface.store.context import StoreContext
from efface.store.copying import check_space, copy_files, drop_locks, files_to_copy
from efface.store.database import translate_errors
from efface.store.errors import DamagedError
from efface.store.failpoints import failpoint, failpoints_of
from efface.store.files import Folder
from efface.store.head import HEAD
from efface.store.keys import Key
from efface.store.noted_head import HeadNote
from efface.store.place import BACKUP_MARK, DATABASE, KEY_VARIABLE, find_key
from efface.store.whole_folder import whole_folder
from efface.store.wording import moment


@dataclass(frozen=True, repr=False)
class Restoration(Brief):
    """A store that was made of a backup.

    Args:
        path: its folder.
        key_path: the file with its key.
        taken: when the backup was made, in UTC.
        head: the last event of its history now, by which it was restored.
        brought_back: what came back of what was forgotten or done since, one line each.
        next_steps: what to do now, one line each.
    """

    path: Path
    key_path: Path
    taken: str
    head: HeadNote
    brought_back: tuple[str, ...]
    next_steps: tuple[str, ...]


def restore(
    backup: Path, folder: Path, key_path: Path | None, known: KnownSince, bring_back: bool = False
) -> Restoration:
    """Make a store of a backup, all of it or nothing.

    Args:
        backup: the backup's folder, which is only read.
        folder: absolute path of the store, where nothing must be yet.
        key_path: the file with the store's key; by default the one named by EFFACE_KEY, else the one beside the folder.
        known: what is known of the time since the backup was made.
        bring_back: whether what was forgotten, or done since, may come back.

    Raises:
        RequestError: an argument is invalid, with every problem; or something would come back, which is listed.
        DamagedError: the backup does not match its history, or the key is that of another store.
        StorageError: there is too little room, or a file cannot be written.
    """
    key_path = check_restoration(backup, folder, key_path, known.against)
    mark, mac = read_mark(backup)
    with whole_folder(folder, failpoints_of("restore")) as making:
        begin_mark(making.path)
        making.add_subfolders()
        failpoint("restore.folder")
        for name in (DATABASE, HEAD):
            _copy(backup / name, making.path / name)
        failpoint("restore.database")
        context = StoreContext(making, key_path)
        kept, since = _comes_back(context, mark, mac, known)
        if (kept or since) and not bring_back:
            raise RequestError([f"this would bring back {line}" for line in (*kept, *since)] + [_ASK])
        _fill(context, Folder(backup))
        check_copy(making, key_path, "the backup is damaged, so nothing was restored")
        failpoint("restore.verified")
        with context.writing() as transaction:
            transaction.append("restored", {"event": mark.event, "hash": mark.hash, "taken": mark.taken})
            failpoint("restored.before-commit")
        context.note_head()
        failpoint("restore.noted")
        history = context.history()
        drop_locks(making)
        (making.path / BACKUP_MARK).unlink()
        failpoint("restore.unmarked")
    return Restoration(
        path=folder,
        key_path=key_path,
        taken=mark.taken,
        head=HeadNote(history.seq, history.hash, history.latest),
        brought_back=(*kept, *since),
        next_steps=tuple(_next_steps(folder, key_path, bool(history.pending), mark.taken if since else None)),
    )


_ASK = (
    "nothing was restored: bring_back=True, or --bring-back, restores it all the same; then ask again for the records "
    "of requests that were honoured since, and run"
)


def _comes_back(context: StoreContext, mark: BackupMark, mac: str, known: KnownSince) -> tuple[list[str], list[str]]:
    """What a backup holds of people and what was done since, one line each; checks that it is what its mark says."""
    key: Key = context.key
    with context.reading() as snapshot:
        history = snapshot.history
        if mark.mac(key) != mac or (mark.store, mark.event, mark.hash) != (history.store, history.seq, history.hash):
            raise DamagedError(f"{BACKUP_MARK}: was changed, or the backup's database is not the one that was in it")
        if history.retiring:
            raise RequestError(f"the backup is of a store that was retired on {history.retiring[:10]}: it stays so")
        return held(history), done_since(snapshot, mark.taken, known, context.key_path)


def _fill(context: StoreContext, backup: Folder) -> None:
    """Copy the files that the history names."""
    history = context.history()
    files = files_to_copy(history, backup, context.folder)
    check_space(files, context.folder.path)
    if missing := copy_files(files, lambda: failpoint("restore.file")):
        raise DamagedError([f"{what} is missing in the backup" for what in missing])
    context.folder.serve(history.serving.file)


def _copy(source: Path, target: Path) -> None:
    """Copy a file of the backup, readable by its owner only."""
    if not source.is_file():
        raise DamagedError(f"{source}: is missing")
    with translate_errors(target):
        target.touch(mode=0o600)
        shutil.copyfile(source, target)
        sync(target)


def _next_steps(folder: Path, key_path: Path, waiting: bool, lost_since: str | None) -> list[str]:
    """What to do after a restoration; `lost_since` is from when on requests may be lost, None if none is."""
    usual = None
    steps = [
        "efface verify, and note the new head elsewhere (efface head)",
        "remove other copies of the store: two that go on separately with one key contradict each other",
    ]
    if waiting or lost_since:
        steps.insert(0, "efface run, which honours the requests that are pending")
    if lost_since:
        steps.insert(0, f"ask again for records that were asked for after {moment(lost_since)} (efface request add)")
    with suppress(RequestError):  # EFFACE_KEY may name a place that cannot be
        usual = find_key(folder, None)
    if key_path != usual:
        steps.insert(0, f"name the key to all commands: --key {key_path}, or {KEY_VARIABLE}")
    return steps
