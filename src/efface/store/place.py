"""Where a store and its key lie. Light to import, so that a store that is not there is refused at once."""

import os
from pathlib import Path

from efface.errors import RequestError
from efface.store.errors import storage_error

DATABASE = "ledger.sqlite"
KEY_VARIABLE = "EFFACE_KEY"


def check_store(folder: Path) -> None:
    """Refuse a folder that holds no store.

    Raises:
        RequestError: there is no store.
        StorageError: the folder cannot be read, such as somebody else's.
    """
    try:
        there = folder.is_dir() and (folder / DATABASE).is_file()
    except OSError as error:
        raise storage_error(folder, error) from error
    if not there:
        raise RequestError(f"{folder}: there is no store: make one (efface init), or name another (--store)")


def key_beside(folder: Path) -> Path:
    """Where a store's key is looked for, unless another place is named."""
    return folder.with_name(f"{folder.name}.key")


def find_key(folder: Path, given: Path | None) -> Path:
    """The place of a store's key: the one given, else that in EFFACE_KEY, else beside the store.

    It is never a place that the store itself names: whoever can write there could bring a key of their own.

    Raises:
        RequestError: the key would lie inside the store.
    """
    variable = os.environ.get(KEY_VARIABLE)
    path = given or (Path(variable).absolute() if variable else key_beside(folder))
    check_outside(folder, path)
    return path


def check_outside(folder: Path, key_path: Path) -> None:
    """Refuse, by RequestError, a key that lies inside the store."""
    if folder == key_path or folder in key_path.parents:
        raise RequestError(f"{key_path}: the key must lie outside of the store (--key, or {KEY_VARIABLE})")
