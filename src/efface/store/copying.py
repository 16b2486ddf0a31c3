"""Copying the files that a history names from one folder of a store to another, each checked against its hash."""

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from efface.store.database import translate_errors
from efface.store.errors import DamagedError, StorageError
from efface.store.files import CHUNK, SUBFOLDERS, Folder
from efface.store.history import History

LOCKS = ("head.lock", "run.lock")


@dataclass(frozen=True)
class FileToCopy:
    """A file that a history names.

    Args:
        source: where it lies.
        target: where its copy is to lie.
        digest: SHA-256 of the content, in hexadecimal.
        what: its name in messages.
    """

    source: Path
    target: Path
    digest: str
    what: str


def files_to_copy(history: History, source: Folder, target: Folder) -> list[FileToCopy]:
    """The files that a history names, as they lie in one folder and are to lie in another; DamagedError for links."""
    for name in SUBFOLDERS:
        source.subfolder(name)
    found = [
        FileToCopy(source.path_of(kind, digest), target.path_of(kind, digest), digest, f"{kind}/{digest} ({what})")
        for (kind, digest), what in history.needed_files().items()
    ]
    for number in sorted(history.reported_runs):
        kept, copied = source.report_of(number), target.report_of(number)
        if kept.is_symlink():
            raise DamagedError(f"reports/{kept.name} is a link, which may lead out of the store")
        files = (history.runs[number].audit or {})["files"]
        found += [
            FileToCopy(kept / Path(name).name, copied / Path(name).name, digest, f"reports/{kept.name}/{name}")
            for name, digest in files.items()
        ]
    return found


def check_space(files: Sequence[FileToCopy], place: Path) -> int:
    """Check that there is room for copies of some files.

    Args:
        files: the files; those that are gone count nothing.
        place: a folder on the file system to write to.

    Returns:
        How many bytes the files hold.

    Raises:
        StorageError: there is less room than they need.
    """
    with translate_errors(place):
        size = sum(file.source.stat().st_size for file in files if file.source.is_file())
        needed = sum(f.source.stat().st_size for f in files if f.source.is_file() and not f.target.exists())
        free = shutil.disk_usage(place).free
    if needed > free:
        raise StorageError(
            f"{place}: there is too little room: {needed:,} bytes are needed and {free:,} are free; name another "
            "place, or make room"
        )
    return size


def copy_files(files: Sequence[FileToCopy], reached: Callable[[], object]) -> list[str]:
    """Copy files, each completely or not at all; a copy that is there already stays.

    Args:
        files: the files.
        reached: called after each of them.

    Returns:
        Those that are missing, by their names in messages.

    Raises:
        DamagedError: the content of a file does not have its hash, or it is a link.
        StorageError: the disk is full, or a file cannot be read.
    """
    missing = []
    for file in files:
        with translate_errors(file.target):
            file.target.parent.mkdir(mode=0o700, exist_ok=True)
            if not file.target.exists() and not _copied(file):
                missing.append(file.what)
        reached()
    return missing


def drop_locks(folder: Folder) -> None:
    """Remove the lock files of a copy that nobody else has open."""
    for name in LOCKS:
        (folder.path / name).unlink(missing_ok=True)


def _copied(file: FileToCopy) -> bool:
    """Copy one file; False if it is missing."""
    if file.source.is_symlink():
        raise DamagedError(f"{file.what} is a link, which may lead out of the store")
    digest = hashlib.sha256()
    try:
        source = file.source.open("rb")
    except FileNotFoundError:
        return False
    with source, open(os.open(file.target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            target.write(chunk)
        target.flush()
        os.fsync(target.fileno())
    if digest.hexdigest() != file.digest:
        raise DamagedError(f"{file.what} was changed: its content does not have the hash in the history")
    return True
