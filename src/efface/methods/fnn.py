"""fnn: let neurons fade, those that the forget records excite the most where asked, and train on the retain set."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from efface.data.records import Batch
from efface.errors import RequestError
from efface.methods.base import Problem, Step
from efface.methods.curvature import batches
from efface.methods.descent import Descent, Source
from efface.models.running import forward, mode
from efface.runtime.options import nearest, option
from efface.runtime.seeds import derive_seed

KINDS = ("fixed", "varying", "ranked")
READERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class Fnn(Descent):
    """w_j <- w_j (1 - r_j) for what a layer reads of neuron j, then w <- w - lr grad CE(retain), over and over.

    Rates r_j are `rate` for all neurons (fixed), drawn once for each from [0, rate] (varying), or rise evenly from 0
    for the neuron of a layer that the forget records excite the least to `rate` for the most excited (ranked), by mean
    absolute value, anew at each decay. Each of the `decays` is followed by an equal share of the steps.

    After Hatua et al. (arXiv 2410.22374), of which we had the abstract and summaries: multiplicative factors for each
    neuron, fixed, varying or ranked by activation, in turn with training, for small networks on MNIST. The paper's
    rates and lengths could not be had: all values were chosen here. We scale the weights that read a neuron and not the
    neuron, which is the same for the layer and leaves the architecture alone; neurons are what linear and convolution
    layers read, except the first to run, which reads the record (unless it is the only one). High rates or many
    decays forget far more than the forget set.
    """

    key = "fnn"
    summary = "fade neurons, by rates ranked by what the forget set excites, and train on the retain set"
    source = "Hatua et al., arXiv 2410.22374"

    rate: float = option(0.3, "largest share of a neuron that one decay takes", 0.0, 1.0)
    rates: str = option("ranked", f"kind of rates: {', '.join(KINDS)}")
    decays: int = option(12, "decays, each followed by an equal share of the steps", 1, 1_000_000)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rates not in KINDS:
            raise RequestError(f"option rates of fnn: {self.rates!r} is unknown ({nearest(self.rates, KINDS)})")

    def run(self, problem: Problem) -> Iterator[Step]:
        before = {n * self.steps // self.decays for n in range(self.decays)}
        done = 0

        def loss(retain: Batch) -> Tensor:
            nonlocal done
            if done in before:
                self.decay(problem)
            done += 1
            return problem.loss(problem.logits(retain)[0], retain)

        return self.sgd(problem, loss, [Source("retain", problem.retain)])

    @torch.no_grad()
    def decay(self, problem: Problem) -> None:
        """Scale the trainable weights that read neurons by 1 - rate; a weight that layers share is scaled once."""
        free = {id(p) for p in problem.trainable()}
        found = activity(problem)
        # drawn on the CPU, from the start, so that a neuron has the same rate at each decay and on every device
        generator = torch.Generator().manual_seed(derive_seed(problem.seed, "fnn", "rates"))
        faded = set()
        for layer, active in list(found.items())[1:] or list(found.items()):
            rates = self.of_neurons(active, generator)
            if id(layer.weight) in free and id(layer.weight) not in faded:
                fade(layer, 1 - rates)
                faded.add(id(layer.weight))
        if not faded:
            raise RequestError("fnn finds no linear or convolution layer above the first whose weight may move")

    def of_neurons(self, active: Tensor, generator: torch.Generator) -> Tensor:
        """Rates of a layer's neurons, (neurons,), from 0 to `rate`.

        Args:
            active: Mean activity of each neuron, (neurons,), 0 or more.
            generator: Random generator on the CPU, for varying rates.
        """
        if self.rates == "fixed":
            return torch.full_like(active, self.rate)
        if self.rates == "varying":
            return self.rate * torch.rand(len(active), generator=generator, dtype=torch.float32).to(active.device)
        rank = torch.empty_like(active)
        rank[active.argsort(stable=True)] = torch.linspace(0, 1, len(active), dtype=active.dtype, device=active.device)
        return self.rate * rank


def activity(problem: Problem) -> dict[Any, Tensor]:
    """Mean absolute inputs (neurons,) of each layer on the forget records, by layer, in the order in which they run."""
    model = problem.model
    totals: dict[nn.Module, Tensor] = {}
    counts: dict[nn.Module, int] = {}

    def add(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        read = args[0] if args else kwargs["input"]
        read = torch.cat(read.unbind()) if read.is_nested else read  # as a TransformerEncoder makes of padded records
        neurons = (read if isinstance(layer, nn.Linear) else read.movedim(1, -1)).flatten(0, -2).float().abs()
        totals[layer] = neurons.sum(0) + totals.get(layer, 0)
        counts[layer] = len(neurons) + counts.get(layer, 0)

    hooks = [m.register_forward_pre_hook(add, with_kwargs=True) for m in model.modules() if isinstance(m, READERS)]
    try:
        with mode(model, training=False), torch.no_grad():
            for batch in batches(problem, problem.forget, problem.task.batch_size):
                forward(problem.task, model, batch)
    finally:
        for hook in hooks:
            hook.remove()
    problem.meter.count(forward=len(problem.forget))
    return {layer: total / counts[layer] for layer, total in totals.items()}


def fade(layer: Any, keep: Tensor) -> None:
    """Scale the weights of a linear or convolution layer in place.

    Args:
        layer: The layer.
        keep: The factor for each neuron that it reads, (neurons,).
    """
    weight = layer.weight
    groups = getattr(layer, "groups", 1)
    # (groups, outputs of a group, neurons of a group, ...)
    parts = weight.view(groups, -1, *weight.shape[1:])
    parts.mul_(keep.view(groups, 1, -1, *[1] * (weight.ndim - 2)).to(weight.dtype))
