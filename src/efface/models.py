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
from torch.nn.parameter import is_lazy
from torch.utils.data import Subset

from efface.data.checks import told
from efface.data.records import Batch, Records
from efface.errors import DivergedError, EffaceError, RequestError
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
    task: Task, model: nn.Module, records: Records, positions: Sequence[int] | Indices, meter: Meter
) -> Tensor:
    """Logits in eval mode, without gradients, as float32 on the CPU: (records, classes)."""
    device = device_of(model)
    parts = []
    with mode(model, training=False), torch.no_grad():
        for batch in records.stream(positions, task.batch_size):
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
    """An untrained network like `original`, on its device and in its dtypes; never one that the caller holds.

    From `Task.build_model` where there is one; otherwise a deep copy whose modules reset their own parameters.
    Raises RequestError where no such network can be made: see `try_fresh`.
    """
    with seeded(seed):
        model, problems = try_fresh(task, original)
    if model is None:
        raise RequestError(problems)
    return model


def try_fresh(task: Task, original: nn.Module) -> tuple[nn.Module | None, list[str]]:
    """A fresh network, or none and the reasons; draws from the global generators."""
    if problems := untrainable(original):
        return None, problems
    if task.build_model is not None:
        return _built(task.build_model, original)
    if task.fine_tuned:
        return None, ["the model was fine-tuned, so a fresh start needs its pretrained weights: give Task.build_model"]
    try:
        return _reset(original)
    except Exception as error:  # such as a reset_parameters that wants an argument
        return None, [f"the model cannot be copied and reset ({told(error)}): give Task.build_model"]


def untrainable(model: nn.Module) -> list[str]:
    """Why the default recipe cannot train weights of the kind that the model has; empty if it can."""
    if any(getattr(m, "sparse", None) is True for m in model.modules()):
        return ["layers with sparse gradients cannot be trained by Adam: make the embeddings with sparse=False"]
    if not any(p.dtype == torch.float16 for p in model.parameters()):
        return []
    # the squares that Adam keeps underflow there
    return ["float16 weights cannot be trained: convert with model.float() or model.bfloat16(), and back afterwards"]


def _built(build: Callable[[], nn.Module], original: nn.Module) -> tuple[nn.Module | None, list[str]]:
    try:
        given = build()
    except Exception as error:
        return None, [f"Task.build_model raised {told(error)}"]
    if not isinstance(given, nn.Module):
        return None, [f"Task.build_model: expected a torch.nn.Module, got {type(given).__name__}"]
    if given is original or {id(p) for p in given.parameters()} & {id(p) for p in original.parameters()}:
        return None, ["Task.build_model gives the model itself: build_model must make a new, untrained network"]
    if not list(given.parameters()):
        return None, ["Task.build_model gave a network without parameters: build_model must make a network to train"]
    if any(is_lazy(p) for p in given.parameters()):
        return None, ["Task.build_model gave lazy layers without a shape: let it run the network on a batch first"]
    if _same_weights(given, original):
        return None, ["Task.build_model gives the model's own weights: build_model must make a new, untrained network"]
    try:
        # one that the caller also holds must not be trained in place
        model = _as(copy.deepcopy(given), original)
    except Exception as error:
        return None, [f"what Task.build_model gives cannot be copied to the model's device and dtype ({told(error)})"]
    if not any(p.requires_grad for p in model.parameters()):
        let_move(model)
    return model, []


def _reset(original: nn.Module) -> tuple[nn.Module | None, list[str]]:
    model = copy.deepcopy(original)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point() or parameter.is_complex():
                parameter.fill_(math.nan)  # so that it shows which ones no module resets, or only in part
    for module in model.modules():
        reset = _resetter(module)
        if reset is not None:
            reset()
    kept = [name for name, p in model.named_parameters() if bool(torch.isnan(p).any())]
    if kept:
        shown = ", ".join(kept[:3]) + (f" and {len(kept) - 3} more" if len(kept) > 3 else "")
        return None, [
            f"no module resets {shown} by a reset_parameters, so no reference can start afresh: give Task.build_model"
        ]
    let_move(model)
    return model, []


def let_move(model: nn.Module) -> None:
    """Turn on the gradient of every parameter that can have one."""
    for parameter in model.parameters():
        if parameter.is_floating_point() or parameter.is_complex():  # others cannot have a gradient
            parameter.requires_grad_(True)


def _as(model: nn.Module, original: nn.Module) -> nn.Module:
    """Move `model` to the device of `original`, and to its dtype, parameter by parameter where it has several."""
    model = model.to(device_of(original))
    dtypes = {p.dtype for p in original.parameters() if p.is_floating_point()}
    if len(dtypes) == 1:
        return model.to(dtype=dtypes.pop())
    theirs = _tensors(original)
    for name, tensor in _tensors(model).items():
        if tensor.is_floating_point() and name in theirs and theirs[name].is_floating_point():
            tensor.data = tensor.data.to(theirs[name].dtype)
    return model


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _same_weights(one: nn.Module, other: nn.Module) -> bool:
    ours, theirs = dict(one.named_parameters()), dict(other.named_parameters())
    return ours.keys() == theirs.keys() and all(
        not is_lazy(theirs[name]) and p.shape == theirs[name].shape and torch.equal(p.to(theirs[name]), theirs[name])
        for name, p in ours.items()
    )


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
    try:
        with seeded(seed), torch.enable_grad():
            fitted = task.fit(model, Subset(task.train, retain.tolist()), seed)
    except EffaceError:
        raise
    except Exception as error:  # the user's own code
        raise RequestError(f"Task.fit raised {told(error)}") from error
    if not isinstance(fitted, nn.Module | None):
        raise RequestError(
            f"Task.fit: expected it to train in place and return None, or to return the trained model; "
            f"it returned {type(fitted).__name__}"
        )
    model = model if fitted is None else fitted
    if not all_finite(model):
        raise DivergedError("Task.fit gave a model with NaN or infinite weights")
    return model
