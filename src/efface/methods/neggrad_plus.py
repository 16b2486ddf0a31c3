"""neggrad_plus: descend on the retain set while ascending on the forget set."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from efface.data.records import Batch
from efface.methods.base import Problem, Step
from efface.methods.descent import Descent, Source
from efface.runtime.options import option


@dataclass(frozen=True)
class NegGradPlus(Descent):
    """w <- w - lr grad [ alpha CE(retain) - (1 - alpha) CE(forget) ].

    NegGrad+ of Kurmanji et al. (SCRUB, arXiv 2302.09880), there with alpha 0.95 for 10 epochs at 0.01. The ascent
    has no bound, so long runs destroy utility.
    """

    key = "neggrad_plus"
    summary = "descend on the retain set while ascending on the forget set"
    source = "Kurmanji et al., arXiv 2302.09880"

    alpha: float = option(0.95, "weight of the retain loss", 0.0, 1.0)

    def run(self, problem: Problem) -> Iterator[Step]:
        def loss(retain: Batch, forget: Batch) -> Tensor:
            z_retain, z_forget = problem.logits(retain, forget)
            ascent = problem.loss(z_forget, forget)
            return self.alpha * problem.loss(z_retain, retain) - (1 - self.alpha) * ascent

        return self.sgd(problem, loss, [Source("retain", problem.retain), Source("forget", problem.forget)])
