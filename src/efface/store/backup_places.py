"""Where backups are made, and stores restored to. Light to import, so that a wrong place is refused at once."""

import os
from pathlib import Path

from efface.errors import RequestError, collect_errors
from efface.runtime.files import folder_problem
from efface.store.errors import storage_error
from efface.store.place import (
    BACKUP_MARK,
    DATABASE,
    KEY_VARIABLE,
    check_absent,
    check_outside,
    check_store,
    find_key,
    half_made,
)


def check_backup(folder: Path) -> None:
    """Check that a folder is a backup of a store, finished or not.

    Raises:
        RequestError: it is none.
        StorageError: the folder cannot be read.
    """
    try:
        folder.stat()
        there, store = (folder / BACKUP_MARK).is_file(), (folder / DATABASE).is_file()
    except FileNotFoundError:
        there, store = False, False
    except OSError as error:
        raise storage_error(folder, error) from error
    if not there:
        what = "is a store, or a copy of one, and no backup" if store else "there is no backup"
        raise RequestError(f"{folder}: {what}: name a folder that Store.backup, or efface backup, has made")


def check_backup_place(store: Path, out: Path) -> Path:
    """Check that a backup of a store can be made at a place, without making it.

    Args:
        store: the store's folder.
        out: the folder to make.

    Returns:
        Its own absolute path, without links.

    Raises:
        RequestError: it cannot be made there.
    """
    place = Path(os.path.realpath(out))
    half, problem = half_made(place), _place_problem(Path(os.path.realpath(store)), place)
    if problem is not None:
        raise RequestError(f"{out}: {problem}: choose another (out, or --out)")
    if os.path.lexists(half):
        raise RequestError(
            f"{half}: a backup is being made there, or was, and that was interrupted; it may hold ids and models: "
            "remove it once no efface backup is at work"
        )
    return place


def _place_problem(store: Path, place: Path) -> str | None:
    """What keeps a backup from being made at a place without links; None if nothing does."""
    if store in (place, *place.parents) or _store_around(place):
        return "lies in a store or a backup, and a backup must not"
    if not place.parent.is_dir():
        return f"there is no folder {place.parent}"
    if not os.path.lexists(place):
        return folder_problem(place.parent)
    if not place.is_dir():
        return "is there already, and is no folder"
    if problem := folder_problem(place) or folder_problem(place.parent):
        return problem
    if any(place.iterdir()):
        return "is not an empty folder, and a backup never replaces another"
    # a backup appears in one step, by the name of its folder
    return "is a disk or the working folder, and a backup needs a folder of its own" if _is_fixed(place) else None


def _is_fixed(place: Path) -> bool:
    """Whether another folder cannot well take the place of this one."""
    return os.path.ismount(place) or os.path.samefile(place, os.curdir)


def check_restoration(backup: Path, folder: Path, key_path: Path | None, against: Path | None) -> Path:
    """Check the places that a restoration is given.

    Args:
        backup: the backup's folder.
        folder: absolute path of the store, where nothing must be yet.
        key_path: the file with the store's key, if the caller named one.
        against: the store that the backup was made of, if the caller has it.

    Returns:
        The path of the key.

    Raises:
        RequestError: with every problem.
    """
    problems: list[str] = []
    collect_errors(problems, check_backup, backup)
    collect_errors(problems, check_absent, folder)
    if around := _store_around(Path(os.path.realpath(folder))):
        problems.append(f"{folder}: lies in {around}, which holds another: choose another place (folder, or --store)")
    path = collect_errors(problems, find_key, folder, key_path)
    if path is not None:
        collect_errors(problems, check_outside, backup.absolute(), path)
        if not os.path.lexists(path):
            problems.append(
                f"{path}: there is no key, which a backup does not hold and cannot be restored without: name the file "
                f"(key, --key or {KEY_VARIABLE})"
            )
    if against is not None:
        collect_errors(problems, check_store, against)
    if problems or path is None:
        raise RequestError(problems)
    return path


def _store_around(place: Path) -> Path | None:
    """The store or backup that a place would lie in; None if it would lie in none."""
    return next((folder for folder in place.parents if os.path.lexists(folder / DATABASE)), None)
