"""Running models: modes, devices and the logits of records."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from efface.data.records import Batch, Records
from efface.runtime.cost import Meter
from efface.task import Task
from efface.types import Indices


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
            parts.append(task.forward(model, batch.to(device).inputs).float().cpu())
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
        return list(torch.split(task.forward(model, torch.cat(inputs)).float(), [len(b) for b in batches]))
    return [task.forward(model, t).float() for t in inputs]


def _is_joinable(batch: Batch) -> bool:
    """Whether inputs are a tensor with one row for each record."""
    return isinstance(batch.inputs, Tensor) and batch.can_cut


def all_finite(model: nn.Module) -> bool:
    """Whether all parameters are finite and no buffer is NaN; buffers may be infinite, as in attention masks."""
    return all(bool(torch.isfinite(p).all()) for p in model.parameters()) and not any(
        bool(torch.isnan(b).any()) for b in model.buffers()
    )
