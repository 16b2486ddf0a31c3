"""What plain descent methods share: SGD with momentum on a loss over batches of training records."""

from abc import ABC
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from efface.methods.base import Method, Problem, descend
from efface.models import mode
from efface.options import option
from efface.types import Indices, Step


@dataclass(frozen=True)
class Descent(Method, ABC):
    """Options of a descent method; the default length is that of steer, so that costs compare."""

    steps: int = option(120, "most steps", 1, 1_000_000)
    every: int = option(40, "steps between looks at the evidence", 1, 1_000_000)
    lr: float = option(0.01, "learning rate of SGD", 1e-8, 10.0)
    momentum: float = option(0.9, "momentum of SGD", 0.0, 0.999)
    batch: int = option(128, "records of each kind in a step", 2, 100_000)

    @property
    def length(self) -> int:
        return self.steps

    @property
    def looks(self) -> int:
        return -(-self.steps // self.every)

    def sgd(
        self, problem: Problem, loss: Callable[..., Tensor], training: bool = True, **sources: Indices
    ) -> Iterator[Step]:
        """Descend on `loss(batch, ...)`, one batch of each of the named `sources` a step.

        In train mode, unless `training` is off. At rest after each `every` steps and after the last.
        """
        optimiser = torch.optim.SGD(problem.trainable(), lr=self.lr, momentum=self.momentum)
        streams = [problem.batches(at, self.batch, f"descent {name}") for name, at in sources.items()]
        # a batch of one record breaks BatchNorm in train mode
        training = training and all(len(at) > 1 for at in sources.values())
        for k in range(1, self.steps + 1):
            with mode(problem.model, training=training), torch.enable_grad():
                value = descend(optimiser, loss(*(next(s) for s in streams)))
            yield Step(k, value, at_rest=k % self.every == 0 or k == self.steps)
