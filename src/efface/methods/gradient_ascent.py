"""gradient_ascent: train backwards on the forget set."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from efface.data.records import Batch
from efface.methods.base import Problem, Step
from efface.methods.descent import Descent, Source
from efface.runtime.options import option


@dataclass(frozen=True)
class GradientAscent(Descent):
    """w <- w + lr grad CE(forget), with the gradient shortened to `clip` where it is longer.

    NegGrad of Golatkar et al. Public code uses 1e-4 for 5 epochs over the forget set, which suits whole classes and is
    too small for random records (5e-4 to 1e-3 there), and shortens gradients to 0.1. Nothing holds the retain set, so
    that past a point utility is lost, and without the clip the loss has no bound.
    """

    key = "gradient_ascent"
    summary = "ascend on the forget set"
    source = "Golatkar et al., CVPR 2020 (arXiv 1911.04933)"

    lr: float = option(1e-3, "learning rate of SGD", 1e-8, 10.0)
    clip: float = option(0.1, "most norm of a step's gradient, over all weights together", 1e-9, 1e9)

    def run(self, problem: Problem) -> Iterator[Step]:
        optimiser, moving = self.make_optimiser(problem), problem.trainable()

        def shorten(*_: Any) -> None:
            torch.nn.utils.clip_grad_norm_(moving, self.clip)

        optimiser.register_step_pre_hook(shorten)

        def loss(forget: Batch) -> Tensor:
            return -problem.loss(problem.logits(forget)[0], forget)

        return self.sgd(problem, loss, [Source("forget", problem.forget)], optimiser=optimiser)
