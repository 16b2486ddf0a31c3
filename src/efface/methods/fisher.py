"""fisher: noise on every weight, the larger the less the outputs on the retain set depend on the weight."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from efface.errors import DivergedError
from efface.methods.base import Method, Problem, Step
from efface.methods.curvature import batches, flat, mean_square, split
from efface.models.running import logits_of, mode
from efface.runtime.options import option
from efface.runtime.seeds import derive_seed
from efface.types import Indices

FLOOR = 1e-8  # added to the diagonal, as in the public code


@dataclass(frozen=True)
class Fisher(Method):
    """w <- w + sqrt(alpha) min(F^-power, sqrt(cap)) noise, for each weight, with standard normal noise.

    F is the diagonal of the Fisher matrix in eval mode, the mean over `sample` retain records of the expectation,
    over the model's own distribution of labels, of the squared derivative of log p(label); exact, by one backward
    pass for each record and class. Where records have no classes it is the squared derivative of the loss itself, the
    empirical Fisher matrix. Golatkar et al. (CVPR 2020) derive the power 1/4; their public code has a variance
    of alpha min(1 / F, cap), so power 1/2, with a cap of 1e3 and alpha 3e-6, and copies of it sweep alpha from 1e-9
    to 1e-6: the power and the cap of the code are the defaults here, since alpha has published values with these
    alone. It is very sensitive to alpha.

    Left out are that code's lower cap for the last layer (1e2), its mean of the variance over each matrix's inputs,
    its tenfold variance for vectors and the last layer, and what it does for a whole class; and it reads all retain
    records. The Newton step that the paper puts before the noise is `influence`; the paper leaves it out for networks.
    """

    key = "fisher"
    summary = "add noise to each weight by the inverse of its Fisher information on the retain set"
    source = "Golatkar et al., CVPR 2020 (arXiv 1911.04933)"

    alpha: float = option(1e-6, "scale of the noise's variance", 1e-15, 1e3)
    power: float = option(0.5, "power of 1 / F in the noise's deviation: 0.5 in public code, 0.25 in theory", 0.0, 2.0)
    cap: float = option(1e3, "most that the variance is before alpha", 1e-9, 1e15)
    sample: int = option(256, "retain records in the Fisher diagonal", 1, 1_000_000)

    @property
    def length(self) -> int:
        return 1

    @property
    def max_evaluations(self) -> int:
        return 1

    def run(self, problem: Problem) -> Iterator[Step]:
        rng = np.random.default_rng(derive_seed(problem.seed, "fisher", "sample"))
        weights = problem.trainable()
        sample = rng.permutation(problem.retain)[: self.sample]
        is_exact = problem.task.rules.has_classes
        diagonal = expected_diagonal(problem, sample) if is_exact else mean_square(problem, sample)
        spread = (diagonal + FLOOR).pow(-self.power).clamp(max=math.sqrt(self.cap)) * math.sqrt(self.alpha)
        # drawn on the CPU, so that a seed gives the same noise on every device
        generator = torch.Generator().manual_seed(derive_seed(problem.seed, "fisher", "noise"))
        with torch.no_grad():
            for weight, deviation in zip(weights, split(spread, weights), strict=True):
                drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float32).to(weight.device)
                # in the wider dtype, and rounded once
                weight.copy_(weight + deviation.view_as(weight) * drawn)
        reached = logits_of(problem.task, problem.model, problem.train, problem.forget, problem.meter)
        value = problem.task.rules.loss(reached, problem.train.targets(problem.forget)).item()
        if not math.isfinite(value):
            raise DivergedError(f"the loss became {value}: try a smaller alpha")
        yield Step(1, value, is_eval_point=True)


def expected_diagonal(problem: Problem, positions: Indices) -> Tensor:
    """The Fisher diagonal, flat: mean over records of the sum over labels y of p(y) (d log p(y) / d w)^2, in eval mode.

    A sum over a batch would square the records' sum and not sum their squares, so the records come one by one.
    """
    weights = problem.trainable()
    total: Tensor | None = None
    with mode(problem.model, training=False), torch.enable_grad():
        for one in batches(problem, positions, 1):
            log_p = F.log_softmax(problem.logits(one)[0][0], 0)
            problem.meter.count(backward=len(log_p) - 1)
            # an unlikely label has a large derivative, so none is left out
            for y, share in enumerate(log_p.detach().exp().tolist()):
                last = y == len(log_p) - 1
                slope = flat(torch.autograd.grad(log_p[y], weights, retain_graph=not last, materialize_grads=True))
                slope.square_().mul_(share / len(positions))
                total = slope if total is None else total.add_(slope)
    assert total is not None, "there is a retain record"
    return total
