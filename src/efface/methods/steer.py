"""steer: perturb the weights until forgotten records have the logits of records that the model never saw."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from efface.data.records import Batch
from efface.methods.base import Method, Problem, descend, endless
from efface.methods.targets import read_groups, transported
from efface.models import device_of, logits_of, mode, one_cycle
from efface.numerics.logits import centre
from efface.options import option
from efface.runtime import derive_seed
from efface.types import Step


@dataclass(frozen=True)
class Steer(Method):
    """Steer the weights towards the model that would have been trained without the forget records.

    With target logits t(x) for the forget records (see `targets.transported`), centred logits c and the original's
    c0, it descends on

        scale [ mean |c(x) - a(x)|^2 over forget + hold mean |c(x) - c0(x)|^2 over retain ] + anchor CE(retain)

    in rounds of `steps`, each a one-cycle of Adam's learning rate. The first round aims at a = t; each later one adds
    `refine` times what is still missing, a <- a + refine (t - c), since a squared error with a hold on everything
    else stops short of its target, and most where a record has far to go. The weights may be judged after the second
    round and each later one.

    Assumes that, at equal difficulty, the forget records are to the original what other retain records are (they
    were not chosen for being memorised), and that a record keeps its rank among its kind.
    """

    key = "steer"
    summary = "perturb the weights until forget records have the logits of never-seen records of equal difficulty"
    needs_fresh = True
    source = "efface; inspired by Chen, Wang, Huang, arXiv 2111.05528 (only the abstract could be had)"

    rounds: int = option(3, "most rounds; evidence is looked at after the second and each later one", 1, 100)
    steps: int = option(80, "steps in a round", 1, 10_000)
    lr: float = option(3e-3, "peak learning rate of Adam", 1e-8, 1.0)
    hold: float = option(0.6, "weight of keeping the retain records' logits", 0.0, 1e3)
    anchor: float = option(0.3, "weight of the cross-entropy on retain records", 0.0, 1e3)
    scale: float = option(0.3, "weight of both squared errors", 1e-6, 1e3)
    refine: float = option(1.3, "share of what a round left undone that is added to the next round's target", 0.0, 2.0)
    batch_forget: int = option(96, "forget records in a step", 1, 100_000)
    batch_retain: int = option(96, "retain records in a step", 1, 100_000)

    @property
    def length(self) -> int:
        return self.rounds * self.steps

    @property
    def looks(self) -> int:
        return max(1, self.rounds - 1)

    def run(self, problem: Problem) -> Iterator[Step]:
        with problem.meter.phase("targets"):
            target = transported(*read_groups(problem)).float()
        device = device_of(problem.model)
        target = target.to(device)
        forget = problem.train.read(problem.forget)
        rows = endless(np.arange(len(forget)), self.batch_forget, derive_seed(problem.seed, "steer", "forget"))
        retain = self._retain(problem)
        aim, index = target, 0
        for number in range(self.rounds):
            if number:
                reached = logits_of(problem.task, problem.model, problem.train, problem.forget, problem.meter)
                aim = aim + self.refine * (target - centre(reached).to(device))
            optimiser = torch.optim.Adam(problem.trainable(), lr=self.lr, fused=True)
            schedule = one_cycle(optimiser, self.lr, self.steps)
            for k in range(self.steps):
                at = torch.from_numpy(next(rows))
                kept, keep = next(retain)
                with mode(problem.model, training=False), torch.enable_grad():
                    z_f, z_r = problem.logits(forget.rows(at).to(device), kept)
                    squares = ((centre(z_f) - aim[at.to(device)]) ** 2).mean() + self.hold * (
                        (centre(z_r) - keep) ** 2
                    ).mean()
                    loss = self.scale * squares + self.anchor * F.cross_entropy(z_r, kept.targets)
                    value = descend(optimiser, loss, schedule)
                index += 1
                last = k == self.steps - 1
                yield Step(index, value, at_rest=last and (number > 0 or self.rounds == 1))

    def _retain(self, problem: Problem) -> Iterator[tuple[Batch, Tensor]]:
        """Endless retain batches with the original's centred logits, computed for several batches at once."""
        size = min(self.batch_retain, len(problem.retain))
        group = max(1, min(8, problem.task.batch_size // size))
        for many in problem.batches(problem.retain, size * group, "steer retain"):
            with mode(problem.original, training=False), torch.no_grad():
                keep = centre(problem.task.forward(problem.original, many.inputs).float())
            problem.meter.count(forward=len(many))
            for start in range(0, len(many) - size + 1, size):
                part = slice(start, start + size)
                yield many.rows(part), keep[part]
