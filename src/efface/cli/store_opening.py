"""Opening the store that a command line names, with or without a task."""

from pathlib import Path
from typing import TYPE_CHECKING

import efface
from efface.cli.taskpath import check_task_path, load_task
from efface.errors import RequestError, collect_errors
from efface.runtime.devices import check_device_name
from efface.runtime.files import as_absolute
from efface.store.place import check_store

if TYPE_CHECKING:
    from efface.store import Store
    from efface.task import Task


def open_store(place: Path, key: Path | None) -> "Store":
    """Open a store without its task, for commands that read no records; `key` is the file of its key, if given."""
    return efface.Store(place, key=key, device="cpu")


def open_with_task(place: Path, key: Path | None, path: str | None, device: str = "cpu") -> "tuple[Store, Task]":
    """Open a store with its task.

    Args:
        place: the store's folder.
        key: the file with its key, if one was given.
        path: the task as `module:attribute`; None takes the one that the store was made with.
        device: name of the device for its models.

    Returns:
        The store and the task.

    Raises:
        RequestError: the store is retired, no task is named here or in the store, or it cannot be loaded.
    """
    opened = open_store(place, key)
    if opened.retired:
        raise RequestError(opened.retired)
    path = path or opened.task_path
    if path is None:
        raise RequestError("the store was made without a task's name: give it (--task MODULE:NAME)")
    task = load_task(path)
    return efface.Store(place, task, key=key, device=device), task


def check_store_words(problems: list[str], place: Path, task: str | None, device: str | None = None) -> None:
    """Make the checks of a store command's arguments that need no torch.

    Args:
        problems: problems are added to this list.
        place: the store's folder.
        task: the task as `module:attribute`, if one was given.
        device: name of a device, if the command has one.
    """
    collect_errors(problems, lambda: check_store(as_absolute("--store", place)))
    if task is not None:
        collect_errors(problems, check_task_path, task)
    if device is not None:
        collect_errors(problems, check_device_name, device)
