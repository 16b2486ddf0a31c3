"""Files that are written whole or not at all."""

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

STAGES = ("synced", "renamed")  # of `replace_durably`, each given to its `reached` once it is over
Reached = Callable[[str], object]


def ignore(stage: str) -> None:
    """Do nothing at a stage of a write."""


@contextmanager
def atomic_write(path: Path, mode: int | None = None, reached: Reached = ignore) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; at the end of the block it takes the place of `path`.

    A failure in the block, or a full disk, leaves `path` as it was and removes the temporary file. The content is on
    the disk before the file gets its name.

    Args:
        path: the file to make or replace; its folder must exist.
        mode: permission bits of the file, such as 0o600; by default those that the process gives to new files.
        reached: called with each of STAGES once it is over.

    Raises:
        OSError: the file cannot be written, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        temporary.touch(mode=0o666 if mode is None else mode, exist_ok=False)
        usual = temporary.stat().st_mode
        yield temporary
        temporary.chmod(usual)  # some writers replace the file by one that only its owner can read
        replace_durably(temporary, path, reached)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def replace_durably(temporary: Path, path: Path, reached: Reached = ignore) -> None:
    """Give what was written under a temporary name the name `path`, in one step, once its content is on the disk.

    Args:
        temporary: a file, a symbolic link, or a folder of files, on the same file system as `path`.
        path: what to replace, if it is there; a folder only where it is empty.
        reached: called with each of STAGES once it is over.

    Raises:
        OSError: the content cannot be written; `path` is then as it was.
    """
    if not temporary.is_symlink():
        for file in temporary.iterdir() if temporary.is_dir() else [temporary]:
            sync(file)
    reached("synced")
    os.replace(temporary, path)
    reached("renamed")


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
