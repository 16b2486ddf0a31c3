"""Writing files atomically: completely or not at all."""

import contextlib
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from efface.errors import RequestError, kind_of, reason_of

STAGES = ("synced", "renamed")  # the stages of `replace_durably`, which calls `reached` after each
Reached = Callable[[str], object]


def ignore(stage: str) -> None:
    """Do nothing at a stage of a write."""


def as_path(name: str, value: object) -> Path:
    """The path given for an argument; RequestError if it is none, or if no file can have this name."""
    if not isinstance(value, str | os.PathLike) or not str(value):
        raise RequestError(f"{name}: expected a path, got {kind_of(value) if value != '' else 'nothing'}")
    if "\0" in str(value):
        raise RequestError(f"{name}: {str(value)!r} holds a NUL, which no name of a file may")
    return Path(value)


def as_absolute(name: str, value: object) -> Path:
    """The path given for an argument, made absolute but otherwise as it is: `~`, links and `..` stay in it.

    Raises:
        RequestError: it is no path, or there is no working folder that it could be relative to.
    """
    path = as_path(name, value)
    try:
        return path.absolute()
    except OSError:
        raise RequestError(f"{path}: the working folder was removed: give an absolute path ({name})") from None


@contextmanager
def atomic_write(path: Path, mode: int | None = None, reached: Reached = ignore) -> Iterator[Path]:
    """Write a file through a temporary file in the same folder, which replaces `path` at the end of the block.

    An error in the block, or a full disk, leaves `path` unchanged and removes the temporary file. The content is on the
    disk before the file is renamed.

    Args:
        path: the file to make or replace; its folder must exist.
        mode: permission bits of the file, such as 0o600; by default those of new files of this process.
        reached: called with the name of each of STAGES after it.

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
    """Sync the content of a temporary file or folder to the disk, then rename it to `path` in one step.

    Args:
        temporary: a file, a symbolic link, or a folder of files, on the same file system as `path`.
        path: the new name; an existing file is replaced, an existing folder only if it is empty.
        reached: called with the name of each of STAGES after it.

    Raises:
        OSError: the content cannot be written; `path` is then unchanged.
    """
    if not temporary.is_symlink():
        for file in [*temporary.iterdir(), temporary] if temporary.is_dir() else [temporary]:
            sync(file)
    reached("synced")
    os.replace(temporary, path)
    reached("renamed")


def sync(path: Path) -> None:
    """Wait until the content of a file, or the list of names in a folder, is on the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def folder_problem(folder: Path) -> str | None:
    """Why a folder cannot be made or written to, such as `is not a folder`; None if it can.

    It is not made here. A file without a name is made for a moment in it, or in the folder in which it would be made.
    """
    try:
        place = next(p for p in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(p))
        usable = place.is_dir() and os.access(place, os.W_OK | os.X_OK) and _takes_files(place)
    except (OSError, ValueError) as error:  # the working folder was removed; a NUL in the name
        return f"cannot be used: {reason_of(error)}"
    if usable:
        return None
    if place != folder.absolute():
        return f"cannot be made in {place}"
    return "cannot be written to" if place.is_dir() else "is not a folder"


def _takes_files(folder: Path) -> bool:
    """Whether a file can be made in a folder: permissions alone allow it in /proc, and on a full disk."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def check_writable(folder: Path, what: str) -> None:
    """Check that a folder exists or can be made, and can be written to, without making it.

    Args:
        folder: the folder.
        what: what the folder is for; the message begins with it.

    Raises:
        RequestError: the folder cannot be used; the message is one line.
    """
    problem = folder_problem(folder)
    if problem is not None:
        raise RequestError(f"{what} {folder}: {problem}")
