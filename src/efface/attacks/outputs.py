"""What an attack may see: one model's logits on forget records and on nonmembers, and on slightly changed copies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from efface.attacks.probe import Head, probe
from efface.data.records import Batch, Records, leaves_in, map_tensors, tensors_in
from efface.models.features import penultimate
from efface.models.running import device_of, logits_of, mode
from efface.runtime.cost import Meter
from efface.runtime.seeds import derive_seed
from efface.task import Task
from efface.types import Indices

Perturb = Callable[[Any, torch.Generator], Any]

COPIES = 4
DRAWN = 1024  # records whose copies are drawn together
NOISE = 0.1  # standard deviation of the noise on copies, as a share of the inputs' own
SAMPLE = 1024  # training records from which the inputs' own is read


@dataclass(frozen=True)
class RecordOutputs:
    """One model's logits on one set of records: `logits` (n, classes), `copies` (COPIES, n, classes) or None.

    `probe` (n, classes) are the logits of a last layer fitted afresh to the model's features of retain records, and
    `features` (n, d) those features where they were asked for; both None where the model has no such layer.
    """

    logits: Tensor
    targets: Tensor
    copies: Tensor | None
    probe: Tensor | None = None
    features: Tensor | None = None


@dataclass(frozen=True)
class ModelOutputs:
    """One model on the forget records and on nonmembers (audit holdout records)."""

    forget: RecordOutputs
    nonmembers: RecordOutputs


def copier(task: Task, records: Records) -> Perturb | None:
    """What makes slightly changed copies: Task.perturb, else noise on float inputs; None where there are none."""
    if task.perturb is not None:
        return task.perturb
    at = np.linspace(0, len(records) - 1, min(len(records), SAMPLE)).astype(np.int64)
    inputs = list(tensors_in(records.read(at).inputs))
    if not any(t.is_floating_point() for t in inputs):
        return None
    # one scale for forget records and nonmembers alike, whatever company a record is read in
    spread = [float(t.double().std()) if t.is_floating_point() and t.numel() > 1 else 0.0 for t in inputs]
    return partial(add_noise, scales=[NOISE * s for s in spread])


def view(
    task: Task,
    model: nn.Module,
    records: Records,
    positions: Indices,
    seed: int,
    meter: Meter,
    perturb: Perturb | None,
    head: Head | None = None,
    keep_features: bool = False,
) -> RecordOutputs:
    """Logits of `model` on the records, in eval mode; every model sees the same copies for the same seed."""
    features = None
    if head is not None and (seen := penultimate(task, model, records, positions, meter)) is not None:
        features, logits = seen
    else:
        logits = logits_of(task, model, records, positions, meter)
    copies = None
    if perturb is not None:
        seeds = [derive_seed(seed, "copy", str(k)) for k in range(COPIES)]
        copies = torch.stack([_copy(task, model, records, positions, s, meter, perturb) for s in seeds])
    refitted = None if head is None or features is None else head(features)
    return RecordOutputs(logits, records.targets(positions), copies, refitted, features if keep_features else None)


def _copy(
    task: Task, model: nn.Module, records: Records, positions: Indices, seed: int, meter: Meter, perturb: Perturb
) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    device = device_of(model)
    # drawn in the order of the data set, so that a record's copy does not depend on the order of the request
    order = np.argsort(positions)
    parts = []
    with mode(model, training=False), torch.no_grad():
        for batch in records.stream(positions[order], DRAWN):
            changed = Batch(perturb(batch.inputs, generator), batch.targets)
            # drawn for many at once, so that a copy does not depend on Task.batch_size; text cannot be cut
            whole = not all(isinstance(leaf, Tensor) for leaf in leaves_in(changed.inputs))
            size = len(batch) if whole else task.batch_size
            for start in range(0, len(batch), size):
                some = changed if whole else changed.rows(slice(start, start + size))
                parts.append(task.forward(model, some.to(device).inputs).float().cpu())
    meter.count(forward=len(positions))
    return torch.cat(parts)[torch.from_numpy(np.argsort(order))]


def add_noise(inputs: Any, generator: torch.Generator, scales: Sequence[float]) -> Any:
    """Normal noise on every float tensor, with one standard deviation of `scales` for each tensor in order."""
    following = iter(scales)

    def noisy(t: Tensor) -> Tensor:
        scale = next(following)
        if not t.is_floating_point():
            return t
        drawn = torch.randn(t.shape, generator=generator, dtype=torch.float32).to(device=t.device, dtype=t.dtype)
        return t + scale * drawn

    return map_tensors(inputs, noisy)


def collect_outputs(
    task: Task,
    models: Sequence[nn.Module],
    train: Records,
    forget: Indices,
    holdout: Records,
    nonmembers: Indices,
    retain: Indices,
    seed: int,
    meter: Meter,
) -> list[ModelOutputs]:
    """Each model's sight of the same records; `retain` are training positions to fit a new last layer on."""
    perturb = copier(task, train)
    seeds = derive_seed(seed, "forget"), derive_seed(seed, "holdout")
    found = []
    for m in models:
        seen = penultimate(task, m, train, retain, meter)
        head = None if seen is None else probe(seen[0], train.targets(retain), seen[1].shape[1])
        ours = view(task, m, train, forget, seeds[0], meter, perturb, head, keep_features=True)
        found.append(ModelOutputs(ours, view(task, m, holdout, nonmembers, seeds[1], meter, perturb, head)))
    return found
