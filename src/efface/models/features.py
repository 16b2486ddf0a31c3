"""Features: the inputs of a model's last layer."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from efface.data.records import Batch, Records
from efface.models.running import call_forward, device_of, logits_of, mode, rows_at_a_time
from efface.runtime.cost import Meter
from efface.task import Task
from efface.types import Indices


def penultimate(
    task: Task, model: nn.Module, records: Records, positions: Indices, meter: Meter, pooled: bool = False
) -> tuple[Tensor, Tensor] | None:
    """Read the inputs of a model's last layer, in eval mode.

    The last layer is the last nn.Linear to run that has an output for each class, or for each value. Features of
    several positions are averaged where outputs have positions too.

    Args:
        task: The task, for its hooks.
        model: The model.
        records: A dataset.
        positions: Which of its records, (n,).
        meter: Charged with the forward passes.
        pooled: Whether to average over positions if the layer reads several for each record, such as the words of a
            text; otherwise they are concatenated.

    Returns:
        Features, (n, d), and values, (n, k), float32 on the CPU. None if there is no such layer, or if it holds
        all parameters of the model, since its features are then the inputs.
    """
    device = device_of(model)
    inputs: dict[int, tuple[nn.Linear, Tensor]] = {}  # by output width, so that few inputs are held in memory

    def keep(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
        assert isinstance(layer, nn.Linear)
        if not output.is_nested:  # as a TransformerEncoder makes of padded records; no logits, and without a width
            inputs[output.shape[-1]] = (layer, args[0] if args else kwargs["input"])

    hooks = [m.register_forward_hook(keep, with_kwargs=True) for m in model.modules() if isinstance(m, nn.Linear)]
    features, logits, read_records = [], [], 0
    try:
        with mode(model, training=False), torch.no_grad():
            for batch in _small_batches(task, model, records, positions):
                inputs.clear()
                outputs = call_forward(task, model, batch.to(device).inputs)
                read_records += len(batch)
                layer, read = inputs.get(outputs.shape[-1] if outputs.ndim > 1 else 1, (None, None))
                if layer is None or read is None or len(read) != len(batch) or _is_all(layer, model):
                    return None
                pools = read.ndim > 2 and (pooled or outputs.ndim > 2)
                features.append((read.flatten(1, -2).mean(1) if pools else read.flatten(1)).float().cpu())
                logits.append(task.rules.values(outputs, batch.targets.to(device)).cpu())
    finally:
        for hook in hooks:
            hook.remove()
        meter.count(forward=read_records)
    if len({f.shape[1] for f in features}) != 1:  # for example sequences that are padded by batch
        return None
    return torch.cat(features), torch.cat(logits)


def describe(task: Task, model: nn.Module, places: Sequence[tuple[Records, Indices]], meter: Meter) -> list[Tensor]:
    """Describe records by a model's features; by its values where features cannot be read.

    Args:
        task: The task, for its hooks.
        model: The model.
        places: Datasets, each with the positions of the records to describe, (n,).
        meter: Charged with the forward passes.

    Returns:
        For each of `places` a tensor (n, d), on the CPU.
    """
    read = [penultimate(task, model, records, at, meter) for records, at in places]
    features = [one[0] for one in read if one is not None]
    if len(features) == len(places) and len({f.shape[1] for f in features}) == 1:
        return features
    return [
        logits_of(task, model, records, at, meter) if one is None else one[1]
        for one, (records, at) in zip(read, places, strict=True)
    ]


def nearest_rows(records: Tensor, others: Tensor, most: int | None = None) -> Indices:
    """Find the other records that are nearest to some records, by the cosine of what describes them.

    Args:
        records: What describes the records, (n, d).
        others: The same of the others, (m, d); their mean is the origin.
        most: At most so many rows, those that are nearest to their record.

    Returns:
        Rows of `others`, sorted, each once: at most one for each of the records.
    """
    level = others.double().mean(0)
    of_records, of_others = (nn.functional.normalize(v.double() - level, dim=1) for v in (records, others))
    parts = [(part @ of_others.T).max(1) for part in of_records.split(512)]
    nearness, best = torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts])
    ordered = dict.fromkeys(best[nearness.argsort(descending=True, stable=True)].tolist())  # each once
    return np.array(sorted(list(ordered)[:most]), dtype=np.int64)


def _small_batches(task: Task, model: nn.Module, records: Records, positions: Indices) -> Iterator[Batch]:
    """Batches whose outputs can be held at a time."""
    for batch in records.stream(positions, task.batch_size):
        rows = rows_at_a_time(task, model, batch.to(device_of(model)))
        if rows >= len(batch):
            yield batch
        else:
            yield from (batch.rows(slice(start, start + rows)) for start in range(0, len(batch), rows))


def _is_all(layer: nn.Module, model: nn.Module) -> bool:
    own = {id(p) for p in layer.parameters()}
    return all(id(p) in own for p in model.parameters())
