"""perturb: the abstract of the paper that inspired efface, taken literally."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from efface.data.records import Batch
from efface.methods.base import Problem, Step
from efface.methods.descent import Descent, Source
from efface.runtime.options import option
from efface.runtime.seeds import derive_seed


@dataclass(frozen=True)
class Perturb(Descent):
    """w0 = w* + noise, then w <- w - lr grad CE(retain), until the evidence calls the forget set never seen.

    The noise of each tensor is normal, with a norm of about `noise` times the tensor's own. This is one reading of
    an abstract (a small perturbation of the weights, iterated in the direction of the model trained with the
    remaining data); nothing in it may be attributed to the authors. No values were published there: 0.2 was chosen
    here.
    """

    key = "perturb"
    summary = "add noise to the weights, then repair on the retain set"
    source = "one reading of the abstract of Chen, Wang, Huang, arXiv 2111.05528"

    noise: float = option(0.2, "norm of a tensor's noise as a share of the tensor's norm", 0.0, 10.0)

    def run(self, problem: Problem) -> Iterator[Step]:
        # drawn on the CPU, so that a seed gives the same noise on every device
        generator = torch.Generator().manual_seed(derive_seed(problem.seed, "perturb", "noise"))
        with torch.no_grad():
            for weight in problem.trainable():
                drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float32).to(weight.device)
                spread = weight.float().square().mean().sqrt()
                weight.add_((self.noise * spread * drawn).to(weight.dtype))

        def loss(retain: Batch) -> Tensor:
            return problem.loss(problem.logits(retain)[0], retain)

        return self.sgd(problem, loss, [Source("retain", problem.retain)])
