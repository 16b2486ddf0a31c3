"""bad_teacher: learn from a network that knows nothing on the forget set, and from the original on the retain set."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from efface.data.records import Batch
from efface.methods.base import Problem, Step
from efface.methods.descent import Descent, Source, divergence, teacher_logits
from efface.models.init import fresh_model
from efface.runtime.options import option
from efface.runtime.seeds import derive_seed


@dataclass(frozen=True)
class BadTeacher(Descent):
    """w <- Adam on [ sum over forget KL(random || w) + sum over retain KL(original || w) ] / (f + k).

    The random teacher is a network from a fresh start, and the k retain records are a `share` of the retain set. Public
    code shuffles both kinds together: 1 epoch over them at 1e-4, batches of 256, 30 % of retain, temperature 1. Here
    each step has a batch of either kind, weighted so that its gradient is on average the same. The mean is over
    records; torch's own mean, over classes as well, is smaller by their number. The outputs of an
    untrained network on a record are not those of a network trained without it.
    """

    key = "bad_teacher"
    summary = "learn from a random network on the forget set and from the original on the retain set"
    source = "Chundawat et al., AAAI 2023, arXiv 2205.08096"
    needs_classes = True

    lr: float = option(1e-4, "learning rate of Adam", 1e-8, 10.0)
    momentum: float = option(0.9, "first beta of Adam", 0.0, 0.999)
    share: float = option(0.3, "share of the retain set that is read", 0.0, 1.0)
    temperature: float = option(1.0, "what the logits of both teachers and of the model are divided by", 1e-3, 1e3)

    def run(self, problem: Problem) -> Iterator[Step]:
        random = fresh_model(problem.task, problem.original, derive_seed(problem.seed, "bad_teacher", "teacher"))
        rng = np.random.default_rng(derive_seed(problem.seed, "bad_teacher", "kept"))
        size = max(1, round(self.share * len(problem.retain)))
        retained = rng.permutation(problem.retain)[:size]
        part = len(problem.forget) / (len(problem.forget) + len(retained))

        def loss(retain: Batch, forget: Batch) -> Tensor:
            z_retain, z_forget = problem.logits(retain, forget)
            stay = divergence(teacher_logits(problem, problem.original, retain), z_retain, self.temperature)
            away = divergence(teacher_logits(problem, random, forget), z_forget, self.temperature)
            return part * away + (1 - part) * stay

        optimiser = self.make_optimiser(problem, adam=True)
        sources = [Source("retain", retained), Source("forget", problem.forget)]
        return self.sgd(problem, loss, sources, optimiser=optimiser)
