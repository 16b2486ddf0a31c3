"""steer: perturb the weights until forgotten records have the logits of records that the model never saw."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from efface.calibration.aim import Aim, aim_at
from efface.calibration.counterfactual import CounterfactualLogits
from efface.calibration.targets import target_logits
from efface.data.records import Batch
from efface.methods.base import Method, Problem, Step, descend, endless
from efface.methods.rates import Balance, sizes, way_to_go
from efface.models.running import device_of, logits_of, mode
from efface.models.training import one_cycle
from efface.numerics.logits import symlog
from efface.runtime.options import option
from efface.runtime.seeds import derive_seed
from efface.types import Indices

WEIGHTS = (0.5, 100.0)  # the least and the greatest weight of the error on retain records
FARTHEST = 2.0  # a longer way, such as that of a whole class, lets retain records move no more; in variances of margins
ENOUGH = 500  # records whose first outputs are known: then no others are kept, whose moves would add up
STRIDE = 0.5  # the largest peak rate, in ways to go: longer steps overshoot


@dataclass(frozen=True)
class Steer(Method):
    """Steer the weights towards the model that would have been trained without the forget records.

    The aim for forget records is what a model would say that never saw them (see `targets.target_logits`), and beyond
    it; for retain records, what the original says, or in a row of requests the first model where that is known. With
    the error E of an `Aim`, steps descend on

        loss = E(forget) + w E(retain)

    by one cycle of Adam. Rates are relative to the size of each tensor of weights, and in proportion to the way that
    there is to go (see `rates.way_to_go`), so that they suit any network and shrink with the request. The weight w
    begins at `retain_weight`; it rises while margins of retain records have moved farther than they may, and falls
    otherwise (see `rates.Balance`). The mean square of their moves may be `spare` of the variance of nonmembers'
    margins and four times the mean squared way of forget records to their targets, all on the symmetric log.

    Where the request takes whole classes, the cycle is repeated while a record is still given its class.
    """

    key = "steer"
    summary = "perturb the weights until forget records have the logits of never-seen records of equal difficulty"
    needs_fresh = True
    version = 2
    source = "efface; inspired by Chen, Wang, Huang, arXiv 2111.05528 (only the abstract could be had)"

    steps: int = option(32, "least steps in a cycle", 1, 10_000)
    passes: float = option(6.0, "passes over the forget records in a cycle, where that takes more steps", 0.0, 10_000.0)
    rounds: int = option(3, "most cycles where a wholly forgotten class is still given; else there is one", 1, 100)
    travel: float = option(15.0, "sum of the peak rates of all steps, in ways that there are to go", 1e-3, 1e3)
    beyond: float = option(0.5, "how far beyond the targets to aim, as a share of the way", 0.0, 10.0)
    retain_weight: float = option(10.0, "weight of the error on retain records at the beginning", 0.0, 1e3)
    spare: float = option(3e-3, "how far margins of retain records may move, as a share of squares", 0.0, 1e3)
    pool: int = option(1500, "retain records that are held where they are", 1, 1_000_000)
    batch_forget: int = option(96, "forget records in a step", 1, 100_000)
    batch_retain: int = option(96, "retain records in a step", 1, 100_000)

    @property
    def length(self) -> int:
        return self.steps

    def most_steps(self, forget: int) -> int:
        return self.rounds * self._steps(forget)

    def _steps(self, forget: int) -> int:
        """Steps in a cycle."""
        return max(self.steps, -int(-self.passes * forget // self.batch_forget))

    @property
    def max_evaluations(self) -> int:
        return 1

    def run(self, problem: Problem) -> Iterator[Step]:
        with problem.meter.phase("targets"):
            expected = problem.counterfactual()
            forget, way = self._forgotten(problem, expected)
            retain = self._held(problem)
        spread = float(symlog(expected.nonmembers.margin).var())
        balance = Balance(self.retain_weight, WEIGHTS, self.spare * (spread + 4 * min(way, FARTHEST * spread)))
        index, steps = 0, self._steps(len(problem.forget))
        for number in range(self.rounds):
            for loss in self._cycle(problem, forget, retain, balance, steps):
                index += 1
                if index % steps:
                    yield Step(index, loss)
            done = number == self.rounds - 1 or not _still_given(problem)
            yield Step(index, loss, is_eval_point=done)
            if done:
                return

    def _cycle(
        self, problem: Problem, forget: "_Side", retain: "_Side", balance: Balance, steps: int
    ) -> Iterator[float]:
        """The losses of one cycle of Adam."""
        parameters = problem.trainable()
        scales = sizes(parameters)
        with mode(problem.model, training=False):
            batch, aim = forget.next()
            with torch.enable_grad():
                way = way_to_go(aim.beyond(self.beyond).error(*problem.logits(batch)).sum, parameters, scales)
            peaks = [min(STRIDE, self.travel / steps) * way * size for size in scales]
            groups = [{"params": [p], "lr": peak} for p, peak in zip(parameters, peaks, strict=True)]
            optimiser = torch.optim.Adam(groups, fused=True)
            schedule = one_cycle(optimiser, peaks, steps)
            for k in range(steps):
                (batch, aim), (others, keep) = forget.next(), retain.next()
                with torch.enable_grad():
                    z_f, z_r = problem.logits(batch, others)
                    moved = keep.error(z_r)
                    off = aim.beyond(self.beyond * (1 - k / steps)).error(z_f)
                    loss = descend(optimiser, off.sum + balance.weight * moved.sum, schedule)
                balance.update(float(moved.margins.detach()))
                yield loss

    def _forgotten(self, problem: Problem, expected: CounterfactualLogits) -> tuple["_Side", float]:
        """The forget records with their aim, and the mean squared way of their margins to the targets."""
        seen = expected.of_training(problem.forget)
        target = target_logits(seen, expected.members, expected.nonmembers, problem.forget_classes)
        # of the model itself: what is expected of it leaves out classes that it still knows
        known = logits_of(problem.task, problem.model, problem.train, problem.forget, problem.meter).double()
        aim = aim_at(target, known, seen.targets, problem.forget_classes, seen.rules)
        return _Side(problem, problem.forget, aim, self.batch_forget, "steer forget"), aim.squared_way

    def _held(self, problem: Problem) -> "_Side":
        """A sample of retain records, which are to keep what is said of them."""
        chosen, z = self._what_stays(problem)
        rules = problem.task.rules
        keep = rules.erase(z.double(), problem.forget_classes)
        aim = aim_at(keep, keep, problem.train.targets(chosen), problem.forget_classes, rules)
        return _Side(problem, chosen, aim, self.batch_retain, "steer retain")

    def _what_stays(self, problem: Problem) -> tuple[Indices, Tensor]:
        """Positions of retain records, with what the original says of each; or the first model, where that is known."""
        seed = derive_seed(problem.seed, "steer pool")

        def said(positions: Indices, count: int) -> tuple[Indices, Tensor]:
            chosen = next(endless(positions, count, seed))
            return chosen, logits_of(problem.task, problem.original, problem.train, chosen, problem.meter)

        if problem.known_outputs is None:
            return said(problem.retain, self.pool)
        known = problem.known_outputs.among(problem.retain)
        rows = np.random.default_rng(seed).permutation(len(known.positions))[: self.pool]
        chosen, z = known.positions[rows], known.values[torch.from_numpy(rows)]
        others = np.setdiff1d(problem.retain, chosen)
        if len(rows) >= min(ENOUGH, self.pool) or not len(others):
            return chosen, z
        more, by_original = said(others, self.pool - len(rows))
        return np.concatenate([chosen, more]), torch.cat([z, by_original])


class _Side:
    """Records with their aims, in endless batches; those that can be cut are read once."""

    def __init__(self, problem: Problem, positions: Indices, aim: Aim, size: int, purpose: str) -> None:
        self._train, self._positions, self._aim = problem.train, positions, aim
        self._device = device_of(problem.model)
        self._rows = endless(np.arange(len(positions)), size, derive_seed(problem.seed, purpose))
        self._read = problem.train.read(positions) if problem.train.can_cut else None

    def next(self) -> tuple[Batch, Aim]:
        chosen = next(self._rows)
        at = torch.from_numpy(chosen)
        batch = self._train.read(self._positions[chosen]) if self._read is None else self._read.rows(at)
        return batch.to(self._device), self._aim.rows(at).to(self._device)


def _still_given(problem: Problem) -> bool:
    """Whether a record of a wholly forgotten class is still given its class."""
    targets: Tensor = problem.train.targets(problem.forget)
    erased = problem.task.rules.is_erased(targets, problem.forget_classes)
    if not bool(erased.any()):
        return False
    z = logits_of(problem.task, problem.model, problem.train, problem.forget[erased.numpy()], problem.meter)
    return bool((problem.task.rules.useful(z, targets[erased]) > 0).any())
