"""l1_sparse: go on training on the retain set, with a penalty that makes weights small and then fades."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from torch import Tensor

from efface.data.records import Batch
from efface.methods.base import Problem, Step
from efface.methods.curvature import flat
from efface.methods.descent import Descent, Source
from efface.runtime.options import option


@dataclass(frozen=True)
class L1Sparse(Descent):
    """w <- w - lr grad [ CE(retain) + alpha (1 - k / steps) |w|_1 ] at step k = 0, 1, ...

    l1-sparse MU of Jia et al., there for 10 epochs at 0.01, with weight decay 5e-4 and alpha between 1e-6 and 5e-4 in
    public code (whose default of 0.2 is that of another method). There the penalty fades from epoch to epoch, here from
    step to step. Weights that may not move are left out of it.
    """

    key = "l1_sparse"
    summary = "go on training on the retain set with a fading L1 penalty"
    source = "Jia et al. (Unlearn-Sparse), arXiv 2304.04934"

    alpha: float = option(1e-4, "weight of the L1 penalty at the first step", 0.0, 1e3)
    decay: float = option(5e-4, "weight decay", 0.0, 1.0)

    def run(self, problem: Problem) -> Iterator[Step]:
        moving, steps = problem.trainable(), count()

        def loss(retain: Batch) -> Tensor:
            alpha = self.alpha * (1 - next(steps) / self.steps)
            return problem.loss(problem.logits(retain)[0], retain) + alpha * flat(moving).abs().sum()

        optimiser = self.make_optimiser(problem, decay=self.decay)
        return self.sgd(problem, loss, [Source("retain", problem.retain)], optimiser=optimiser)
