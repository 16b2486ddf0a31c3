"""The paths of a store and its key. Light to import, so that a missing store is refused at once."""

import errno
import math
import os
from numbers import Real
from pathlib import Path

from efface.errors import RequestError, collect_errors
from efface.runtime.files import as_absolute
from efface.store.errors import storage_error

DATABASE = "ledger.sqlite"
BACKUP_MARK = "backup.json"  # stands in backups only
KEY_VARIABLE = "EFFACE_KEY"
MAX_PATH = 480  # bytes of the path of a store's folder: SQLite opens no file whose path has more than about 500


def as_seconds(name: str, value: object) -> float:
    """The seconds given for an argument; RequestError if they are no number of 0 or more."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < math.inf:
        raise RequestError(f"{name}: expected a number of seconds, 0 or more, got {value!r}")
    return float(value)


def check_store(folder: Path) -> None:
    """Check that a folder holds a store.

    Raises:
        RequestError: there is no store, or its path is too long.
        StorageError: the folder cannot be read, for example because it belongs to another user.
    """
    try:
        there = folder.is_dir() and (folder / DATABASE).is_file()
    except OSError as error:
        _check_length(folder, error)
        raise storage_error(folder, error) from error
    if there:
        _check_length(folder)
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


def places_of(folder: object, key: object) -> tuple[Path, Path]:
    """The absolute paths of a new store and of its key, which by default lies beside it; RequestError if one is none.

    Args:
        folder: the store's folder, as it was given.
        key: the file of its key, if one was given.
    """
    place = as_absolute("folder", folder)
    return place, key_beside(place) if key is None else as_absolute("key", key)


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


def half_made(folder: Path) -> Path:
    """The path at which a store is built before it is moved to `folder`."""
    return folder.parent / f".{folder.name}.new"


def key_beside(folder: Path) -> Path:
    """The default path of a store's key."""
    if folder.name in ("", ".."):  # a path that names no folder by itself
        folder = folder.resolve()
    return folder.parent / f"{folder.name}.key"


def find_key(folder: Path, given: Path | None) -> Path:
    """The path of a store's key: `given`, else the environment variable EFFACE_KEY, else beside the store.

    Where the store is opened by a link, that is the key beside the link, or else the one beside the folder that the
    link leads to. It is never read from the store itself, since whoever can write to the store could then supply
    another key.

    Args:
        folder: absolute path of the store.
        given: path of the key, if the caller named one.

    Raises:
        RequestError: the key would lie inside the store.
    """
    variable = os.environ.get(KEY_VARIABLE)
    path = given or (as_absolute(KEY_VARIABLE, variable) if variable else _find_beside(folder))
    check_outside(folder, path)
    return path


def _find_beside(folder: Path) -> Path:
    beside, real = key_beside(folder), key_beside(folder.resolve())
    return real if os.path.lexists(real) and not os.path.lexists(beside) else beside


def check_outside(folder: Path, key_path: Path) -> None:
    """Check that a key does not lie inside the store, by whatever links either is named.

    Args:
        folder: absolute path of the store, or of one that is to be made.
        key_path: absolute path of the key.

    Raises:
        RequestError: it does, or lies where the store is built before it is moved to its place.
    """
    if any(is_within(key_path, place) for place in (folder, half_made(folder))):
        raise RequestError(
            f"{key_path}: the key must lie outside of the store: name another place (key, --key or {KEY_VARIABLE})"
        )


def is_within(path: Path, folder: Path) -> bool:
    """Whether a path is a folder or leads into it, by whatever links and names; neither needs to exist.

    Args:
        path: absolute path of the file.
        folder: absolute path of the folder.
    """
    try:
        real, place = path.resolve(), folder.resolve()
        if place in (real, *real.parents):
            return True
        own = place.stat()
        return any(os.path.samestat(own, parent.stat()) for parent in real.parents if parent.exists())
    except FileNotFoundError:
        return False
    except (OSError, RuntimeError):  # a folder that may not be read, or links that lead to themselves
        return folder in (path, *path.parents)


def key_exists(path: Path) -> RequestError:
    """The error for a key that would overwrite an existing file."""
    return RequestError(
        f"{path}: there is a file already, and a key is never replaced: name another place (key, or --key), or "
        "remove it if no store needs it"
    )


def _check_length(folder: Path, error: OSError | None = None) -> None:
    """Check that the path of a store is one that files in it can have; RequestError if it is too long."""
    size = max(len(os.fsencode(path)) for path in (folder, os.path.realpath(folder)))
    if size > MAX_PATH or (error is not None and error.errno == errno.ENAMETOOLONG):
        raise RequestError(
            f"{folder}: the path is too long ({size} bytes; the path of a store may have {MAX_PATH}, and each name in "
            "it about 250): name another (folder, or --store)"
        )


def check_absent(folder: Path, _: Path | None = None) -> None:
    """Check that a store can be put at a place; RequestError if something is there, or it cannot be written to."""
    try:
        os.lstat(half_made(folder))
    except OSError as error:
        _check_length(folder, error)
    _check_length(folder)
    if os.path.lexists(folder):
        raise RequestError(f"{folder}: there is something already; name another (folder, or --store)")
    if os.path.lexists(half_made(folder) / BACKUP_MARK):
        raise RequestError(
            f"{half_made(folder)}: a store is being restored there (Store.restore, or efface restore), or was, and "
            "that was interrupted; it may hold ids and models: remove it once no efface restore is at work"
        )
    if os.path.lexists(half_made(folder)):
        raise RequestError(
            f"{half_made(folder)}: a store is being made there (Store.create, or efface init), or was, and that was "
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
