"""Where a store lies. Light to import, so that a store that is not there is refused at once."""

import os
from pathlib import Path

from efface.errors import RequestError

DATABASE = "ledger.sqlite"


def check_store(folder: Path) -> None:
    """Refuse, by RequestError, a folder that holds no store."""
    if not folder.is_dir() or not (folder / DATABASE).is_file():
        raise RequestError(f"{folder}: there is no store: make one (efface init), or name another (--store)")


def check_new_store(folder: Path, key: Path | None) -> None:
    """Refuse, by RequestError, a place at which no store can be made."""
    if os.path.lexists(folder):
        raise RequestError(f"{folder}: there is something already; name another folder (--store)")
