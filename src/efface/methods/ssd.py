"""ssd: dampen the weights that matter much more to the forget set than to all records."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from efface.errors import DivergedError
from efface.methods.base import Method, Problem, Step
from efface.methods.curvature import mean_square, split
from efface.models.running import logits_of
from efface.runtime.options import option
from efface.runtime.seeds import derive_seed


@dataclass(frozen=True)
class SSD(Method):
    """w <- w min(dampen F_all / F_forget, 1) wherever F_forget > select F_all: selective synaptic dampening.

    F is the diagonal of the empirical Fisher matrix, the mean over records of the squared gradient of a record's
    loss, in eval mode at w*; F_all = (f F_forget + r F_retain) / (f + r). In the paper `select` is alpha (10
    for ResNet-18; 5 for a class and 10 for random records with a ViT) and `dampen` is lambda (1). The authors' code
    squares the gradients of mini-batches, a quantity that is smaller and depends on their size: `group` does so, of
    one kind of record at a time. At 1 it is the Fisher diagonal itself, with a pass for each record. The paper reports
    that it does well on classes; on random records others find it weak.
    """

    key = "ssd"
    summary = "dampen the weights that matter much more to the forget set than to all records"
    source = "Foster, Schoepf & Brintrup, AAAI 2024, arXiv 2308.07707"

    select: float = option(10.0, "how many times F_all a weight's F_forget must be", 0.0, 1e9)
    dampen: float = option(1.0, "what is left of a weight, in units of F_all / F_forget", 0.0, 1e9)
    sample: int = option(1_000_000_000, "most retain records that F_retain is a mean of", 1, 1_000_000_000)
    group: int = option(1, "records whose mean gradient is squared", 1, 100_000)

    @property
    def length(self) -> int:
        return 1

    @property
    def max_evaluations(self) -> int:
        return 1

    def run(self, problem: Problem) -> Iterator[Step]:
        rng = np.random.default_rng(derive_seed(problem.seed, "ssd", "sample"))
        sample = rng.permutation(problem.retain)[: self.sample]
        f, r = len(problem.forget), len(problem.all_retain)
        forget = mean_square(problem, problem.forget, self.group)
        # in place, since each is as large as the weights
        overall = mean_square(problem, sample, self.group).mul_(r / (f + r)).add_(forget, alpha=f / (f + r))
        selected = forget > self.select * overall
        # nothing is divided by a zero, since what is selected is above one
        factor = (self.dampen * overall / torch.where(selected, forget, 1.0)).clamp_(max=1.0)
        factor = torch.where(selected, factor, 1.0)
        weights = problem.trainable()
        with torch.no_grad():
            for weight, part in zip(weights, split(factor, weights), strict=True):
                weight.copy_(weight * part.view_as(weight))
        reached = logits_of(problem.task, problem.model, problem.train, problem.forget, problem.meter)
        value = problem.task.rules.loss(reached, problem.train.targets(problem.forget)).item()
        if not math.isfinite(value):
            raise DivergedError(f"the loss became {value}: try a larger select")
        yield Step(1, value, is_eval_point=True)
