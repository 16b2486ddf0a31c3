"""Files that are written whole or not at all."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from efface.errors import RequestError


@contextmanager
def atomic_write(path: Path, mode: int | None = None) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; at the end of the block it takes the place of `path`.

    A failure in the block, or a full disk, leaves `path` as it was and removes the temporary file. The content is on
    the disk before the file gets its name.

    Args:
        path: the file to make or replace; its folder must exist.
        mode: permission bits of the file, such as 0o600; by default those that the process gives to new files.

    Raises:
        OSError: the file cannot be written, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        temporary.touch(mode=0o666 if mode is None else mode, exist_ok=False)
        usual = temporary.stat().st_mode
        yield temporary
        temporary.chmod(usual)  # some writers replace the file by one that only its owner can read
        sync(temporary)
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def folder_problem(folder: Path) -> str | None:
    """Why a folder cannot be made or written to, such as `is not a folder`; None where it can. Nothing is made here."""
    try:
        place = next(p for p in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(p))
        usable = place.is_dir() and os.access(place, os.W_OK | os.X_OK)
    except (OSError, ValueError) as error:  # the working folder was removed; a NUL in the name
        return f"cannot be used: {getattr(error, 'strerror', None) or error}"
    if usable:
        return None
    if place != folder.absolute():
        return f"cannot be made in {place}"
    return "cannot be written to" if place.is_dir() else "is not a folder"


def check_writable(folder: Path, what: str) -> None:
    """Refuse a folder that cannot be made or written to; nothing is made here.

    Args:
        what: what the folder is for, which begins the message.

    Raises:
        RequestError: what is wrong with it, in one line.
    """
    problem = folder_problem(folder)
    if problem is not None:
        raise RequestError(f"{what} {folder}: {problem}")
