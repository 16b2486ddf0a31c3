"""Making the new model of a run, and reading and writing checkpoints."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import nn

from efface.calibration.first_outputs import FirstOutputs
from efface.errors import CheckpointError, EffaceError, RequestError, describe_error
from efface.models.checkpoint import load_weights, save_weights
from efface.models.training import Recipe, retrain
from efface.models.wrappers import plain_network
from efface.runtime.cost import Meter
from efface.runtime.kinds import network_problem
from efface.runtime.progress import waiting
from efface.store.batch import DeletionBatch
from efface.store.errors import StorageError
from efface.store.plan import RunPlan
from efface.task import Task, missing_build_model
from efface.unlearning.driver import unlearn
from efface.unlearning.options import UnlearnOptions
from efface.unlearning.result import Result
from efface.unlearning.retraining import check_retraining


def load(task: Task, path: Path, device: torch.device) -> nn.Module:
    """Load a checkpoint into a network that `task.build_model` makes.

    Args:
        task: the task.
        path: the checkpoint.
        device: where the network goes.

    Returns:
        The network, in eval mode.

    Raises:
        RequestError: the task has no `build_model`, or its network does not fit the checkpoint.
    """
    model = build_network(task, device)
    load_weights(model, path)
    return model.eval()


def build_network(task: Task, device: torch.device) -> nn.Module:
    """A network that `task.build_model` makes, on a device; RequestError if it makes none."""
    if task.build_model is None:
        raise RequestError(missing_build_model())
    try:
        model = task.build_model()
    except EffaceError:
        raise
    except Exception as error:  # the user's own code
        raise RequestError(f"Task.build_model raised {describe_error(error)}") from error
    if problem := network_problem(model):
        raise RequestError(f"Task.build_model: {problem}")
    try:
        return plain_network(model).to(device)
    except NotImplementedError as error:  # a network of meta tensors
        raise RequestError(f"Task.build_model: its network cannot be moved ({describe_error(error)})") from error


def save(model: nn.Module, path: Path) -> None:
    """Write a checkpoint.

    Raises:
        CheckpointError: the weights cannot be stored in a file at all.
        StorageError: the file could not be written.
    """
    try:
        save_weights(model, path)
    except CheckpointError as error:
        if not isinstance(error.__cause__, OSError | SafetensorError):
            raise
        raise StorageError(error.problems) from error  # the disk is at fault, not the request


def unlearn_batch(
    original: nn.Module, batch: DeletionBatch, plan: RunPlan, first: FirstOutputs | None, progress: bool | None
) -> tuple[Result, dict[str, Any]]:
    """Unlearn a batch from a copy of a model.

    Args:
        original: the model to copy.
        batch: the records to forget.
        plan: method, its options and the seed.
        first: the first outputs of the lineage, by ids in the task of the batch; None if there are none.
        progress: whether to show progress; by default on a terminal.

    Returns:
        The result, and the facts about the run that the history stores.
    """
    result = unlearn(
        original,
        forget=batch.forget,
        task=batch.task,
        method=plan.chosen(),
        seed=plan.seed,
        options=UnlearnOptions(first_outputs=first),
        progress=progress,
    )
    cost = {"cpu_s": round(result.cost.cpu_s, 3), "record_trainings": round(result.cost.record_trainings)}
    return result, {"reference": result.reference, **cost, "warnings": list(result.warnings)}


def retrain_without(
    batch: DeletionBatch, seed: int, device: torch.device, progress: bool | None
) -> tuple[nn.Module, dict[str, Any]]:
    """Train a model by `Task.fit` on all records except a batch.

    Args:
        batch: the records to leave out.
        seed: seed of the training.
        device: where the model is trained.
        progress: whether to show progress; by default on a terminal.

    Returns:
        The model, and the facts about the run that the history stores.
    """
    task = batch.task
    start = build_network(task, device)
    staying = batch.view.staying(batch.leaving)
    leaving = np.setdiff1d(np.arange(len(batch.view.positions)), staying)
    with waiting("training anew by Task.fit", progress):
        warnings = check_retraining(task, start, leaving)
        model = retrain(task, start, staying, seed, Meter(), Recipe()).to(device)
    _check_shapes(model, start)
    return model, {"reference": None, "cpu_s": None, "record_trainings": None, "warnings": list(warnings)}


def _check_shapes(model: nn.Module, network: nn.Module) -> None:
    """Check that a network of Task.build_model can hold a retrained model's weights: else no run could load them.

    Raises:
        RequestError: it cannot.
    """
    got, expected = ({name: tuple(t.shape) for name, t in m.state_dict().items()} for m in (model, network))
    if odd := [name for name in {**expected, **got} if expected.get(name) != got.get(name)]:
        raise RequestError(
            f"Task.fit returned a model whose weights Task.build_model's network cannot hold: {odd[0]} is "
            f"{got.get(odd[0], 'missing')} where it expects {expected.get(odd[0], 'none')}: let Task.fit train the "
            "network that it is given, or let Task.build_model make the one that it returns"
        )
