"""From words of a command line to what the library takes: the task, its models and the ids to forget."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from efface.cli.ids import IdLines, as_ids
from efface.cli.taskpath import load_task, user_failure
from efface.data.checks import Findings, check_forget
from efface.errors import RequestError, collect_errors
from efface.models.checkpoint import load_weights
from efface.runtime.devices import resolve_device
from efface.task import Task, missing_build_model
from efface.types import RecordId


@dataclass(frozen=True)
class Inputs:
    """What a command works on.

    Args:
        models: one for each checkpoint, in order, on the device asked for.
        forget: ids of the records to forget.
    """

    task: Task
    models: Sequence[nn.Module]
    forget: Sequence[RecordId]


def load_inputs(
    problems: list[str], task_path: str, checkpoints: Sequence[Path], lines: IdLines, device: str
) -> Inputs | None:
    """Load all that can be loaded; every problem goes to `problems`, and with any there is no result."""
    before = len(problems)
    task = collect_errors(problems, load_task, task_path)
    if task is not None and task.build_model is None:
        problems.append(missing_build_model(task_path))
    models = [collect_errors(problems, load_model, task, path) for path in checkpoints] if task is not None else []
    ids = collect_errors(problems, as_ids, lines, task) if task is not None else None
    if task is not None and ids is not None and hasattr(task.train, "__len__"):
        # the library checks this too, but only once everything else is right
        found = Findings()
        check_forget(task, ids, len(task.train), found)
        problems += found.problems
    place = collect_errors(problems, resolve_device, device)
    if len(problems) > before or task is None or ids is None:
        return None
    return Inputs(task, [m.to(place) for m in models if m is not None], ids)


def load_model(task: Task, path: Path) -> nn.Module | None:
    """A fresh network of the task with the weights of a file; None where the task makes no network.

    Raises:
        RequestError: the network cannot be made, or the weights do not fit it.
    """
    if task.build_model is None:
        return None
    try:
        model = task.build_model()
    except Exception as error:
        raise RequestError(f"Task.build_model {user_failure(error)}") from error
    if not isinstance(model, nn.Module):
        raise RequestError(f"Task.build_model returned {type(model).__name__}, not a torch.nn.Module")
    load_weights(model, path)
    return model
