"""Training from scratch: the default recipe, and retraining by the recipe of the task."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from efface.data.records import Records, subset
from efface.errors import DivergedError, EffaceError, RequestError, describe_error
from efface.models.init import fresh_model
from efface.models.running import all_finite, device_of, forward, mode
from efface.models.wrappers import plain_network
from efface.runtime.cost import Meter
from efface.runtime.options import Options, option
from efface.runtime.seeds import seeded
from efface.task import Task
from efface.types import Indices


@dataclass(frozen=True)
class Recipe(Options):
    """The default training recipe: Adam with a one-cycle learning rate.

    Args:
        epochs: Passes over the records; more if they give fewer than `least_steps` steps.
        lr: Peak learning rate.
        batch: Records in a step.
        least_steps: Smallest number of steps.
    """

    epochs: int = option(5, "passes over the records", 1, 100_000)
    lr: float = option(2e-3, "peak learning rate of Adam", 1e-8, 1.0)
    batch: int = option(64, "records in a step", 2, 100_000)
    least_steps: int = option(150, "steps where the epochs give fewer", 1, 1_000_000)

    def steps(self, records: int) -> int:
        """Number of optimiser steps for a number of records."""
        per_epoch = math.ceil(records / self.batch)
        return per_epoch * max(self.epochs, math.ceil(self.least_steps / per_epoch))


def adam(parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.Adam:
    """Make an Adam of those parameters that learn, which moves them all in one call a step where torch can do that.

    Args:
        parameters: The parameters.
        lr: The learning rate.
    """
    moved = [p for p in parameters if p.requires_grad]
    # a small network spends most of its time in calls for one tensor each; torch has no single one for complex numbers
    return torch.optim.Adam(moved, lr=lr, fused=all(p.is_floating_point() for p in moved))


def one_cycle(
    optimiser: torch.optim.Optimizer, peak: float | list[float], steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Make a learning rate schedule that rises to a peak over the first fifth of the steps, then falls to nearly 0.

    Args:
        optimiser: The optimiser.
        peak: Peak learning rate, or one for each group of parameters.
        steps: Number of steps.
    """
    # torch divides by zero if the rise takes one step
    share = 0.25 if steps == 5 else 0.2
    return torch.optim.lr_scheduler.OneCycleLR(optimiser, peak, total_steps=steps, pct_start=share)


def train(
    task: Task, model: nn.Module, records: Records, positions: Indices, recipe: Recipe, seed: int, meter: Meter
) -> nn.Module:
    """Train in place by the default recipe, on the loss of the task's kind.

    Args:
        task: The task, for its hooks.
        model: The network; it is changed in place.
        records: The training records.
        positions: Which of them to train on.
        recipe: Epochs, learning rate and batch size.
        seed: Seed of the order of records, and of random draws of the model.
        meter: Charged with the work.

    Returns:
        The same model.

    Raises:
        DivergedError: Weights became NaN or infinite.
    """
    device = device_of(model)
    total = recipe.steps(len(positions))
    order = np.random.default_rng(seed)
    optimiser = adam(model.parameters(), recipe.lr)
    schedule = one_cycle(optimiser, recipe.lr, total)
    with seeded(seed), mode(model, training=True), torch.enable_grad():
        done = 0
        while done < total:
            shuffled = order.permutation(positions)
            for start in range(0, len(shuffled), recipe.batch):
                rows = shuffled[start : start + recipe.batch]
                if len(rows) < 2 <= len(shuffled):  # a single record breaks BatchNorm
                    continue
                batch = records.read(rows).to(device)
                optimiser.zero_grad()
                loss = task.rules.loss(forward(task, model, batch), batch.targets)
                loss.backward()
                optimiser.step()
                schedule.step()
                meter.count(forward=len(rows), backward=len(rows))
                done += 1
                if done == total:
                    break
    optimiser.zero_grad()  # gradients of the last step would take as much memory as the weights
    if not all_finite(model):
        raise DivergedError("training by the default recipe diverged: give Task.fit, or a smaller learning rate")
    return model


def training_data(task: Task, positions: Indices) -> Any:
    """What `Task.fit` is called with to train on some records: these, or what the structure of the task makes of them.

    Args:
        task: The task, whose structure has only these training records.
        positions: Their positions.
    """
    records = subset(task.train, positions.tolist())
    return records if task.structure is None else task.structure.fitted(records)


def retrain(task: Task, original: nn.Module, retain: Indices, seed: int, meter: Meter, recipe: Recipe) -> nn.Module:
    """Train an untrained network, by `Task.fit` if there is one, else by the default recipe.

    Records that it is not trained on have left the structure of the task, if there is one.

    Args:
        task: The task.
        original: The model whose architecture the network has.
        retain: Positions of the training records to train on.
        seed: Seed of the initial weights and of the training.
        meter: Charged with the work of the default recipe.
        recipe: The recipe for a task without `fit`.

    Raises:
        RequestError: No untrained network can be made, or `Task.fit` failed.
        DivergedError: Weights became NaN or infinite.
    """
    model = fresh_model(task, original, seed)
    task = task.after(np.setdiff1d(np.arange(len(task.train)), retain))
    if task.fit is None:
        return train(task, model, Records(task.eval_records or task.train, task), retain, recipe, seed, meter)
    try:
        with seeded(seed), torch.enable_grad():
            fitted = task.fit(model, training_data(task, retain), seed)
    except EffaceError:
        raise
    except Exception as error:  # the user's own code
        raise RequestError(f"Task.fit raised {describe_error(error)}") from error
    if not isinstance(fitted, nn.Module | None):
        raise RequestError(
            f"Task.fit: expected it to train in place and return None, or to return the trained model; "
            f"it returned {type(fitted).__name__}"
        )
    model = model if fitted is None else plain_network(fitted)
    if not all_finite(model):
        raise DivergedError("Task.fit gave a model with NaN or infinite weights")
    return model
