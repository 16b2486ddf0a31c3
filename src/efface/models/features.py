"""Features: the inputs of a model's last layer."""

from typing import Any

import torch
from torch import Tensor, nn

from efface.data.records import Records
from efface.models.running import device_of, forward, mode
from efface.runtime.cost import Meter
from efface.task import Task
from efface.types import Indices


def penultimate(
    task: Task, model: nn.Module, records: Records, positions: Indices, meter: Meter, pooled: bool = False
) -> tuple[Tensor, Tensor] | None:
    """Read the inputs of a model's last layer, in eval mode.

    The last layer is the last nn.Linear to run that has an output for each class.

    Args:
        task: The task, for its hooks.
        model: The model.
        records: A dataset.
        positions: Which of its records, (n,).
        meter: Charged with the forward passes.
        pooled: Whether to average over positions if the layer reads several for each record, such as the words of a
            text; otherwise they are concatenated.

    Returns:
        Features, (n, d), and logits, (n, classes), float32 on the CPU. None if there is no such layer, or if it holds
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
            for batch in records.stream(positions, task.batch_size):
                inputs.clear()
                z = forward(task, model, batch.to(device).inputs).cpu()
                read_records += len(z)
                layer, read = inputs.get(z.shape[1], (None, None))
                if layer is None or read is None or len(read) != len(z) or _is_all(layer, model):
                    return None
                joined = read.flatten(1, -2).mean(1) if pooled and read.ndim > 2 else read.flatten(1)
                features.append(joined.float().cpu())
                logits.append(z)
    finally:
        for hook in hooks:
            hook.remove()
        meter.count(forward=read_records)
    if len({f.shape[1] for f in features}) != 1:  # for example sequences that are padded by batch
        return None
    return torch.cat(features), torch.cat(logits)


def _is_all(layer: nn.Module, model: nn.Module) -> bool:
    own = {id(p) for p in layer.parameters()}
    return all(id(p) in own for p in model.parameters())
