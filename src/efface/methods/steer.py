"""steer: perturb the weights until forgotten records have the logits of records that the model never saw."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from efface.calibration.targets import target_logits
from efface.data.records import Batch
from efface.methods.base import Method, Problem, Step, descend, endless
from efface.models.running import device_of, forward, logits_of, mode
from efface.models.training import one_cycle
from efface.numerics.logits import centre, margin, mask_classes, of_classes, squared_error, symlog
from efface.options import option
from efface.runtime.seeds import derive_seed


@dataclass(frozen=True)
class Steer(Method):
    """Steer the weights towards the model that would have been trained without the forget records.

    With target logits t(x) for the forget records (see `targets.target_logits`), centred logits c and the original's
    c0, it descends on

        scale [ mean |c(x) - a(x)|^2 over forget + retain_weight mean |c(x) - c0(x)|^2 over retain ]
            + ce_weight CE(retain)

    in rounds of `steps`, each a one-cycle of Adam's learning rate. The first round aims at a = t; each later one adds
    `refine` times what is still missing, a <- a + refine (t - c), since a squared error with a weight on everything
    else stops short of its target, and most where a record has far to go. It ends when at most `tolerance` of the way
    is left and no record of a wholly forgotten class is still given its class. The weights may be judged after the
    second round and each later one.

    Where the request takes whole classes, c0 and t have the lowest of the other logits in their place.
    """

    key = "steer"
    summary = "perturb the weights until forget records have the logits of never-seen records of equal difficulty"
    needs_fresh = True
    source = "efface; inspired by Chen, Wang, Huang, arXiv 2111.05528 (only the abstract could be had)"

    rounds: int = option(4, "most rounds; an evaluation follows the second and each later one", 1, 100)
    steps: int = option(30, "least steps in a round", 1, 10_000)
    passes: int = option(10, "passes over the forget records in a round, where that takes more steps", 1, 10_000)
    lr: float = option(4e-3, "peak learning rate of Adam", 1e-8, 1.0)
    retain_weight: float = option(3.0, "weight of keeping the retain records' logits", 0.0, 1e3)
    ce_weight: float = option(0.3, "weight of the cross-entropy on retain records", 0.0, 1e3)
    scale: float = option(0.3, "weight of both squared errors", 1e-6, 1e3)
    refine: float = option(1.3, "share of what a round left undone that is added to the next round's target", 0.0, 2.0)
    tolerance: float = option(0.1, "share of the squared way to the target margins that may be left", 0.0, 1.0)
    batch_forget: int = option(192, "forget records in a step", 1, 100_000)
    batch_retain: int = option(96, "retain records in a step", 1, 100_000)

    @property
    def length(self) -> int:
        return self.rounds * self.steps

    def most_steps(self, forget: int) -> int:
        return self.rounds * self._steps(forget)

    def _steps(self, forget: int) -> int:
        """Steps in a round."""
        return max(self.steps, -(-self.passes * forget // self.batch_forget))

    @property
    def max_evaluations(self) -> int:
        return max(1, self.rounds - 1)

    def run(self, problem: Problem) -> Iterator[Step]:
        device, forget_classes = device_of(problem.model), problem.forget_classes
        with problem.meter.phase("targets"):
            counterfactual = problem.counterfactual()
            seen = counterfactual.of_training(problem.forget)
            members, nonmembers = counterfactual.members, counterfactual.nonmembers
            target = target_logits(seen, members, nonmembers, forget_classes).float()
        aim, index = target.to(device), 0
        goal = symlog(margin(target, seen.targets))
        # of the model itself: what is expected of it may leave out classes that it still knows
        known = logits_of(problem.task, problem.model, problem.train, problem.forget, problem.meter)
        way = float((goal - symlog(margin(known, seen.targets))).square().sum())
        # what cannot be cut by record is read again in each step
        uncut = problem.train.read(problem.forget) if problem.train.can_cut else None
        rows = endless(np.arange(len(problem.forget)), self.batch_forget, derive_seed(problem.seed, "steer", "forget"))
        retain = self._retain(problem)
        steps = self._steps(len(problem.forget))
        for number in range(self.rounds):
            optimiser = torch.optim.Adam(problem.trainable(), lr=self.lr, fused=True)
            schedule = one_cycle(optimiser, self.lr, steps)
            with mode(problem.model, training=False):
                for k in range(steps):
                    at = torch.from_numpy(chosen := next(rows))
                    batch, logits = next(retain)
                    forget = problem.train.read(problem.forget[chosen]) if uncut is None else uncut.rows(at)
                    with torch.enable_grad():
                        z_f, z_r = problem.logits(forget.to(device), batch)
                        off = squared_error(centre(z_f, forget_classes), aim[at.to(device)])
                        moved = squared_error(centre(z_r, forget_classes), logits)
                        loss = self.scale * (off + self.retain_weight * moved)
                        if self.ce_weight:
                            loss = loss + self.ce_weight * F.cross_entropy(z_r, batch.targets)
                        value = descend(optimiser, loss, schedule)
                    index += 1
                    if k < steps - 1:
                        yield Step(index, value)
            reached = logits_of(problem.task, problem.model, problem.train, problem.forget, problem.meter)
            missed = float((goal - symlog(margin(reached, seen.targets))).square().sum())
            still = of_classes(seen.targets, forget_classes) & (reached.argmax(1) == seen.targets)
            done = number == self.rounds - 1 or (missed <= self.tolerance * way and not bool(still.any()))
            yield Step(index, value, is_eval_point=number > 0 or done)
            if done:
                return
            aim = aim + self.refine * (target - centre(reached, forget_classes)).to(device)

    def _retain(self, problem: Problem) -> Iterator[tuple[Batch, Tensor]]:
        """Endless retain batches with the logits that they are to keep, computed for several batches at once."""
        size = min(self.batch_retain, len(problem.retain))
        group = max(1, min(8, problem.task.batch_size // size)) if problem.train.can_cut else 1
        for many in problem.batches(problem.retain, size * group, "steer retain"):
            with mode(problem.original, training=False), torch.no_grad():
                keep = mask_classes(forward(problem.task, problem.original, many.inputs), problem.forget_classes)
            problem.meter.count(forward=len(many))
            if group == 1:
                yield many, keep
                continue
            for start in range(0, len(many) - size + 1, size):
                part = slice(start, start + size)
                yield many.rows(part), keep[part]
