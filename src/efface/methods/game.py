"""game: a leader matches a model without the forget set, and a follower hides that the forget records were members."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from efface.methods.adversarial import adversarial_loss, label_first
from efface.methods.base import Problem, Step, endless
from efface.methods.descent import Descent
from efface.models.init import fresh_model
from efface.models.running import device_of, logits_of
from efface.models.training import Recipe, train
from efface.runtime.options import option
from efface.runtime.seeds import derive_seed


@dataclass(frozen=True)
class Game(Descent):
    """w <- w - lr grad [ CE(retain) + match E|p - a|^2 ], a leader's move; w <- w - lr grad [ leak A ], a follower's.

    p and a are the probabilities that the model and an alternative model give to never-seen records; the alternative is
    a fresh network trained briefly on the retain set by the default recipe. A = -E log T(forget outputs), where T(x) is
    the probability that an attack gives to x being the output on a never-seen record. Before each move of the follower
    the attack learns to distinguish the model's outputs (centred logits, label first) on forget records from those on
    never-seen ones. The two move in turn, in eval mode, as a model is judged.

    After Liu et al. (arXiv 2411.03914), a Stackelberg game of an unlearning and a privacy module, of which we had the
    abstract and summaries: the leader's squared distance on third-party data plus classification error, the follower's
    advantage of a membership attack. Third-party data are the calibration records here. The paper's attack, weights,
    rates and lengths could not be had: all values were chosen here, and one SGD makes the moves of both.
    """

    key = "game"
    summary = "match a model trained without the forget set, and hide from an attack that the records were members"
    source = "Liu et al., arXiv 2411.03914"
    needs_classes = True

    match: float = option(1.0, "weight of the distance to the alternative model", 0.0, 1e3)
    leak: float = option(1.0, "weight of the membership leakage", 0.0, 1e3)
    passes: int = option(5, "passes over the retain records that train the alternative model", 1, 100_000)
    width: int = option(64, "hidden units in each of the attack's two layers", 1, 100_000)
    turns: int = option(5, "steps of the attack before each move of the follower", 1, 1000)
    lr_tell: float = option(3e-3, "learning rate of the attack's Adam", 1e-8, 1.0)

    def run(self, problem: Problem) -> Iterator[Step]:
        device, third = device_of(problem.model), problem.calibration
        wanted = self.alternative(problem).to(device)
        targets = problem.holdout.targets(third)
        known = logits_of(problem.task, problem.original, problem.holdout, third, problem.meter)
        scale = label_first(known, targets).to(device)
        leakage = adversarial_loss(
            scale, self.width, self.turns, self.lr_tell, derive_seed(problem.seed, "game", "attack")
        )
        retain_batches = problem.batches(problem.retain, self.batch, "game retain")
        forget_batches = problem.batches(problem.forget, self.batch, "game forget")
        rows = endless(np.arange(len(third)), self.batch, derive_seed(problem.seed, "game", "third"))
        moves = 0

        def loss() -> Tensor:
            nonlocal moves
            moves += 1
            at = next(rows)
            never = problem.holdout.read(third[at]).to(device)
            if moves % 2:
                lead = next(retain_batches)
                z, z_never = problem.logits(lead, never)
                apart = (z_never.softmax(1) - wanted[torch.from_numpy(at).to(device)]).square().sum(1).mean()
                return problem.loss(z, lead) + self.match * apart
            follow = next(forget_batches)
            z, z_never = problem.logits(follow, never)
            leaked = leakage(
                label_first(z, problem.labels(follow)), label_first(z_never, problem.labels(never)).detach()
            )
            return self.leak * leaked

        return self.sgd(problem, loss, [], training=False)

    def alternative(self, problem: Problem) -> Tensor:
        """Probabilities (records, classes) of the calibration records by a model trained on the retain set alone."""
        seed, task = derive_seed(problem.seed, "game", "alternative"), problem.task
        model = fresh_model(task, problem.original, seed)
        recipe = Recipe(epochs=self.passes)
        model = train(task, model, problem.train, problem.retain, recipe, seed, problem.meter)
        return logits_of(task, model, problem.holdout, problem.calibration, problem.meter).softmax(1)
