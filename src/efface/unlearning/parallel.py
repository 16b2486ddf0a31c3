"""Unlearning one request with several processes of `torch.distributed`, which divide the rows of every batch.

Each process computes its own rows in `Task.forward` and receives the other outputs, and so has the loss of the batch.
Its gradient, times the number of processes, has that loss's as its mean, which DistributedDataParallel takes.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import joblib  # type: ignore[import-untyped]
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parallel import DistributedDataParallel

from efface.data.checks import Findings, read_forget
from efface.data.ids import Forget
from efface.data.nesting import tensors_in
from efface.data.objects import content_bytes
from efface.data.records import Batch, Records
from efface.errors import EffaceError, RequestError
from efface.methods import class_of, get
from efface.methods.base import Method
from efface.methods.descent import Descent
from efface.methods.steer import Steer
from efface.models.checkpoint import weights_digest
from efface.runtime.cost import Cost, PhaseCost
from efface.runtime.options import clear_calls
from efface.task import Task
from efface.unlearning.driver import unlearn as unlearn_alone
from efface.unlearning.nothing import NothingUnlearnedError
from efface.unlearning.result import Result

UNDIVIDED = {"msg", "salun", "sfron"}  # DistributedDataParallel averages what backward() gives, not torch.autograd.grad


@clear_calls("task", method=class_of)
def unlearn(model: nn.Module, *, forget: Forget, task: Task, method: str | Method = "steer", **others: Any) -> Result:
    """Unlearn as `efface.unlearn`, with the rows of every batch divided among the processes of the default group.

    Every process must make the same call. Without a process group it is the same as `efface.unlearn`.

    Args:
        model: As in `efface.unlearn`.
        forget: As in `efface.unlearn`.
        task: As in `efface.unlearn`; here it is always needed.
        method: steer or a descent method, except msg, salun and sfron.
        **others: Further arguments of `efface.unlearn`.

    Returns:
        The same in every process and, up to rounding, as with one; its cost has the CPU seconds of all processes.

    Raises:
        RequestError: Also where the method or model cannot be divided, or the processes got different arguments.
        EffaceError: Also where the processes ended with different weights.
    """
    if not dist.is_available() or not dist.is_initialized():
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise RequestError("several processes were launched: call torch.distributed.init_process_group first")
        return unlearn_alone(model, forget=forget, task=task, method=method, **others)
    if task.structure is not None:
        raise RequestError("records of a structure are read together, and are not divided among processes: use one")
    _check(model, forget, get(method), others.get("seed", 0))
    shared, others["progress"] = Shared(task), others.get("progress") if dist.get_rank() == 0 else False
    try:
        result = unlearn_alone(model, forget=forget, task=replace(task, forward=shared), method=method, **others)
    except NothingUnlearnedError as error:  # the others are asked whether they kept any weights
        raise (EffaceError("only some processes kept a step: use one") if _differs(None) else error) from None
    finally:
        shared.averaged.clear()
    if _differs((weights_digest(result.model), result.evidence.chosen_step)):
        raise EffaceError("the processes ended at different weights, so none are kept: use one process")
    return replace(result, task=task, cost=_joined(_of_all(result.cost)))


@dataclass
class Shared:
    """A `Task.forward` that divides the rows of a batch among the processes and returns all outputs in each of them."""

    task: Task
    averaged: dict[nn.Module, DistributedDataParallel] = field(default_factory=dict)  # wrapped, by the model within
    compared: bool = False  # whether all processes are known to read the same records

    @cached_property
    def can_cut(self) -> bool:
        """Whether batches can be divided by record."""
        return Records(self.task.eval_records or self.task.train, self.task).can_cut

    def __call__(self, model: nn.Module, inputs: Any) -> Tensor:
        tensors, rank, world = list(tensors_in(inputs)), dist.get_rank(), dist.get_world_size()
        if not self.compared:  # the first batch only: it shows a data set that is shuffled or augmented at random
            if _differs(joblib.hash([content_bytes(t) for t in tensors])):
                raise RequestError("the processes read different records: the task must give each of them the same")
            self.compared = True
        if not self.can_cut or _needs_whole_batch(model) or any(t.requires_grad for t in tensors):
            return self.task.forward(model, inputs)
        share = -(-(rows := len(tensors[0])) // world)
        # the last row is repeated if the rows cannot be divided evenly, since exchanged tensors must have equal shapes
        at = (torch.arange(share) + share * rank).clamp(max=rows - 1)
        part = Batch(inputs, at.new_zeros(rows)).rows(at).inputs
        learns = torch.is_grad_enabled() and any(p.requires_grad for p in model.parameters())
        if learns and model not in self.averaged:
            self.averaged[model] = DistributedDataParallel(Pass(self.task, model))
            self.averaged[model].broadcast_buffers = False  # they are equal, and not to be written to between passes
        own: Tensor = self.averaged[model](part) if learns else self.task.forward(model, part)
        if own.requires_grad:
            own.register_hook(lambda slope: slope * world)
        outputs = [torch.empty_like(own) for _ in range(world)]
        dist.all_gather(outputs, own.detach().contiguous())
        return torch.cat([*outputs[:rank], own, *outputs[rank + 1 :]])[:rows]


class Pass(nn.Module):
    """A module that runs a model by `Task.forward`, so that a wrapper hides none of the model's attributes."""

    def __init__(self, task: Task, model: nn.Module) -> None:
        super().__init__()
        self.task, self.model = task, model

    def forward(self, inputs: Any) -> Tensor:
        return self.task.forward(self.model, inputs)


def _needs_whole_batch(model: nn.Module) -> bool:
    """Whether a batch cannot be divided: rows depend on each other or on random draws, or a hook must see all rows."""
    return any(
        m._forward_hooks or m._forward_pre_hooks or (m.training and isinstance(m, _BatchNorm | _DropoutNd))
        for m in model.modules()
    )


def _check(model: nn.Module, forget: Forget, method: Method, seed: object) -> None:
    if not isinstance(method, Steer | Descent) or method.key in UNDIVIDED:
        raise RequestError(f"{method.key} is not divided among processes, only steer and descent methods: use one")
    for kind in (kind for module in model.modules() for kind in type(module).__mro__):
        if kind.__module__.startswith(("torch.distributed", "torch.nn.parallel")):
            raise RequestError(f"{kind.__name__} divides or shards the model itself: give the network within it")
    if _differs((weights_digest(model), repr((read_forget(forget, Findings()), method, seed)))):
        raise RequestError("the processes were given different models, ids to forget, methods or seeds")


def _of_all(value: Any) -> list[Any]:
    """The value of each process, in order of rank; it must be picklable."""
    dist.all_gather_object(found := [None] * dist.get_world_size(), value)
    return found


def _differs(value: object) -> bool:
    return any(other != value for other in _of_all(value))


def _joined(costs: Sequence[Cost]) -> Cost:
    """The sum of CPU seconds, and the wall time of the slowest; examples are the same in all processes."""
    phases = {}
    for name, first in costs[0].phases.items():
        each = [cost.phases.get(name, PhaseCost()) for cost in costs]
        phases[name] = replace(first, wall_s=max(c.wall_s for c in each), cpu_s=sum(c.cpu_s for c in each))
    return Cost(phases)
