"""What a model computes below its last layer."""

from typing import Any

import torch
from torch import Tensor, nn

from efface.data.records import Records
from efface.models.running import device_of, mode
from efface.runtime.cost import Meter
from efface.task import Task
from efface.types import Indices


def penultimate(
    task: Task, model: nn.Module, records: Records, positions: Indices, meter: Meter, pooled: bool = False
) -> tuple[Tensor, Tensor] | None:
    """Features (n, d) that the model's last layer reads, and its logits (n, classes), in eval mode, on the CPU.

    The last layer is the last nn.Linear to run that has an output for each class. None where there is none, or where
    it is all that the model has learned: its features are then the inputs, the same in every model.

    Where it reads several positions of a record, their features are joined, or their mean is taken if `pooled`.
    """
    device = device_of(model)
    inputs: dict[int, tuple[nn.Linear, Tensor]] = {}  # by width, so that no other layer's input is kept

    def keep(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
        assert isinstance(layer, nn.Linear)
        inputs[output.shape[-1]] = (layer, args[0] if args else kwargs["input"])

    hooks = [m.register_forward_hook(keep, with_kwargs=True) for m in model.modules() if isinstance(m, nn.Linear)]
    features, logits = [], []
    try:
        with mode(model, training=False), torch.no_grad():
            for batch in records.stream(positions, task.batch_size):
                inputs.clear()
                z = task.forward(model, batch.to(device).inputs).float().cpu()
                layer, read = inputs.get(z.shape[1], (None, None))
                if layer is None or read is None or len(read) != len(z) or _is_all(layer, model):
                    return None
                joined = read.flatten(1, -2).mean(1) if pooled and read.ndim > 2 else read.flatten(1)
                features.append(joined.float().cpu())
                logits.append(z)
    finally:
        for hook in hooks:
            hook.remove()
        meter.count(forward=sum(map(len, logits)))
    if len({f.shape[1] for f in features}) != 1:  # such as sequences that are padded batch by batch
        return None
    return torch.cat(features), torch.cat(logits)


def _is_all(layer: nn.Module, model: nn.Module) -> bool:
    own = {id(p) for p in layer.parameters()}
    return all(id(p) in own for p in model.parameters())
