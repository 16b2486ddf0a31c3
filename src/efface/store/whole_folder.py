"""Making the folder of a store or of a backup: it appears at its place as a whole, or nothing of it stays."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from efface.runtime.files import ignore, replace_durably, sync
from efface.store.database import translate_errors
from efface.store.files import Folder
from efface.store.place import half_made


@contextmanager
def whole_folder(place: Path, reached: Callable[[str], object] = ignore) -> Iterator[Folder]:
    """Make a folder beside its place, and move it there at the end of the block; an error leaves nothing of it.

    Once it is there, a power cut does not undo that.

    Args:
        place: absolute path, where nothing is yet, or an empty folder.
        reached: called with the stages of `replace_durably`.

    Yields:
        The folder, in which nothing is yet.

    Raises:
        StorageError: it cannot be made or moved; every other error of the operating system in the block too.
    """
    making = Folder(half_made(place))
    with translate_errors(making.path):
        making.path.mkdir(mode=0o700)
        try:
            yield making
            _sync_folders(making.path)
            replace_durably(making.path, place, reached)
        except BaseException:
            shutil.rmtree(making.path, ignore_errors=True)
            raise
        sync(place.parent)


def _sync_folders(folder: Path) -> None:
    """Wait until the names of all files below a folder are on the disk."""
    for path in folder.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            sync(path)
