"""One Newton step towards the model without the forget set, as several methods take it."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from efface.errors import DivergedError
from efface.kinds import Kind
from efface.methods.base import Method, Problem, Step
from efface.methods.curvature import (
    batch_size,
    batches,
    conjugate_gradients,
    curvature_product,
    gradient,
    split,
)
from efface.models.running import logits_of, mode
from efface.runtime.options import option
from efface.runtime.seeds import derive_seed
from efface.types import Indices


@dataclass(frozen=True)
class Newton(Method, ABC):
    """w = w* + scale / n (C + damping)^-1 sum over the forget set of grad CE, in `rounds` equal parts.

    C is a curvature of the mean loss over `sample` of the n retain records, in eval mode at w*. At `scale` 1
    this is the Newton step of the retain objective from w*, if w* minimises the objective with the forget set. The
    line from w* is straight and the curvature is computed once; the weights may be judged after every part, since the
    length that suits a network cannot be known beforehand.
    """

    rounds: int = option(5, "parts of the move, each followed by an evaluation", 1, 1000)
    scale: float = option(1.0, "length of the whole move in Newton steps", 1e-9, 1e9)
    damping: float = option(1e-5, "added to the diagonal of the curvature", 1e-12, 1e6)
    sample: int = option(1024, "retain records in the curvature", 1, 1_000_000)

    @property
    def length(self) -> int:
        return self.rounds

    @property
    def max_evaluations(self) -> int:
        return self.rounds

    @abstractmethod
    def solve(self, problem: Problem, sample: Indices, vector: Tensor) -> Tensor:
        """Multiply (C + damping)^-1 by a vector.

        Args:
            problem: The problem.
            sample: Positions of the retain records in C.
            vector: One number for each trainable weight.
        """

    def ascent(self, problem: Problem) -> Tensor:
        """What leaves the gradient of the summed loss with the request, one number for each trainable weight."""
        return summed_gradient(problem, problem.forget)

    def run(self, problem: Problem) -> Iterator[Step]:
        rng = np.random.default_rng(derive_seed(problem.seed, "influence", "sample"))
        sample = rng.permutation(problem.retain)[: self.sample]
        with mode(problem.model, training=False), torch.enable_grad():
            move = self.solve(problem, sample, self.ascent(problem)) * (self.scale / len(problem.all_retain))
        weights = problem.trainable()
        # each part is added to the start, since bfloat16 would round away small moves one by one
        parts = [(w, w.detach().clone(), m.view_as(w)) for w, m in zip(weights, split(move, weights), strict=True)]
        targets = problem.train.targets(problem.forget)
        for k in range(1, self.rounds + 1):
            with torch.no_grad():
                for weight, start, full in parts:
                    weight.copy_(start + k / self.rounds * full)
            reached = logits_of(problem.task, problem.model, problem.train, problem.forget, problem.meter)
            value = problem.task.rules.loss(reached, targets).item()
            if not math.isfinite(value):
                raise DivergedError(f"the loss became {value}: try a smaller scale or more damping")
            yield Step(k, value, is_eval_point=True)


@dataclass(frozen=True)
class GaussNewton(Newton, ABC):
    """A Newton step by the Gauss-Newton matrix, the mean of J' H J over retain records, by conjugate gradients.

    H is the Hessian of the loss in the outputs, which for classes is diag p - p p'.
    """

    iterations: int = option(30, "most iterations of conjugate gradients", 1, 100_000)

    def unfit_kind(self, rules: Kind) -> str | None:
        if rules.bends:
            return super().unfit_kind(rules)
        return f"{self.key} needs all outputs of a record, which of {rules.title} are not kept: use woodfisher"

    def solve(self, problem: Problem, sample: Indices, vector: Tensor) -> Tensor:
        held = list(problem.train.stream(sample, batch_size(problem, sample)))

        def product(v: Tensor) -> Tensor:
            parts = (curvature_product(problem, b.to(v.device), v) for b in held)
            return sum(parts, torch.zeros_like(v)) / len(sample) + self.damping * v

        return conjugate_gradients(product, vector, self.iterations)


def summed_gradient(problem: Problem, positions: Indices) -> Tensor:
    """Gradient of the summed loss of training records with respect to the trainable weights, as a flat vector."""
    # one after the other, since each is as large as the weights
    return reduce(torch.add, (gradient(problem, b) for b in batches(problem, positions)))
