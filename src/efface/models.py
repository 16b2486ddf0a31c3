"""Running models: logits of records, training from scratch, and fresh networks."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Subset

from efface.data.records import Batch, Records
from efface.errors import DivergedError, RequestError
from efface.options import Options, option
from efface.runtime import Meter, seeded
from efface.task import Task
from efface.types import Indices


def device_of(model: nn.Module) -> torch.device:
    """Device of the first parameter or buffer (CPU for a model without any)."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")


@contextmanager
def mode(model: nn.Module, training: bool) -> Iterator[None]:
    """Put the whole model in train or eval mode and give every module its own mode back afterwards."""
    before = [(m, m.training) for m in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, was in before:
            module.training = was


def logits_of(
    task: Task, model: nn.Module, records: Records, positions: Sequence[int] | Indices, meter: Meter, size: int = 1024
) -> Tensor:
    """Logits in eval mode, without gradients, as float32 on the CPU: (records, classes)."""
    device = device_of(model)
    parts = []
    with mode(model, training=False), torch.no_grad():
        for batch in records.stream(positions, size):
            parts.append(task.forward(model, batch.to(device).inputs).float().cpu())
    meter.count(forward=len(positions))
    return torch.cat(parts)


def joint_logits(task: Task, model: nn.Module, batches: Sequence[Batch]) -> list[Tensor]:
    """Logits of several batches, with gradients, in one call of the model where the inputs are alike tensors."""
    inputs = [b.inputs for b in batches]
    if all(isinstance(t, Tensor) and t.shape[1:] == inputs[0].shape[1:] for t in inputs):
        return list(torch.split(task.forward(model, torch.cat(inputs)).float(), [len(b) for b in batches]))
    return [task.forward(model, t).float() for t in inputs]


def all_finite(model: nn.Module) -> bool:
    """Whether no parameter holds a NaN or an infinity, and no buffer a NaN.

    A buffer may be infinite: attention masks are.
    """
    return all(bool(torch.isfinite(p).all()) for p in model.parameters()) and not any(
        bool(torch.isnan(b).any()) for b in model.buffers()
    )


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


def fresh_model(task: Task, original: nn.Module, seed: int) -> nn.Module:
    """An untrained network like `original`, on its device and dtype.

    From `Task.build_model` where there is one; otherwise a deep copy whose modules reset their own parameters.
    Raises RequestError where a parameter belongs to no module that can reset it, or the model was fine-tuned.
    """
    first = next(original.parameters())
    with seeded(seed):
        if task.build_model is not None:
            return task.build_model().to(device=first.device, dtype=first.dtype)
        problems = fresh_problems(task, original)
        if problems:
            raise RequestError(problems)
        model = copy.deepcopy(original)
        for module in model.modules():
            reset = _resetter(module)
            if reset is not None:
                reset()
        return model.requires_grad_(True)


def fresh_problems(task: Task, original: nn.Module) -> list[str]:
    """Why no fresh network can be made from `original`; empty if one can."""
    if task.build_model is not None:
        return []
    if task.fine_tuned:
        return ["the model was fine-tuned, so a fresh start needs its pretrained weights: give Task.build_model"]
    lost = [
        f"{prefix}.{name}".lstrip(".")
        for prefix, module in original.named_modules()
        if _resetter(module) is None
        for name, _ in module.named_parameters(recurse=False)
    ]
    if not lost:
        return []
    shown = ", ".join(lost[:3]) + (f" and {len(lost) - 3} more" if len(lost) > 3 else "")
    return [
        f"no module can reset {shown} (no reset_parameters), so no reference can start afresh: give Task.build_model"
    ]


def _resetter(module: nn.Module) -> Callable[[], None] | None:
    # attention and transformer modules of torch keep theirs under a private name
    for name in ("reset_parameters", "_reset_parameters"):
        method = getattr(module, name, None)
        if callable(method):
            return cast("Callable[[], None]", method)
    return None


def one_cycle(optimiser: torch.optim.Optimizer, peak: float, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """A learning rate that rises to `peak` over the first fifth of so many steps, and falls to nearly nothing."""
    # torch divides by zero where the rise is one step long
    share = 0.25 if steps == 5 else 0.2
    return torch.optim.lr_scheduler.OneCycleLR(optimiser, peak, total_steps=steps, pct_start=share)


def train(
    task: Task, model: nn.Module, records: Records, positions: Indices, recipe: Recipe, seed: int, meter: Meter
) -> nn.Module:
    """Train `model` in place on the records at `positions` by the default recipe; cross-entropy."""
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
    """A network trained afresh on the records at `retain`, by `Task.fit` where there is one, else by `recipe`."""
    model = fresh_model(task, original, seed)
    if task.fit is None:
        return train(task, model, Records(task.eval_records or task.train, task), retain, recipe, seed, meter)
    with seeded(seed), torch.enable_grad():
        fitted = task.fit(model, Subset(task.train, retain.tolist()), seed)
    model = model if fitted is None else fitted
    if not all_finite(model):
        raise DivergedError("Task.fit gave a model with NaN or infinite weights")
    return model
