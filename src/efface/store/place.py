"""The paths of a store and its key. Light to import, so that a missing store is refused at once."""

import math
import os
from numbers import Real
from pathlib import Path

from efface.errors import RequestError, collect_errors
from efface.store.errors import storage_error

DATABASE = "ledger.sqlite"
BACKUP_MARK = "backup.json"  # stands in backups only
KEY_VARIABLE = "EFFACE_KEY"


def as_seconds(name: str, value: object) -> float:
    """The seconds given for an argument; RequestError if they are no number of 0 or more."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < math.inf:
        raise RequestError(f"{name}: expected a number of seconds, 0 or more, got {value!r}")
    return float(value)


def check_store(folder: Path) -> None:
    """Check that a folder holds a store.

    Raises:
        RequestError: there is no store.
        StorageError: the folder cannot be read, for example because it belongs to another user.
    """
    try:
        there = folder.is_dir() and (folder / DATABASE).is_file()
    except OSError as error:
        raise storage_error(folder, error) from error
    if not there:
        raise RequestError(
            f"{folder}: there is no store: make one (Store.create, or efface init), or name another "
            "(folder, or --store)"
        )
    if os.path.lexists(folder / BACKUP_MARK):
        raise RequestError(
            f"{folder}: is a backup of a store; make a store of it first (Store.restore, or efface restore {folder} "
            "--store NEW)"
        )


def check_new_store(folder: Path, key_path: Path) -> None:
    """Check that a store and its key can be made at two places.

    Args:
        folder: absolute path of the store.
        key_path: absolute path of the key.

    Raises:
        RequestError: with every problem.
    """
    problems: list[str] = []
    for check in (check_absent, _check_key):
        collect_errors(problems, check, folder, key_path)
    if problems:
        raise RequestError(problems)


def unfinished(folder: Path) -> Path:
    """The path at which a store is built before it is moved to `folder`."""
    return folder.with_name(f".{folder.name}.new")


def key_beside(folder: Path) -> Path:
    """The default path of a store's key."""
    return folder.with_name(f"{folder.name}.key")


def find_key(folder: Path, given: Path | None) -> Path:
    """The path of a store's key: `given`, else the environment variable EFFACE_KEY, else beside the store.

    It is never read from the store itself, since whoever can write to the store could then supply another key.

    Args:
        folder: absolute path of the store.
        given: path of the key, if the caller named one.

    Raises:
        RequestError: the key would lie inside the store.
    """
    variable = os.environ.get(KEY_VARIABLE)
    path = given or (Path(variable).absolute() if variable else key_beside(folder))
    check_outside(folder, path)
    return path


def check_outside(folder: Path, key_path: Path) -> None:
    """Check that a key does not lie inside the store; RequestError if it does. Both paths are absolute."""
    if folder == key_path or folder in key_path.parents:
        raise RequestError(
            f"{key_path}: the key must lie outside of the store: name another place (key, --key or {KEY_VARIABLE})"
        )


def key_exists(path: Path) -> RequestError:
    """The error for a key that would overwrite an existing file."""
    return RequestError(
        f"{path}: there is a file already, and a key is never replaced: name another place (key, or --key), or "
        "remove it if no store needs it"
    )


def check_absent(folder: Path, _: Path | None = None) -> None:
    """Check that a store can be put at a place; RequestError if something is there, or it cannot be written to."""
    if os.path.lexists(folder):
        raise RequestError(f"{folder}: there is something already; name another (folder, or --store)")
    if os.path.lexists(unfinished(folder) / BACKUP_MARK):
        raise RequestError(
            f"{unfinished(folder)}: a store is being restored there (Store.restore, or efface restore), or was, and "
            "that was interrupted; it may hold ids and models: remove it once no efface restore is at work"
        )
    if os.path.lexists(unfinished(folder)):
        raise RequestError(
            f"{unfinished(folder)}: a store is being made there (Store.create, or efface init), or was, and that was "
            "interrupted; it holds a copy of the model: remove it, and the key that was made with it"
        )
    if not folder.parent.is_dir():
        raise RequestError(f"{folder}: there is no folder {folder.parent} to make the store in (folder, or --store)")
    if not os.access(folder.parent, os.W_OK | os.X_OK):
        raise RequestError(
            f"{folder}: cannot be made in {folder.parent}, which cannot be written to (folder, or --store)"
        )


def _check_key(folder: Path, key_path: Path) -> None:
    check_outside(folder, key_path)
    if os.path.lexists(key_path):
        raise key_exists(key_path)
