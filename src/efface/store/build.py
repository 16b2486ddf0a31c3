"""The new model of a run, and checkpoints as they are read and written."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from safetensors import SafetensorError
from torch import nn

from efface.errors import CheckpointError, RequestError
from efface.models.checkpoint import load_weights, save_weights
from efface.models.training import Recipe, retrain
from efface.runtime.cost import Meter
from efface.store.batch import DeletionBatch
from efface.store.errors import StorageError
from efface.store.plan import RunPlan
from efface.task import Task, missing_build_model
from efface.unlearning.driver import unlearn


def load(task: Task, path: Path, device: torch.device) -> nn.Module:
    """The network of a checkpoint, in eval mode; RequestError where the task makes none that fits."""
    if task.build_model is None:
        raise RequestError(missing_build_model())
    model = task.build_model()
    load_weights(model, path)
    return model.to(device).eval()


def save(model: nn.Module, path: Path) -> None:
    """Write a checkpoint.

    Raises:
        CheckpointError: the weights are of a kind that no file takes.
        StorageError: the disk does not take the file.
    """
    try:
        save_weights(model, path)
    except CheckpointError as error:
        if not isinstance(error.__cause__, OSError | SafetensorError):
            raise
        raise StorageError(error.problems) from error  # the request was fine: it is the disk that is not


def unlearn_batch(
    original: nn.Module, batch: DeletionBatch, plan: RunPlan, progress: bool | None
) -> tuple[nn.Module, dict[str, Any]]:
    """A copy of `original` that has forgotten a batch, and what the history notes of how it was made."""
    result = unlearn(
        original, forget=batch.forget, task=batch.task, method=plan.chosen(), seed=plan.seed, progress=progress
    )
    cpu_s = round(result.cost.cpu_s, 3)
    return result.model, {"reference": result.reference, "cpu_s": cpu_s, "warnings": list(result.warnings)}


def retrain_without(
    batch: DeletionBatch, seed: int, device: torch.device, progress: bool | None
) -> tuple[nn.Module, dict[str, Any]]:
    """A model trained anew on all records but a batch, and what the history notes of how it was made."""
    task = batch.task
    if task.build_model is None:
        raise RequestError(missing_build_model())
    with _waiting("training anew by Task.fit", progress):
        model = retrain(task, task.build_model().to(device), batch.view.staying(batch.leaving), seed, Meter(), Recipe())
    return model, {"reference": None, "cpu_s": None, "warnings": []}


@contextmanager
def _waiting(what: str, show: bool | None) -> Iterator[None]:
    """How long something takes whose steps nobody counts, on a terminal."""
    if not (sys.stderr.isatty() if show is None else show):
        yield
        return
    with Progress(SpinnerColumn(), TextColumn(what), TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        bar.add_task(what, total=None)
        yield
