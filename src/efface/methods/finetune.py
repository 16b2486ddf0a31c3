"""finetune: go on training on the retain set alone."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from efface.data.records import Batch
from efface.methods.base import Problem, Step
from efface.methods.descent import Descent, Source


@dataclass(frozen=True)
class Finetune(Descent):
    """w <- w - lr grad CE(retain): hopes that what is no longer rehearsed is forgotten.

    The baseline of most papers (for instance Golatkar et al., CVPR 2020), there for about 10 epochs at 0.01; it
    hardly forgets at small learning rates.
    """

    key = "finetune"
    summary = "go on training on the retain set"
    source = "baseline of Golatkar et al., CVPR 2020 (arXiv 1911.04933)"

    def run(self, problem: Problem) -> Iterator[Step]:
        def loss(retain: Batch) -> Tensor:
            return problem.loss(problem.logits(retain)[0], retain)

        return self.sgd(problem, loss, [Source("retain", problem.retain)])
