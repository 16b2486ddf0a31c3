"""A store as the words of a command line name it, with the task that it was made with or another."""

from pathlib import Path
from typing import TYPE_CHECKING

import efface
from efface.cli.taskpath import check_task_path, load_task
from efface.errors import RequestError, collect_errors
from efface.runtime.devices import check_device_name
from efface.store.place import check_store

if TYPE_CHECKING:
    from efface.store import Store
    from efface.task import Task


def open_store(place: Path, key: Path | None) -> "Store":
    """The store without its task, for verbs that read no records."""
    return efface.Store(place, key=key, device="cpu")


def open_with_task(place: Path, key: Path | None, path: str | None, device: str = "cpu") -> "tuple[Store, Task]":
    """The store and its task: the one at a path, by default the one that the store was made with."""
    path = path or open_store(place, key).task_path
    if path is None:
        raise RequestError("the store was made without a task's name: give it (--task MODULE:NAME)")
    task = load_task(path)
    return efface.Store(place, task, key=key, device=device), task


def check_store_words(problems: list[str], place: Path, task: str | None, device: str | None = None) -> None:
    """What can be checked of a verb's words before torch is imported; what is wrong goes to `problems`."""
    collect_errors(problems, check_store, place.absolute())
    if task is not None:
        collect_errors(problems, check_task_path, task)
    if device is not None:
        collect_errors(problems, check_device_name, device)
