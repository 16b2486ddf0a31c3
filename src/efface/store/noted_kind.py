"""The kind of a store's task, noted when it is made, so that all later runs judge in the same units."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from efface.errors import RequestError
from efface.kinds import CLASSES, KINDS, Kind
from efface.task import Task, kind_problem


def kind_settings(rules: Kind) -> dict[str, Any]:
    """What a store notes of the kind of its task when it is made."""
    return {"kind": {"key": rules.key, "options": asdict(rules)}}


def with_noted_kind(task: Task, settings: Mapping[str, Any]) -> Task:
    """The task with the kind that the store was made for, in the units that were measured then.

    Args:
        task: The task as the user gave it.
        settings: The settings in the history of the store; those of older stores have no kind, which is `classes`.

    Raises:
        RequestError: The task is said to be of another kind.
    """
    noted = _noted(settings)
    if task.kind is None:
        return replace(task, kind=noted)
    if problem := kind_problem(task.kind):
        raise RequestError(f"Task.kind: {problem}")
    rules = task.rules.measured_like(noted)
    if rules.key != noted.key:
        raise RequestError(
            f"Task.kind is {rules.key} ({rules.title}), and the store was made for {noted.key} ({noted.title}): give "
            "the kind that it was made for, or make a store of this task"
        )
    return replace(task, kind=rules)


def _noted(settings: Mapping[str, Any]) -> Kind:
    if (held := settings.get("kind")) is None:
        return CLASSES
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in held["options"].items()}
    return KINDS[held["key"]](**options)
