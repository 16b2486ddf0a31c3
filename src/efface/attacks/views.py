"""What an attack may see: one model's logits on forget records and on strangers, and on slightly changed copies."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from efface.data.records import Batch, Records, map_tensors, tensors_in
from efface.models import device_of, logits_of, mode
from efface.runtime import Meter, derive_seed
from efface.task import Task
from efface.types import Indices

COPIES = 4
NOISE = 0.1  # standard deviation of the noise on copies, as a share of the inputs' own


@dataclass(frozen=True)
class View:
    """One model's logits on one set of records: `logits` (n, classes), `copies` (COPIES, n, classes) or None."""

    logits: Tensor
    targets: Tensor
    copies: Tensor | None


@dataclass(frozen=True)
class Sight:
    """One model on the forget records and on strangers (audit holdout records)."""

    forget: View
    strangers: View


def can_copy(task: Task, records: Records) -> bool:
    """Whether slightly changed copies can be made: by Task.perturb, or because some input is a float tensor."""
    return task.perturb is not None or any(t.is_floating_point() for t in tensors_in(records.read([0]).inputs))


def view(
    task: Task, model: nn.Module, records: Records, positions: Indices, seed: int, meter: Meter, copy: bool
) -> View:
    """Logits of `model` on the records, in eval mode; every model sees the same copies for the same seed."""
    logits = logits_of(task, model, records, positions, meter)
    copies = None
    if copy:
        copies = torch.stack(
            [_copy(task, model, records, positions, derive_seed(seed, "copy", str(k)), meter) for k in range(COPIES)]
        )
    return View(logits, records.targets(positions), copies)


def _copy(task: Task, model: nn.Module, records: Records, positions: Indices, seed: int, meter: Meter) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    device = device_of(model)
    parts = []
    with mode(model, training=False), torch.no_grad():
        for batch in records.stream(positions):
            inputs = task.perturb(batch.inputs, generator) if task.perturb else add_noise(batch.inputs, generator)
            parts.append(task.forward(model, Batch(inputs, batch.targets).to(device).inputs).float().cpu())
    meter.count(forward=len(positions))
    return torch.cat(parts)


def add_noise(inputs: Any, generator: torch.Generator) -> Any:
    """Normal noise on every float tensor, NOISE times the standard deviation of that tensor's values."""

    def noisy(t: Tensor) -> Tensor:
        if not t.is_floating_point() or t.numel() < 2:
            return t
        drawn = torch.randn(t.shape, generator=generator).to(device=t.device, dtype=t.dtype)
        return t + NOISE * t.std() * drawn

    return map_tensors(inputs, noisy)


def sights(
    task: Task,
    models: Sequence[nn.Module],
    train: Records,
    forget: Indices,
    holdout: Records,
    strangers: Indices,
    seed: int,
    meter: Meter,
) -> list[Sight]:
    """Each model's sight of the same records."""
    copy = can_copy(task, train)
    return [
        Sight(
            view(task, m, train, forget, derive_seed(seed, "forget"), meter, copy),
            view(task, m, holdout, strangers, derive_seed(seed, "strangers"), meter, copy),
        )
        for m in models
    ]
