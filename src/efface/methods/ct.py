"""ct: transpose the kernels of all convolutions, then train on the retain set."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from efface.data.records import Batch
from efface.methods.base import Problem, Step
from efface.methods.descent import Descent, Source
from efface.runtime.options import option


@dataclass(frozen=True)
class CT(Descent):
    """w = w* with rows and columns of each square kernel of a Conv2d exchanged; then w <- w - lr [ grad CE(retain) +
    decay w ].

    An entry to the NeurIPS-2023 challenge on unlearning, there for 3 epochs at 0.001, falling by a cosine from epoch to
    epoch, with momentum 0.9, decay 5e-4 and batches of 64. The rate is constant here. Kernels of 1 x 1 are what they
    were, those that are not square stay (a transposed one would read other neighbours, or not fit), and a kernel that
    layers share is transposed once. A model without any other kernel that may move is refused.
    """

    key = "ct"
    summary = "transpose the kernels of all convolutions, then train on the retain set"
    source = "NeurIPS-2023 unlearning challenge, by way of Deep Unlearn (arXiv 2410.01276) and its public code"

    lr: float = option(1e-3, "learning rate of SGD", 1e-8, 10.0)
    decay: float = option(5e-4, "weight decay", 0.0, 1.0)

    def unfit(self, model: nn.Module) -> str | None:
        if kernels(model):
            return None
        return "ct transposes square kernels of nn.Conv2d, larger than 1 x 1, and the model has none that may move"

    def run(self, problem: Problem) -> Iterator[Step]:
        with torch.no_grad():
            for kernel in kernels(problem.model):
                kernel.copy_(kernel.mT.clone())

        def loss(retain: Batch) -> Tensor:
            return problem.loss(problem.logits(retain)[0], retain)

        optimiser = self.make_optimiser(problem, decay=self.decay)
        return self.sgd(problem, loss, [Source("retain", problem.retain)], optimiser=optimiser)


def kernels(model: nn.Module) -> list[nn.Parameter]:
    """Square kernels of Conv2d layers, larger than 1 x 1, that may move (any, where nothing may), each once."""
    frozen = not any(p.requires_grad for p in model.parameters())
    held = [dict(m.named_parameters(recurse=False)) for m in model.modules() if isinstance(m, nn.Conv2d)]
    # of a parametrised layer, `weight` is no parameter
    found = {id(own["weight"]): own["weight"] for own in held if "weight" in own}
    return [w for w in found.values() if w.shape[-1] == w.shape[-2] > 1 and (frozen or w.requires_grad)]
