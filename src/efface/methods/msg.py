"""msg: begin the weights anew on which forget and retain gradients differ least, then train on the retain set."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from efface.data.records import Batch
from efface.methods.base import Problem, Step
from efface.methods.curvature import batches, gradient, split
from efface.methods.descent import Descent, Source
from efface.methods.init import fresh_values
from efface.models.running import mode
from efface.runtime.options import option
from efface.runtime.seeds import derive_seed
from efface.types import Indices


@dataclass(frozen=True)
class MSG(Descent):
    """w = fresh where |g_retain - g_forget| is small; then w <- w - lr [ m grad CE(retain) + decay w ].

    In each matrix or kernel, the `share` of entries with the smallest difference of the mean gradients of CE begins
    anew, and m is 1 on these and `damp` on the others; biases and other vectors keep their values, with m = 1. The
    gradients are those of the forget set and of as many retain records. An entry to the NeurIPS-2023 challenge on
    unlearning, there with share 0.3, damp 0.1, and 5 epochs at 0.001 with momentum 0.9, decay 5e-4 and batches of 64.

    It does so in convolutions alone, with fresh values by He's normal rule; here it is any matrix or kernel, since not
    every model has convolutions, and fresh values come from the model's own initialisation. Its learning rate rises
    over three epochs and falls over two, and is constant here; its gradients are taken in train mode, here in eval
    mode.
    """

    key = "msg"
    summary = "re-initialise weights whose forget and retain gradients differ least, then train on the retain set"
    source = "NeurIPS-2023 unlearning challenge, by way of Deep Unlearn (arXiv 2410.01276)"

    lr: float = option(1e-3, "learning rate of SGD", 1e-8, 10.0)
    share: float = option(0.3, "share of each matrix or kernel that begins anew", 0.0, 1.0)
    damp: float = option(0.1, "factor on the gradients of its other entries", 0.0, 1.0)
    decay: float = option(5e-4, "weight decay", 0.0, 1.0)

    def run(self, problem: Problem) -> Iterator[Step]:
        rng = np.random.default_rng(derive_seed(problem.seed, "msg", "sample"))
        sample = rng.permutation(problem.retain)[: len(problem.forget)]
        difference = mean_gradient(problem, sample) - mean_gradient(problem, problem.forget)
        fresh = fresh_values(problem, "msg")
        moving = [(n, p) for n, p in problem.model.named_parameters() if p.requires_grad]
        masks: list[tuple[nn.Parameter, Tensor]] = []
        for (name, weight), part in zip(moving, split(difference.abs_(), [p for _, p in moving]), strict=True):
            if weight.dim() > 1:
                anew = smallest(part, self.share).view_as(weight)
                with torch.no_grad():
                    weight.copy_(torch.where(anew, fresh[name], weight))
                masks.append((weight, anew))
        del difference, fresh

        def dampen(*_: Any) -> None:
            for weight, anew in masks:
                if weight.grad is not None:
                    weight.grad.mul_(torch.where(anew, 1.0, self.damp).to(weight.grad.dtype))

        def loss(retain: Batch) -> Tensor:
            return problem.loss(problem.logits(retain)[0], retain)

        optimiser = self.make_optimiser(problem, decay=self.decay)
        optimiser.register_step_pre_hook(dampen)
        yield from self.sgd(problem, loss, [Source("retain", problem.retain)], optimiser=optimiser)


def mean_gradient(problem: Problem, positions: Indices) -> Tensor:
    """Gradient of the mean loss of the training records at `positions` in eval mode, as a flat vector."""
    with mode(problem.model, training=False), torch.enable_grad():
        # one after the other, since each is as large as the weights
        total = reduce(torch.add, (gradient(problem, b) for b in batches(problem, positions)))
    return total / len(positions)


def smallest(values: Tensor, share: float) -> Tensor:
    """Which values, (n,), bool, are the smallest ones that make up a `share`, from 0 to 1; of equal ones the first."""
    chosen = torch.zeros(len(values), dtype=torch.bool, device=values.device)
    chosen[values.argsort(stable=True)[: round(share * len(values))]] = True
    return chosen
