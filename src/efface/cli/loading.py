"""Loading the task, its models and the ids to forget from the arguments of a command."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from efface.auditing.doctor import Examination
from efface.auditing.doctor.api import examine
from efface.cli.ids import IdLines, as_ids
from efface.cli.taskpath import load_task, user_failure
from efface.data.checks import Findings, find_forget
from efface.data.groups import NO_GROUPS, read_groups
from efface.data.ids import ByGroup, Forget
from efface.data.naming import name_records
from efface.errors import RequestError, collect_errors
from efface.models.checkpoint import load_weights
from efface.models.wrappers import plain_network
from efface.runtime.devices import resolve_device
from efface.runtime.kinds import network_problem
from efface.task import Task, missing_build_model
from efface.types import RecordId


@dataclass(frozen=True)
class Inputs:
    """The loaded inputs of a command.

    Args:
        task: the task.
        models: one for each checkpoint, in order, on the chosen device.
        forget: ids of the records to forget, or their groups.
        confirmed: ids of twins that are to be forgotten too.
    """

    task: Task
    models: Sequence[nn.Module]
    forget: Forget
    confirmed: Collection[RecordId] = ()


def load_inputs(
    problems: list[str],
    task_path: str,
    checkpoints: Sequence[Path],
    lines: IdLines,
    device: str,
    twins: IdLines | None = None,
) -> Inputs | None:
    """Load the task, the models and the ids, and collect the problems of all of them.

    Args:
        problems: problems are added to this list.
        task_path: the task as `module:attribute`.
        checkpoints: weights, in files or folders.
        lines: the ids to forget, as text.
        device: name of the device for the models.
        twins: the ids of twins to forget too, as text; None if there are none.

    Returns:
        The inputs; None if there is any problem.
    """
    before = len(problems)
    task = collect_errors(problems, load_task, task_path)
    if task is not None and task.build_model is None:
        problems.append(missing_build_model(task_path))
    models = [collect_errors(problems, load_model, task, path) for path in checkpoints] if task is not None else []
    forget = None if task is None else collect_errors(problems, read_forget_lines, lines, task)
    confirmed = None if task is None or twins is None else collect_errors(problems, read_twin_lines, twins, task)
    place = collect_errors(problems, resolve_device, device)
    if len(problems) > before or task is None or forget is None:
        return None
    return Inputs(task, [m.to(place) for m in models if m is not None], forget, confirmed or ())


def read_forget_lines(lines: IdLines, task: Task) -> Forget:
    """Convert the lines of a file to ids or groups of a task.

    Args:
        lines: the lines.
        task: the task.

    Raises:
        RequestError: the lines cannot be ids of the task, or they name no records of it.
    """
    if not hasattr(task.train, "__len__"):
        return ()  # refused with the other data sets
    if lines.by_group and task.groups is None:
        raise RequestError(f"{NO_GROUPS} (--groups)")
    records, problems = len(task.train), list[str]()
    keys = read_groups(task, records, problems) if lines.by_group else name_records(task, records, problems).ids
    if problems:
        raise RequestError(problems)
    asked = as_ids(lines, keys or ())
    forget = ByGroup(asked) if lines.by_group else asked
    # the library checks this too, but only after everything else is correct
    found = Findings()
    find_forget(task, forget, asked, records, found)
    found.refuse()
    return forget


def read_twin_lines(lines: IdLines, task: Task) -> Collection[RecordId]:
    """Convert the lines of a file to ids of twins; RequestError if they cannot be ids of the task."""
    problems: list[str] = []
    known = name_records(task, len(task.train), problems).ids if hasattr(task.train, "__len__") else ()
    if problems:
        raise RequestError(problems)
    return as_ids(lines, known)


def load_model(task: Task, path: Path) -> nn.Module | None:
    """Make a network by `task.build_model` and load weights into it.

    Args:
        task: the task.
        path: the weights, as a file or in a folder.

    Returns:
        The network; None if the task has no `build_model`.

    Raises:
        RequestError: the network cannot be made, or the weights do not fit it.
    """
    if task.build_model is None:
        return None
    try:
        model = task.build_model()
    except Exception as error:
        raise RequestError(f"Task.build_model {user_failure(error)}") from error
    if problem := network_problem(model):
        raise RequestError(f"Task.build_model: {problem}")
    load_weights(model, path)
    return plain_network(model)


def load_examined(task_path: str, checkpoint: Path, device: str) -> Examination:
    """Load a task and its model as far as that is possible, and examine them.

    Args:
        task_path: the task as `module:attribute`.
        checkpoint: the weights, as a file or in a folder.
        device: name of the device for the model.

    Raises:
        RequestError: the task cannot be loaded, so that there is nothing to examine.
    """
    problems: list[str] = []
    task = load_task(task_path)
    if task.build_model is None:
        problems.append(missing_build_model(task_path))
    model = collect_errors(problems, load_model, task, checkpoint)
    place = collect_errors(problems, resolve_device, device)
    return examine(model if model is None or place is None else model.to(place), task, problems)
