"""fcs: flatten the outputs on the forget set, then contrast them with retain outputs and train on the retain set."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from efface.data.records import Batch
from efface.methods.base import Problem, Step
from efface.methods.descent import Descent, Source, divergence
from efface.numerics.logits import fill_masked, mask_like
from efface.runtime.options import option


@dataclass(frozen=True)
class FCS(Descent):
    """w <- w - lr_flat grad KL(uniform || forget); then, in turn, steps by `lr_push` on
    -mean over j of log softmax_j(z_forget . z_retain_j / temperature), and by `lr` on CE(retain) + decay |w|^2 / 2.

    The first is one pass over the forget set; in each of `rounds`, the second is such a pass, each batch beside one of
    retain records whose logits z get no gradient, and the third is an equal part of `steps`. The second is least where
    a forget record is equally similar to all retain records of its batch, so it pushes each away from the most similar
    ones. Its rate falls by a cosine over the run. The winning entry ("fanchuan") of the NeurIPS-2023 challenge on
    unlearning, there with 8 rounds, each of one epoch, and the defaults here (a rate of 0.001 for every 64 of 256
    retain records).

    Retain and forget records go through the model together, so that BatchNorm sees both at once, and forget batches
    are as large as retain batches. The passes over the forget set come on top of `steps`, and cost what they cost.
    """

    key = "fcs"
    summary = "flatten forget outputs, then contrast them with retain outputs and train on the retain set, in turn"
    source = "winner of the NeurIPS-2023 unlearning challenge (arXiv 2406.09073), by way of arXiv 2410.01276"
    needs_classes = True

    steps: int = option(120, "steps on retain records; passes over the forget records come on top", 1, 1_000_000)
    every: int = option(45, "such steps between evaluations", 1, 1_000_000)
    lr: float = option(4e-3, "learning rate of SGD on retain records", 1e-8, 10.0)
    batch: int = option(256, "records of each kind in a step", 2, 100_000)
    rounds: int = option(8, "rounds of a pass over the forget records and a part of the steps", 1, 100_000)
    lr_flat: float = option(5e-3, "learning rate of the first pass", 0.0, 10.0)
    lr_push: float = option(3e-4, "learning rate at first of the passes that contrast", 0.0, 10.0)
    temperature: float = option(1.15, "temperature of the similarity", 1e-3, 1e3)
    decay: float = option(0.01, "weight decay in steps on retain records", 0.0, 1.0)

    def run(self, problem: Problem) -> Iterator[Step]:
        def flatten(forget: Batch) -> Tensor:
            z = problem.logits(forget)[0]
            return divergence(mask_like(torch.zeros_like(z), z), z)

        def push(forget: Batch, retain: Batch) -> Tensor:
            z_forget, z_retain = problem.logits(forget, retain)
            return contrast(fill_masked(z_forget, 0.0), fill_masked(z_retain.detach(), 0.0), self.temperature)

        def keep(retain: Batch) -> Tensor:
            return problem.loss(problem.logits(retain)[0], retain)

        forget, retain = problem.forget, problem.retain
        per_pass = -(-len(forget) // self.batch)
        # with fewer steps than rounds, some begin at the same step and are one
        begin = {r * self.steps // self.rounds for r in range(self.rounds)}
        pushes = len(begin) * per_pass
        flat, pushing = (self._without_decay(problem, rate) for rate in (self.lr_flat, self.lr_push))
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(pushing, pushes, eta_min=min(1e-6, self.lr_push))
        flattening = [Source("forget", forget)]
        for _ in self.sgd(problem, flatten, flattening, optimiser=flat, numbers=range(per_pass)):
            pass
        # one stream each for the whole run: a round goes on where the one before it ended
        pairs = [Source("contrasted", forget), Source("beside", retain)]
        contrasting = self.sgd(problem, push, pairs, optimiser=pushing, numbers=range(pushes))
        optimiser = self.make_optimiser(problem, decay=self.decay)
        keeping = self.sgd(problem, keep, [Source("retain", retain)], optimiser=optimiser)
        for k in range(self.steps):
            for _ in range(per_pass if k in begin else 0):
                next(contrasting)
                cosine.step()
            yield next(keeping)

    def _without_decay(self, problem: Problem, lr: float) -> torch.optim.Optimizer:
        return torch.optim.SGD(problem.trainable(), lr=lr, momentum=self.momentum)


def contrast(forget: Tensor, retain: Tensor, temperature: float) -> Tensor:
    """Contrastive loss: the mean over pairs of -log softmax, over retain records, of dot products / temperature.

    Args:
        forget: Outputs on forget records, (n, classes).
        retain: Outputs on retain records, (m, classes).
        temperature: Temperature, positive.
    """
    return -F.log_softmax(forget @ retain.T / temperature, 1).mean()
