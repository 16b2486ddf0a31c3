"""Training from scratch: the default recipe, and retraining by the recipe of the task."""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from efface.data.records import Records, subset
from efface.errors import DivergedError, EffaceError, RequestError, describe_error
from efface.models.init import fresh_model
from efface.models.running import all_finite, device_of, mode
from efface.options import Options, option
from efface.runtime.cost import Meter
from efface.runtime.seeds import seeded
from efface.task import Task
from efface.types import Indices


@dataclass(frozen=True)
class Recipe(Options):
    """The default training recipe: Adam under a one-cycle learning rate, for `epochs` or at least `least_steps`."""

    epochs: int = option(5, "passes over the records", 1, 100_000)
    lr: float = option(2e-3, "peak learning rate of Adam", 1e-8, 1.0)
    batch: int = option(64, "records in a step", 2, 100_000)
    least_steps: int = option(150, "steps where the epochs give fewer", 1, 1_000_000)

    def steps(self, records: int) -> int:
        """Number of optimiser steps for so many records."""
        per_epoch = math.ceil(records / self.batch)
        return per_epoch * max(self.epochs, math.ceil(self.least_steps / per_epoch))


def one_cycle(optimiser: torch.optim.Optimizer, peak: float, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """A learning rate that rises to `peak` over the first fifth of so many steps, and falls to nearly nothing."""
    # torch divides by zero where the rise is one step long
    share = 0.25 if steps == 5 else 0.2
    return torch.optim.lr_scheduler.OneCycleLR(optimiser, peak, total_steps=steps, pct_start=share)


def train(
    task: Task, model: nn.Module, records: Records, positions: Indices, recipe: Recipe, seed: int, meter: Meter
) -> nn.Module:
    """Train in place by the default recipe, on the cross-entropy.

    Args:
        task: How to run the model.
        model: Changed in place.
        records: Training records.
        positions: Those to train on.
        recipe: Epochs, learning rate and batch size.
        seed: Fixes the order of records, and what the model draws.
        meter: Counts the work.

    Returns:
        The same model.

    Raises:
        DivergedError: Weights became NaN or infinite.
    """
    device = device_of(model)
    total = recipe.steps(len(positions))
    order = np.random.default_rng(seed)
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=recipe.lr, fused=True)
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
                loss = F.cross_entropy(task.forward(model, batch.inputs).float(), batch.targets)
                loss.backward()
                optimiser.step()
                schedule.step()
                meter.count(forward=len(rows), backward=len(rows))
                done += 1
                if done == total:
                    break
    if not all_finite(model):
        raise DivergedError("training by the default recipe diverged: give Task.fit, or a smaller learning rate")
    return model


def retrain(task: Task, original: nn.Module, retain: Indices, seed: int, meter: Meter, recipe: Recipe) -> nn.Module:
    """A network trained afresh on the records at `retain`, by `Task.fit` where there is one, else by `recipe`.

    Raises:
        RequestError: No untrained network can be made, or `Task.fit` failed.
        DivergedError: Weights became NaN or infinite.
    """
    model = fresh_model(task, original, seed)
    if task.fit is None:
        return train(task, model, Records(task.eval_records or task.train, task), retain, recipe, seed, meter)
    try:
        with seeded(seed), torch.enable_grad():
            fitted = task.fit(model, subset(task.train, retain.tolist()), seed)
    except EffaceError:
        raise
    except Exception as error:  # the user's own code
        raise RequestError(f"Task.fit raised {describe_error(error)}") from error
    if not isinstance(fitted, nn.Module | None):
        raise RequestError(
            f"Task.fit: expected it to train in place and return None, or to return the trained model; "
            f"it returned {type(fitted).__name__}"
        )
    model = model if fitted is None else fitted
    if not all_finite(model):
        raise DivergedError("Task.fit gave a model with NaN or infinite weights")
    return model
