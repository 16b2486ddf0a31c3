"""Common parts of descent methods: SGD or Adam on a loss over batches of training records, and teachers."""

from abc import ABC
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efface.data.records import Batch
from efface.methods.base import Method, Problem, Step, descend
from efface.models.running import forward, mode
from efface.runtime.options import option
from efface.types import Indices


class Source(NamedTuple):
    """Training records that a loss gets one batch of in each step.

    Args:
        purpose: A word that, with the seed of the run, determines the order.
        positions: Positions of the records.
    """

    purpose: str
    positions: Indices


@dataclass(frozen=True)
class Descent(Method, ABC):
    """Base of descent methods; the default number of steps is that of steer, so that costs are comparable."""

    steps: int = option(120, "most steps", 1, 1_000_000)
    every: int = option(40, "steps between evaluations", 1, 1_000_000)
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
        """Make the optimiser of the trainable weights: SGD with momentum, or Adam with the momentum as its first beta.

        To change gradients before an update, use `register_step_pre_hook`; to change weights after it, use
        `register_step_post_hook`.

        Args:
            problem: The problem.
            adam: Whether to use Adam.
            decay: Weight decay, which is added to the gradient.
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
        sources: Sequence[Source],
        training: bool = True,
        optimiser: torch.optim.Optimizer | None = None,
        numbers: range | None = None,
    ) -> Iterator[Step]:
        """Descend on a loss; every `every` steps, and after the last, the weights may be judged.

        Args:
            problem: The working copy and its records.
            loss: Called at each step with one batch of each source, in the order of `sources`.
            sources: What the batches are drawn from. Different phases of a run need different purposes to draw in
                different orders.
            training: Whether the model is in train mode; it is in eval mode if a source has a single record.
            optimiser: The optimiser; by default that of `make_optimiser`.
            numbers: Numbers of the steps, if this is a phase of a longer run; by default 1 to `steps`.
        """
        if optimiser is None:
            optimiser = self.make_optimiser(problem)
        streams = [problem.batches(s.positions, self.batch, f"descent {s.purpose}") for s in sources]
        # a batch of one record breaks BatchNorm in train mode
        training = training and all(len(s.positions) > 1 for s in sources)
        for k in range(1, self.steps + 1) if numbers is None else numbers:
            with mode(problem.model, training=training), torch.enable_grad():
                value = descend(optimiser, loss(*(next(batches) for batches in streams)))
            yield Step(k, value, is_eval_point=k % self.every == 0 or k == self.steps)


def divergence(teacher: Tensor, student: Tensor, temperature: float = 1.0) -> Tensor:
    """Mean over records of KL(teacher || student) at a temperature, times its square (Hinton et al.).

    Args:
        teacher: Logits, (records, classes).
        student: Logits, (records, classes).
        temperature: What both are divided by, positive.
    """
    p, q = (F.log_softmax(z / temperature, 1) for z in (teacher, student))
    return F.kl_div(q, p, log_target=True, reduction="batchmean") * temperature**2


def teacher_logits(problem: Problem, teacher: nn.Module, batch: Batch) -> Tensor:
    """Logits of a teacher in eval mode, without gradients, (records, classes), on its device; charged as forward.

    Args:
        problem: The problem.
        teacher: The model.
        batch: The records, on its device.
    """
    with mode(teacher, training=False), torch.no_grad():
        logits = forward(problem.task, teacher, batch)
    problem.meter.count(forward=len(batch))
    return logits
