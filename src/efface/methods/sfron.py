"""sfron: ascend on the forget set with the weights that matter most to it, descend on the retain set with all."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from efface.data.records import Batch
from efface.methods.base import Problem, Step
from efface.methods.curvature import mean_square, split
from efface.methods.descent import Descent, Source
from efface.runtime.options import option


@dataclass(frozen=True)
class SFRon(Descent):
    """Before every `apart`-th step w <- w - lr grad CE(retain), one of w <- w + lr clip(m alpha grad A(forget)).

    A is the mean of the losses l of a batch with weights l^-even, so that records with a large loss, which are
    forgotten already, count less. m is 1 at weights whose F_forget is at least `select` times their F_retain, else 0: F
    is the mean over batches of the squared gradient of their mean loss, in eval mode at w*. The gradient is
    cut to a norm of `clip` after the mask. lr and alpha fall to 0 by a cosine; one SGD makes the steps of both kinds,
    so that its momentum and decay move weights with m = 0 too.

    Public code has these values (`even` is lambda there, `select` gamma) for a tenth of CIFAR-10, in 1,500 steps. It
    averages weights over the steps too, by a factor that leaves them as they are. The ascent has no bound: others saw
    it turn to NaN on small tasks at these values, which would be reported like any divergence.
    """

    key = "sfron"
    summary = "ascend on the forget set with the weights that matter most to it, descend on the retain set"
    source = "Huang et al. (SFR-on), NeurIPS 2024, arXiv 2409.19732 (by its abstract and public code)"

    alpha: float = option(25.0, "weight of the ascent at the first step", 0.0, 1e6)
    apart: int = option(5, "steps on retain records from one on forget records to the next", 1, 1_000_000)
    even: float = option(0.5, "power of a forget record's loss that its weight is divided by", 0.0, 10.0)
    select: float = option(1.0, "how many times F_retain the F_forget of a weight that ascends must be", 0.0, 1e9)
    clip: float = option(7.0, "most norm of the gradient of an ascent, over all weights together", 1e-9, 1e9)
    decay: float = option(5e-4, "weight decay", 0.0, 1.0)

    def run(self, problem: Problem) -> Iterator[Step]:
        moving, done, ascending = problem.trainable(), 0, False
        masks = self._masks(problem)
        optimiser = self.make_optimiser(problem, decay=self.decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.steps)

        def confine(*_: Any) -> None:
            if ascending:
                for weight, mask in zip(moving, masks, strict=True):
                    if weight.grad is not None:
                        weight.grad.mul_(mask)
                torch.nn.utils.clip_grad_norm_(moving, self.clip)

        def away(forget: Batch) -> Tensor:
            losses = problem.task.rules.losses(problem.logits(forget)[0], forget.targets)
            fallen = (1 + math.cos(math.pi * done / self.steps)) / 2
            return -self.alpha * fallen * evened(losses, self.even)

        def keep(retain: Batch) -> Tensor:
            return problem.loss(problem.logits(retain)[0], retain)

        optimiser.register_step_pre_hook(confine)
        climbs, forget = range(0, self.steps, self.apart), [Source("forget", problem.forget)]
        ascent = self.sgd(problem, away, forget, optimiser=optimiser, numbers=climbs)
        descent = self.sgd(problem, keep, [Source("retain", problem.retain)], optimiser=optimiser)
        for done in range(self.steps):  # `away` reads it
            if done in climbs:
                ascending = True
                next(ascent)
                ascending = False
            step = next(descent)
            schedule.step()
            yield step

    def _masks(self, problem: Problem) -> list[Tensor]:
        """Which weights ascend, for each trainable tensor, in its shape."""
        forget, retain = (mean_square(problem, at, self.batch) for at in (problem.forget, problem.retain))
        moving = problem.trainable()
        # a weight that matters to neither counts as equal
        chosen = split(forget + 1e-15 >= self.select * (retain + 1e-15), moving)
        return [part.view_as(w) for part, w in zip(chosen, moving, strict=True)]


def evened(losses: Tensor, power: float) -> Tensor:
    """Mean of losses, (records,), each with the weight loss^-power, which gets no gradient; a scalar."""
    weights = 1 / (losses.detach() ** power + 1e-15)
    return (weights * losses).sum() / weights.sum()
