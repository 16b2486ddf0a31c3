"""What a model computes below its last layer, and a last layer fitted afresh to it."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efface.data.records import Records
from efface.models import device_of, mode
from efface.runtime import Meter
from efface.task import Task
from efface.types import Indices

Head = Callable[[Tensor], Tensor]

RIDGE = 1e-3  # of squared weights, beside the mean loss
ROUNDS = 50  # of L-BFGS; twice as many change nothing that an AUC would show
LEAST_SCALE = 1e-3  # of a feature, as a share of that of the largest


def penultimate(
    task: Task, model: nn.Module, records: Records, positions: Indices, meter: Meter
) -> tuple[Tensor, Tensor] | None:
    """Features (n, d) that the model's last layer reads, and its logits (n, classes), in eval mode, on the CPU.

    The last layer is the last nn.Linear to run that has an output for each class. None where there is none, or where
    it is all that the model has learned: its features are then the inputs, the same in every model.
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
                features.append(read.flatten(1).float().cpu())
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


def probe(features: Tensor, targets: Tensor, classes: int) -> Head:
    """A last layer fitted to features (n, d) of retain records: logistic regression with a small ridge, from zero.

    Gives logits (n, classes), float64, of other features. What it still tells of forget records, no last layer hid.
    """
    x, y = features.double(), targets.cpu()
    mean, std = x.mean(0), x.std(0)
    # a feature that hardly moves on retain records must not rule elsewhere
    scale = std.clamp_min(max(LEAST_SCALE * float(std.max()), 1e-12))
    scaled = (x - mean) / scale
    weights = torch.zeros(x.shape[1] + 1, classes, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=ROUNDS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = F.cross_entropy(scaled @ weights[:-1] + weights[-1], y) + RIDGE / 2 * weights[:-1].square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimiser.step(loss)
    fitted = weights.detach()

    def head(others: Tensor) -> Tensor:
        return (others.double() - mean) / scale @ fitted[:-1] + fitted[-1]

    return head
