"""Folders that a store writes outside of itself, such as a bundle: all of their files appear, or none."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from efface.errors import RequestError
from efface.runtime.files import replace_durably, sync
from efface.store.database import translate_errors
from efface.store.place import is_within

PREFIX = ".efface-"  # of the folder in which the files are made


def check_output(store: Path, out: Path) -> Path:
    """Check that a folder can be written for people outside of a store.

    Args:
        store: the store's folder.
        out: a folder that does not exist or is empty, by any path, links included.

    Returns:
        The folder's own absolute path.

    Raises:
        RequestError: it is something else, there is no folder to make it in, or it lies in the store.
        StorageError: it cannot be looked at.
    """
    with translate_errors(out):
        place = Path(os.path.realpath(out))
        if os.path.lexists(place) and (not place.is_dir() or any(place.iterdir())):
            raise RequestError(f"{out}: is not an empty folder; choose another (out, or --out)")
        if not place.parent.is_dir():
            raise RequestError(f"{out}: there is no folder {place.parent} (out, or --out)")
    if is_within(place, store):
        raise RequestError(f"{out}: lies in the store {store}, which holds its own files only: choose another (--out)")
    return place


@contextmanager
def writing_folder(place: Path) -> Iterator[Path]:
    """Make a folder whose files are moved to `place` at the end of the block, or removed where the block fails.

    A folder that exists already stays the same folder, since it may be somebody's working folder or a disk of its own.

    Args:
        place: what `check_output` returned.

    Raises:
        StorageError: a file could not be written; nothing is left.
    """
    with translate_errors(place):
        exists = place.is_dir()
        temporary = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place if exists else place.parent))
        try:
            yield temporary
            if exists:
                _move_files(temporary, place)
            else:
                replace_durably(temporary, place)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        sync(place if exists else place.parent)


def _move_files(temporary: Path, place: Path) -> None:
    with ExitStack() as undo:
        for file in sorted(temporary.iterdir(), reverse=True):
            undo.callback((place / file.name).unlink, missing_ok=True)
            replace_durably(file, place / file.name)
        undo.pop_all()
