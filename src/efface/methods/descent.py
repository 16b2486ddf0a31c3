"""What plain descent methods share: SGD or Adam on a loss over batches of training records, and teachers."""

from abc import ABC
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efface.data.records import Batch
from efface.methods.base import Method, Problem, Step, descend
from efface.models.running import mode
from efface.options import option
from efface.types import Indices


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
    def max_evaluations(self) -> int:
        return -(-self.steps // self.every)

    def make_optimiser(self, problem: Problem, adam: bool = False, decay: float = 0.0) -> torch.optim.Optimizer:
        """SGD with momentum, or Adam with the momentum as its first beta; `decay` is that of weights, in the gradient.

        What has to act on the gradients or the weights around a step can be hooked to it: `register_step_pre_hook`
        runs between the backward pass and the update, `register_step_post_hook` after the update.
        """
        if adam:
            return torch.optim.Adam(
                problem.trainable(), lr=self.lr, betas=(self.momentum, 0.999), weight_decay=decay, fused=True
            )
        return torch.optim.SGD(problem.trainable(), lr=self.lr, momentum=self.momentum, weight_decay=decay)

    def sgd(
        self,
        problem: Problem,
        loss: Callable[..., Tensor],
        training: bool = True,
        optimiser: torch.optim.Optimizer | None = None,
        numbers: range | None = None,
        **sources: Indices,
    ) -> Iterator[Step]:
        """Descend on `loss(batch, ...)`, one batch of each of the named `sources` a step.

        In train mode, unless `training` is off. At rest after each `every` steps and after the last. By plain SGD,
        unless an `optimiser` is given. A phase of a longer run gives the `numbers` of its steps; the names of its
        sources fix the order in which they are drawn, so a phase with new names draws in a new order.
        """
        if optimiser is None:
            optimiser = self.make_optimiser(problem)
        streams = [problem.batches(at, self.batch, f"descent {name}") for name, at in sources.items()]
        # a batch of one record breaks BatchNorm in train mode
        training = training and all(len(at) > 1 for at in sources.values())
        for k in range(1, self.steps + 1) if numbers is None else numbers:
            with mode(problem.model, training=training), torch.enable_grad():
                value = descend(optimiser, loss(*(next(s) for s in streams)))
            yield Step(k, value, is_eval_point=k % self.every == 0 or k == self.steps)


def divergence(teacher: Tensor, student: Tensor, temperature: float = 1.0) -> Tensor:
    """Mean over records of KL(teacher || student), of logits over `temperature`, times its square (Hinton et al.)."""
    p, q = (F.log_softmax(z / temperature, 1) for z in (teacher, student))
    return F.kl_div(q, p, log_target=True, reduction="batchmean") * temperature**2


def said_by(problem: Problem, teacher: nn.Module, batch: Batch) -> Tensor:
    """Logits of a teacher in eval mode, without gradients, on its device; counted as forward."""
    with mode(teacher, training=False), torch.no_grad():
        said = problem.task.forward(teacher, batch.inputs).float()
    problem.meter.count(forward=len(batch))
    return said
