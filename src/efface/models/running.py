"""Running models: modes, devices and the logits of records."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from efface.data.nesting import map_tensors, tensors_in
from efface.data.records import Batch, Records
from efface.runtime.cost import Meter
from efface.task import Task
from efface.types import Indices

HELD = 2**26  # numbers of outputs that are held at a time where they are far larger than what is kept of them

_COUNTED: ContextVar[Meter | None] = ContextVar("counted", default=None)
# numbers that a model gives for each number of a target, at most so far, since records may be of several lengths
_SIZES: WeakKeyDictionary[nn.Module, float] = WeakKeyDictionary()


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


def forward(task: Task, model: nn.Module, batch: Batch) -> Tensor:
    """Compute the values of some records in the model's current mode; every pass goes through this function.

    `Task.forward` gets a copy of the inputs, since it may change them in place, remove some or keep them.

    Where outputs are long, as those of language models are, a batch is read in parts, so that no more than HELD numbers
    are held at a time; and with gradients by `Task.micro_batch`. Each part is then computed once more on the way back.

    Args:
        task: The task, for its `forward` and its kind.
        model: The model.
        batch: The records, on the model's device; they do not change.

    Returns:
        Values, (records, k), float32, a tensor that nobody else holds: for classes, the logits.
    """
    rows = rows_at_a_time(task, model, batch)
    if rows >= len(batch):
        return _values(task, model, batch)
    parts = [batch.rows(slice(start, start + rows)) for start in range(0, len(batch), rows)]
    if not torch.is_grad_enabled():
        return torch.cat([_values(task, model, part) for part in parts])
    return torch.cat([checkpoint(_values, task, model, part, use_reentrant=False) for part in parts])


def _values(task: Task, model: nn.Module, batch: Batch) -> Tensor:
    outputs = call_forward(task, model, batch.inputs)
    if task.rules.is_long:
        _SIZES[model] = max(_SIZES.get(model, 0), outputs.numel() / max(1, batch.targets.numel()))
    return task.rules.values(outputs, batch.targets)


def rows_at_a_time(task: Task, model: nn.Module, batch: Batch) -> int:
    """How many records of a batch are read together."""
    learns = task.micro_batch is not None and torch.is_grad_enabled()
    if not (task.rules.is_long or learns) or len(batch) < 2 or not batch.can_cut:
        return len(batch)
    most = min(len(batch), task.micro_batch or len(batch)) if learns else len(batch)
    if not task.rules.is_long:
        return most
    if model not in _SIZES:
        with mode(model, training=False), torch.no_grad():
            _values(task, model, batch.rows(slice(1)))
    return max(1, min(most, int(HELD * len(batch) / max(1, _SIZES[model] * batch.targets.numel()))))


def call_forward(task: Task, model: nn.Module, inputs: Any) -> Any:
    """What `Task.forward` returns for a copy of the inputs, whatever it is; only checks need this."""
    given = task.call(model, copy_inputs(inputs))
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


def copy_model(model: nn.Module, share_frozen: bool = False) -> nn.Module:
    """A deep copy of a model; what it keeps of the graph of its last pass, which cannot be copied, loses the graph.

    Args:
        model: The model.
        share_frozen: Whether frozen parameters of the copy share their memory with the model's, as long as others are
            not frozen; see `own_weights`.
    """
    held = (value for module in model.modules() for value in vars(module).values())
    known: dict[int, Any] = {id(t): t.detach().clone() for t in tensors_in(list(held)) if t.grad_fn is not None}
    if share_frozen and any(p.requires_grad for p in model.parameters()):
        known |= {id(p): _sharing(p) for p in model.parameters() if not p.requires_grad and type(p) is nn.Parameter}
    return copy.deepcopy(model, known)


def own_weights(model: nn.Module, other: nn.Module) -> None:
    """Give a model its own copy of every parameter that shares its memory with one of another model."""
    shared = {p.data_ptr() for p in other.parameters()}
    for parameter in model.parameters():
        if parameter.data_ptr() in shared:
            parameter.data = parameter.data.clone()


def _sharing(parameter: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(parameter.detach(), requires_grad=False)


def logits_of(
    task: Task, model: nn.Module, records: Records, positions: Sequence[int] | Indices, meter: Meter
) -> Tensor:
    """Compute the values of records in eval mode, without gradients: for classes, the logits.

    Args:
        task: The task, for its hooks and batch size.
        model: The model.
        records: A dataset.
        positions: Which of its records.
        meter: Charged with the forward passes.

    Returns:
        Values, (records, k), float32 on the CPU.
    """
    device = device_of(model)
    parts = []
    with mode(model, training=False), torch.no_grad():
        for batch in records.stream(positions, task.batch_size):
            parts.append(forward(task, model, batch.to(device)).cpu())
    meter.count(forward=len(positions))
    return torch.cat(parts)


def unseen_logits(
    task: Task, model: nn.Module, records: Records, positions: Indices, request: int, meter: Meter
) -> Tensor:
    """As `logits_of`, of training records that are compared with never-seen ones: each is read with itself taken out.

    Args:
        task: The task.
        model: The model.
        records: The training records.
        positions: Which of them.
        request: How many records the request is for.
        meter: Charged with the forward passes.
    """
    return torch.cat([logits_of(t, model, records, at, meter) for t, at in task.unseen(positions, request)])


def joint_logits(task: Task, model: nn.Module, batches: Sequence[Batch]) -> list[Tensor]:
    """Compute values of several batches with gradients, in one call of the model if the inputs can be concatenated.

    Args:
        task: The task, for its hooks.
        model: The model, in its current mode.
        batches: The batches, on the model's device.

    Returns:
        Values of each batch, (records, k), float32.
    """
    first = batches[0]
    if all(_is_joinable(b) and _rows_alike(b, first) for b in batches):
        joined = Batch(torch.cat([b.inputs for b in batches]), torch.cat([b.targets for b in batches]))
        return list(torch.split(forward(task, model, joined), [len(b) for b in batches]))
    return [forward(task, model, b) for b in batches]


def _rows_alike(one: Batch, other: Batch) -> bool:
    """Whether records of two batches have inputs and targets of one shape."""
    return one.inputs.shape[1:] == other.inputs.shape[1:] and one.targets.shape[1:] == other.targets.shape[1:]


def _is_joinable(batch: Batch) -> bool:
    """Whether inputs are a tensor with one row for each record."""
    return isinstance(batch.inputs, Tensor) and batch.can_cut


def all_finite(model: nn.Module) -> bool:
    """Whether all parameters are finite and no buffer is NaN; buffers may be infinite, as in attention masks."""
    return all(_is_finite(p) for p in model.parameters()) and not any(
        bool(torch.isnan(b).any()) for b in model.buffers()
    )


def _is_finite(tensor: Tensor) -> bool:
    # by the extremes, which need no further memory and are NaN where a value is
    if tensor.numel() and tensor.is_floating_point() and tensor.element_size() > 1:
        return all(bool(end.isfinite()) for end in tensor.detach().aminmax())
    return bool(torch.isfinite(tensor).all())
