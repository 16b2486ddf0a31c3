"""Making the new model of a run."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from safetensors import SafetensorError
from torch import Tensor, nn

from efface.errors import CheckpointError, RequestError
from efface.models.checkpoint import load_weights, save_weights
from efface.models.training import Recipe, retrain
from efface.runtime.cost import Meter
from efface.store.context import StoreContext
from efface.store.errors import StorageError
from efface.store.failpoints import armed, reach
from efface.store.plan import Plan
from efface.store.task_view import Remaining, named
from efface.task import Task, missing_build_model
from efface.types import Indices
from efface.unlearning.driver import unlearn


def load(task: Task, path: Any, device: torch.device) -> nn.Module:
    """The network of a checkpoint."""
    if task.build_model is None:
        raise RequestError(missing_build_model())
    model = task.build_model()
    load_weights(model, path)
    return model.to(device).eval()


def save(model: nn.Module, path: Any) -> None:
    """Write a checkpoint; StorageError where the disk does not take it."""
    try:
        save_weights(model, path)
    except CheckpointError as error:
        if not isinstance(error.__cause__, OSError | SafetensorError):
            raise  # weights of a kind that no file takes
        raise StorageError(error.problems) from error  # the request was fine: it is the disk that is not


def make(
    core: StoreContext,
    left: Remaining,
    leaving: Mapping[int, str],
    plan: Plan,
    device: torch.device,
    progress: bool | None,
) -> tuple[nn.Module, dict[str, Any]]:
    """The new model, and what is to be noted of how it was made."""
    if plan.retrain:
        stay: Indices = np.flatnonzero(~np.isin(np.asarray(left.positions), list(leaving)))
        task = to_forget(left, leaving)
        assert task.build_model is not None  # see check_plan
        with _waiting("training anew by Task.fit", progress):
            made = retrain(task, task.build_model().to(device), stay, plan.seed, Meter(), Recipe())
        reach("run.unlearned")
        return made, {"reference": None, "cpu_s": None, "warnings": []}
    serving, task = core.history().serving, to_forget(left, leaving)
    original = load(task, core.folder.checked("checkpoints", serving.file, f"version {serving.number}"), device)
    reach("run.checkpoint-read")
    forget, method = sorted(leaving.values()), plan.chosen()
    result = unlearn(original, forget=forget, task=task, method=method, seed=plan.seed, progress=progress)
    reach("run.unlearned")
    return result.model, {
        "reference": result.reference,
        "cpu_s": round(result.cost.cpu_s, 3),
        "warnings": list(result.warnings),
    }


def to_forget(left: Remaining, leaving: Mapping[int, str]) -> Task:
    """The task of a run, in which records that are to be forgotten have tags for ids."""
    task = named(left, leaving)
    return _watched(task) if armed() else task


@contextmanager
def _waiting(what: str, show: bool | None) -> Iterator[None]:
    """How long something takes whose steps nobody counts, on a terminal."""
    if not (sys.stderr.isatty() if show is None else show):
        yield
        return
    with Progress(SpinnerColumn(), TextColumn(what), TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        bar.add_task(what, total=None)
        yield


def _watched(task: Task) -> Task:
    def forward(model: nn.Module, inputs: Any) -> Tensor:
        reach("unlearn.forward")
        return task.forward(model, inputs)

    return replace(task, forward=forward)
