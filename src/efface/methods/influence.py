"""influence and woodfisher: one Newton step towards the model without the forget set, by two kinds of curvature."""

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
from efface.methods.curvature import BATCH, batches, conjugate_gradients, curvature_product, gradient, split
from efface.models.running import logits_of, mode
from efface.options import option
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

    def run(self, problem: Problem) -> Iterator[Step]:
        rng = np.random.default_rng(derive_seed(problem.seed, "influence", "sample"))
        sample = rng.permutation(problem.retain)[: self.sample]
        with mode(problem.model, training=False), torch.enable_grad():
            # one after the other, since each is as large as the weights
            ascent = reduce(torch.add, (gradient(problem, b) for b in batches(problem, problem.forget)))
            move = self.solve(problem, sample, ascent) * (self.scale / len(problem.all_retain))
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
class Influence(Newton):
    """w = w* + scale / n (G + damping)^-1 sum over the forget set of grad CE, by conjugate gradients.

    G is the Gauss-Newton matrix, the mean of J' H J over retain records, with H the Hessian of the loss in the outputs,
    which for classes is diag p - p p'; see Newton for the rest. It is the influence function of Koh & Liang summed over
    the forget set; they leave one record out, and damp the Hessian itself, which is not positive for a network. A
    Newton step with a positive curvature and many records is that of Golatkar et al. (CVPR 2020, arXiv 1911.04933),
    whose noise we leave out. On a network few iterations do most of the damping, at whatever size its gradients have;
    an exact solution wants many. The published step is one whole Newton step, the default; iterations, damping and
    sample were chosen here.
    """

    key = "influence"
    summary = "one Newton step away from the forget set: Gauss-Newton curvature, conjugate gradients"
    source = "Koh & Liang, arXiv 1703.04730"

    iterations: int = option(30, "most iterations of conjugate gradients", 1, 100_000)

    def unfit_kind(self, rules: Kind) -> str | None:
        if rules.bends:
            return super().unfit_kind(rules)
        return f"influence needs all outputs of a record, which of {rules.title} are not kept: use woodfisher"

    def solve(self, problem: Problem, sample: Indices, vector: Tensor) -> Tensor:
        held = list(problem.train.stream(sample, BATCH))

        def product(v: Tensor) -> Tensor:
            parts = (curvature_product(problem, b.to(v.device), v) for b in held)
            return sum(parts, torch.zeros_like(v)) / len(sample) + self.damping * v

        return conjugate_gradients(product, vector, self.iterations)


@dataclass(frozen=True)
class WoodFisher(Newton):
    """w = w* + scale / n (F + damping)^-1 sum over the forget set of grad CE, record by record.

    F is the empirical Fisher matrix, the mean of g g' over retain records; see Newton for the rest. The inverse is
    the recursion of Singh & Alistarh (arXiv 2004.14340) applied to a vector, with a vector kept for each record of the
    sample; the code of Unlearn-Sparse keeps one for all, which gives another matrix than the inverse. It also takes
    the mean retain gradient off each forget gradient and divides by all records, which is the same where w* is an
    optimum. There, 1,000 records make F, and the scale is swept by hand (1e-9 to 1e-6, or 0.2), in units that hold for
    that code alone; it is in Newton steps here, and `sample` is smaller for memory's sake. F is too small where the
    model fits its labels well, so that a whole step by it goes too far: half of one is the default.
    """

    key = "woodfisher"
    summary = "one Newton step away from the forget set: empirical Fisher curvature, inverted record by record"
    source = "Jia et al. (Unlearn-Sparse), arXiv 2304.04934"

    scale: float = option(0.5, "length of the whole move in Newton steps", 1e-9, 1e9)
    damping: float = option(1e-3, "added to the diagonal of the curvature", 1e-12, 1e6)
    sample: int = option(256, "retain records in the curvature; memory for as many copies of the weights", 1, 100_000)

    def solve(self, problem: Problem, sample: Indices, vector: Tensor) -> Tensor:
        solved = vector / self.damping
        # row i is F^-1 g of record i, by the F of the records before it
        rows, lengths = vector.new_empty(len(sample), len(vector)), vector.new_empty(len(sample))
        for i, one in enumerate(batches(problem, sample, 1)):
            g, before = gradient(problem, one), rows[:i]
            rows[i] = g / self.damping - before.T @ (before @ g / lengths[:i])
            lengths[i] = len(sample) + g @ rows[i]
            solved -= rows[i] * (rows[i] @ vector / lengths[i])
        return solved
