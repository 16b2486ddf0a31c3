"""Common parts of methods that teach wrong labels: which label a record gets, and steps on both kinds of records."""

from abc import ABC
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from efface.data.records import Batch
from efface.methods.base import Problem, Step, endless
from efface.methods.descent import Descent, Source
from efface.models.running import device_of
from efface.numerics.logits import is_masked
from efface.runtime.options import option
from efface.runtime.seeds import derive_seed


@dataclass(frozen=True)
class Relabelling(Descent, ABC):
    """Base of methods that go on training with wrong labels for forget records."""

    needs_classes = True

    alpha: float = option(1.0, "weight of a retain record against that of a forget record", 0.0, 1e6)
    anew: bool = option(False, "draw another wrong label each time that a record is drawn")
    decay: float = option(5e-4, "weight decay", 0.0, 1.0)

    def relabel(
        self, problem: Problem, optimiser: torch.optim.Optimizer, which: Tensor | None = None
    ) -> Iterator[Step]:
        """Run the steps.

        Args:
            problem: The problem.
            optimiser: The optimiser.
            which: Which forget records get wrong labels, (records,), bool, on the CPU; by default all.
        """
        f = len(problem.forget)
        relabelled = self._wrong(problem, torch.ones(f, dtype=torch.bool) if which is None else which)
        total = f + self.alpha * len(problem.retain)

        def loss(retain: Batch) -> Tensor:
            forget, drawn, chosen = next(relabelled)
            z_retain, z_forget = problem.logits(retain, forget)
            labels = problem.labels(forget)
            wrong = other_labels(labels, drawn, ~is_masked(z_forget))
            taught = F.cross_entropy(z_forget, torch.where(chosen, wrong, labels))
            return f / total * taught + (1 - f / total) * problem.loss(z_retain, retain)

        # a batch of one record breaks BatchNorm in train mode
        return self.sgd(problem, loss, [Source("retain", problem.retain)], training=f > 1, optimiser=optimiser)

    def _wrong(self, problem: Problem, which: Tensor) -> Iterator[tuple[Batch, Tensor, Tensor]]:
        """Endless batches of forget records: numbers in [0, 1) that fix the wrong label of each, and who gets one."""
        device, f = device_of(problem.model), len(problem.forget)
        rng = np.random.default_rng(derive_seed(problem.seed, "random_label", "labels"))
        own = rng.random(f)
        for rows in endless(np.arange(f), self.batch, derive_seed(problem.seed, "random_label", "forget")):
            drawn = rng.random(len(rows)) if self.anew else own[rows]
            batch = problem.train.read(problem.forget[rows]).to(device)
            yield batch, torch.from_numpy(drawn), which[torch.from_numpy(rows)].to(device)


def other_labels(targets: Tensor, drawn: Tensor, choices: Tensor) -> Tensor:
    """Choose another label for each target; all that it may have are equally likely.

    Args:
        targets: Labels, (n,).
        drawn: Random numbers in [0, 1), (n,).
        choices: Which classes a record may have, (n, classes), bool.
    """
    classes = choices.shape[1]
    following = (targets[:, None] + torch.arange(1, classes, device=targets.device)) % classes
    allowed = choices.gather(1, following)
    wanted = (drawn.to(targets.device) * allowed.sum(1)).long() + 1
    return following.gather(1, (allowed.cumsum(1) == wanted[:, None]).byte().argmax(1, keepdim=True)).squeeze(1)
