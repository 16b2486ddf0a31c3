"""The outputs that attacks read: a model's logits on forget records and nonmembers, and on slightly changed copies."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from efface.data.nesting import map_tensors, tensors_in
from efface.data.records import Batch, Records
from efface.data.splits import spread
from efface.kinds import CLASSES, Head, Kind, Perturb
from efface.models.features import penultimate
from efface.models.running import copy_inputs, device_of, forward, logits_of, mode
from efface.runtime.cost import Meter
from efface.runtime.printing import Brief
from efface.runtime.seeds import derive_seed
from efface.task import Task
from efface.types import Indices

COPIES = 4
DRAWN = 1024  # records whose copies are drawn together
NOISE = 0.1  # standard deviation of the noise on copies, as a share of that of the inputs
SAMPLE = 1024  # number of training records that the standard deviation of the inputs is measured on


@dataclass(frozen=True, repr=False)
class RecordSet(Brief):
    """Some records of a data set.

    Args:
        records: The data set.
        positions: Which of its records, in this order.
        seed: Seed by which slightly changed copies of them are drawn.
    """

    records: Records
    positions: Indices
    seed: int = 0


@dataclass(frozen=True, repr=False)
class RecordOutputs(Brief):
    """Outputs of one model on n records.

    Args:
        logits: What is kept of what the model says, (n, k): for classes, the logits.
        targets: The records' labels, (n, ...).
        copies: Logits of slightly changed copies, (COPIES, n, classes); None if no copies were made.
        probe: Logits (n, classes) of a new last layer that was fitted to the model's features of retain records; None
            if the model has no last linear layer above others.
        features: The inputs of the last layer, (n, d); None if they were not asked for or the model has none.
        rules: The kind of the task.
    """

    logits: Tensor
    targets: Tensor
    copies: Tensor | None
    probe: Tensor | None = None
    features: Tensor | None = None
    rules: Kind = CLASSES


@dataclass(frozen=True, repr=False)
class ModelOutputs(Brief):
    """Outputs of one model on the records of an audit.

    Args:
        forget: Outputs on the forget records.
        nonmembers: Outputs on holdout records of the audit.
        head: The new last layer that was fitted to the model's features; None if it has no last linear layer above
            others.
    """

    forget: RecordOutputs
    nonmembers: RecordOutputs
    head: Head | None = None


def copier(task: Task, records: Records) -> Perturb | None:
    """Choose how slightly changed copies of records are made: by Task.perturb, else by normal noise on float inputs.

    Where no input is a float, the task's kind may know a way.

    Args:
        task: The task.
        records: The training records; the noise has NOISE times the standard deviation of their inputs.

    Returns:
        A function of inputs and a random generator that returns changed inputs; None if there is no way.
    """
    if task.perturb is not None:
        return task.perturb
    sample = records.read(spread(len(records), SAMPLE))
    inputs = list(tensors_in(sample.inputs))
    if not any(_takes_noise(t) for t in inputs):
        return task.rules.copier(sample.inputs, sample.targets)
    # the same scale for forget records and nonmembers, which does not depend on the batch
    deviations = [float(t.double().std()) if _takes_noise(t) and t.numel() > 1 else 0.0 for t in inputs]
    return partial(add_noise, scales=[NOISE * s for s in deviations])


def read_outputs(
    task: Task,
    model: nn.Module,
    chosen: RecordSet,
    meter: Meter,
    perturb: Perturb | None = None,
    head: Head | None = None,
    keep_features: bool = False,
) -> RecordOutputs:
    """Compute the outputs of a model on some records, in eval mode.

    Args:
        task: The task, for its hooks.
        model: The model; its mode is restored.
        chosen: The records; every model sees the same copies for the same seed.
        meter: Charged with one forward pass for each record and each copy.
        perturb: Makes the copies, as `copier` returns it; without it there are none.
        head: A new last layer fitted to the model's features, as `Kind.head` returns it.
        keep_features: Whether the outputs include the features that `head` reads.
    """
    records, positions = chosen.records, chosen.positions
    features = None
    if head is not None and (read := penultimate(task, model, records, positions, meter)) is not None:
        features, logits = read
    else:
        logits = logits_of(task, model, records, positions, meter)
    copies = None
    if perturb is not None:
        each = [replace(chosen, seed=derive_seed(chosen.seed, "copy", str(k))) for k in range(COPIES)]
        copies = torch.stack([_copy(task, model, c, meter, perturb) for c in each])
    refitted = None if head is None or features is None else head(features)
    return RecordOutputs(
        logits, records.targets(positions), copies, refitted, features if keep_features else None, task.rules
    )


def join_outputs(one: RecordOutputs, other: RecordOutputs) -> RecordOutputs:
    """The outputs on the records of both, those of `one` first; without features."""

    def both(a: Tensor | None, b: Tensor | None, dim: int = 0) -> Tensor | None:
        return None if a is None or b is None else torch.cat([a, b], dim)

    return RecordOutputs(
        torch.cat([one.logits, other.logits]),
        torch.cat([one.targets, other.targets]),
        both(one.copies, other.copies, 1),
        both(one.probe, other.probe),
        rules=one.rules,
    )


def read_unseen(
    task: Task,
    model: nn.Module,
    chosen: RecordSet,
    meter: Meter,
    perturb: Perturb | None = None,
    head: Head | None = None,
    request: int = 1,
) -> RecordOutputs:
    """As `read_outputs`, of training records that are compared with never-seen ones, each read with itself taken out.

    Args:
        task: As in `read_outputs`.
        model: As in `read_outputs`.
        chosen: The training records.
        meter: As in `read_outputs`.
        perturb: As in `read_outputs`.
        head: As in `read_outputs`.
        request: How many records the request is for.
    """
    parts = task.unseen(chosen.positions, request)
    sets = ((t, replace(chosen, positions=at)) for t, at in parts)
    return reduce(join_outputs, (read_outputs(t, model, s, meter, perturb, head) for t, s in sets))


def _copy(task: Task, model: nn.Module, chosen: RecordSet, meter: Meter, perturb: Perturb) -> Tensor:
    """Logits of one slightly changed copy of each record, drawn by the seed of `chosen`."""
    generator = torch.Generator().manual_seed(chosen.seed)
    device = device_of(model)
    # drawn in the order of the data set, so that a record's copy does not depend on the order of the request
    order = np.argsort(chosen.positions)
    parts = []
    with mode(model, training=False), torch.no_grad():
        for batch in chosen.records.stream(chosen.positions[order], DRAWN):
            changed = Batch(perturb(copy_inputs(batch.inputs), generator), batch.targets)
            # drawn in large batches, so that copies do not depend on Task.batch_size; some batches cannot be cut
            uncut = not (chosen.records.can_cut and changed.can_cut)
            size = len(batch) if uncut else task.batch_size
            for start in range(0, len(batch), size):
                some = changed if uncut else changed.rows(slice(start, start + size))
                parts.append(forward(task, model, some.to(device)).cpu())
    meter.count(forward=len(chosen.positions))
    return torch.cat(parts)[torch.from_numpy(np.argsort(order))]


def _takes_noise(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.layout == torch.strided and not tensor.is_nested


def add_noise(inputs: Any, generator: torch.Generator, scales: Sequence[float]) -> Any:
    """Add normal noise to every float tensor in a nesting of inputs.

    Args:
        inputs: The inputs.
        generator: Random generator on the CPU.
        scales: Standard deviation of the noise for each tensor, in order.
    """
    following = iter(scales)

    def noisy(t: Tensor) -> Tensor:
        scale = next(following)
        if not _takes_noise(t):
            return t
        drawn = torch.randn(t.shape, generator=generator, dtype=torch.float32).to(device=t.device, dtype=t.dtype)
        return t + scale * drawn

    return map_tensors(inputs, noisy)


def collect_outputs(
    task: Task,
    models: Sequence[nn.Module],
    forget: RecordSet,
    nonmembers: RecordSet,
    retain: RecordSet,
    seed: int,
    meter: Meter,
) -> list[ModelOutputs]:
    """Compute the outputs of several models on the same records.

    Args:
        task: The task, for its hooks.
        models: The models.
        forget: The forget records; the noise on copies is scaled by their data set.
        nonmembers: Records that the models did not see.
        retain: Retain records that a new last layer of each model is fitted to.
        seed: Seed of the copies, instead of those of the record sets.
        meter: Charged with what is read.

    Returns:
        The outputs of each model, in order.
    """
    perturb = copier(task, forget.records)
    forget = replace(forget, seed=derive_seed(seed, "forget"))
    nonmembers = replace(nonmembers, seed=derive_seed(seed, "holdout"))
    found = []
    for model in models:
        read = penultimate(task, model, retain.records, retain.positions, meter)
        head = None
        if read is not None:
            head = task.rules.head(read[0], retain.records.targets(retain.positions), read[1])
        on_forget = read_outputs(task, model, forget, meter, perturb, head, keep_features=True)
        found.append(ModelOutputs(on_forget, read_outputs(task, model, nonmembers, meter, perturb, head), head))
    return found


def on_others(
    task: Task, models: Sequence[nn.Module], known: Sequence[ModelOutputs], others: RecordSet, seed: int, meter: Meter
) -> list[ModelOutputs]:
    """Compute the outputs of models on other training records; those on nonmembers are known.

    Args:
        task: The task, for its hooks.
        models: The models.
        known: Their outputs by `collect_outputs`, in the same order.
        others: The records that take the place of the forget records.
        seed: Seed of the copies, as it was given to `collect_outputs`.
        meter: Charged with what is read.
    """
    perturb, others = copier(task, others.records), replace(others, seed=derive_seed(seed, "forget"))
    request = len(known[0].forget.targets)
    read = [read_unseen(task, m, others, meter, perturb, k.head, request) for m, k in zip(models, known, strict=True)]
    return [replace(k, forget=outputs) for k, outputs in zip(known, read, strict=True)]
