"""Running models: modes, devices and the logits of records."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

from efface.data.nesting import map_tensors, tensors_in
from efface.data.records import Batch, Records
from efface.numerics.logits import bound_masked
from efface.runtime.cost import Meter
from efface.task import Task
from efface.types import Indices

_COUNTED: ContextVar[Meter | None] = ContextVar("counted", default=None)


def device_of(model: nn.Module) -> torch.device:
    """The device of the model's first parameter or buffer; the CPU if it has none."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")


@contextmanager
def mode(model: nn.Module, training: bool) -> Iterator[None]:
    """Put a model in train or eval mode within the block, and restore the mode of every module after it."""
    before = [(m, m.training) for m in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, was in before:
            module.training = was


def forward(task: Task, model: nn.Module, inputs: Any) -> Tensor:
    """Compute logits in the model's current mode; every pass of a model over records goes through this function.

    `Task.forward` gets a copy of the inputs, since it may change them in place, remove some or keep them.

    Args:
        task: The task, for its `forward`.
        model: The model.
        inputs: The inputs, on the model's device; they do not change.

    Returns:
        Logits, (records, classes), float32, a tensor that nobody else holds; see `bound_masked`.
    """
    return bound_masked(call_forward(task, model, inputs).float())


def call_forward(task: Task, model: nn.Module, inputs: Any) -> Any:
    """What `Task.forward` returns for a copy of the inputs, whatever it is; only checks need this."""
    given = task.forward(model, copy_inputs(inputs))
    if (meter := _COUNTED.get()) is not None and isinstance(given, Tensor) and given.ndim:
        meter.count(forward=len(given))
    return given


@contextmanager
def counted(meter: Meter) -> Iterator[None]:
    """Charge all forward passes of the block, for code such as checks that counts none of its own.

    Args:
        meter: Charged with the records in each pass.
    """
    token = _COUNTED.set(meter)
    try:
        yield
    finally:
        _COUNTED.reset(token)


def copy_inputs(inputs: Any) -> Any:
    """A deep copy of inputs, through which gradients flow to the tensors in them."""
    if type(inputs) is Tensor:  # the usual case, and the quickest
        return inputs.clone()
    # tensors are copied first, since a deep copy of a part of a tensor would copy all of it, and one with a gradient
    # cannot be deep-copied
    copies = {id(t): t.clone() for t in tensors_in(inputs)}
    try:
        return copy.deepcopy(inputs, dict(copies))
    except Exception:  # an object of the user that cannot be copied is passed as it is
        return map_tensors(inputs, lambda t: copies[id(t)])


def copy_model(model: nn.Module) -> nn.Module:
    """A deep copy of a model; what it keeps of the graph of its last pass, which cannot be copied, loses the graph."""
    held = (value for module in model.modules() for value in vars(module).values())
    return copy.deepcopy(model, {id(t): t.detach().clone() for t in tensors_in(list(held)) if t.grad_fn is not None})


def logits_of(
    task: Task, model: nn.Module, records: Records, positions: Sequence[int] | Indices, meter: Meter
) -> Tensor:
    """Compute logits in eval mode, without gradients.

    Args:
        task: The task, for its hooks and batch size.
        model: The model.
        records: A dataset.
        positions: Which of its records.
        meter: Charged with the forward passes.

    Returns:
        Logits, (records, classes), float32 on the CPU.
    """
    device = device_of(model)
    parts = []
    with mode(model, training=False), torch.no_grad():
        for batch in records.stream(positions, task.batch_size):
            parts.append(forward(task, model, batch.to(device).inputs).cpu())
    meter.count(forward=len(positions))
    return torch.cat(parts)


def joint_logits(task: Task, model: nn.Module, batches: Sequence[Batch]) -> list[Tensor]:
    """Compute logits of several batches with gradients, in one call of the model if the inputs can be concatenated.

    Args:
        task: The task, for its hooks.
        model: The model, in its current mode.
        batches: The batches, on the model's device.

    Returns:
        Logits of each batch, (records, classes), float32.
    """
    inputs = [b.inputs for b in batches]
    if all(_is_joinable(b) and b.inputs.shape[1:] == inputs[0].shape[1:] for b in batches):
        return list(torch.split(forward(task, model, torch.cat(inputs)), [len(b) for b in batches]))
    return [forward(task, model, t) for t in inputs]


def _is_joinable(batch: Batch) -> bool:
    """Whether inputs are a tensor with one row for each record."""
    return isinstance(batch.inputs, Tensor) and batch.can_cut


def all_finite(model: nn.Module) -> bool:
    """Whether all parameters are finite and no buffer is NaN; buffers may be infinite, as in attention masks."""
    return all(bool(torch.isfinite(p).all()) for p in model.parameters()) and not any(
        bool(torch.isnan(b).any()) for b in model.buffers()
    )
