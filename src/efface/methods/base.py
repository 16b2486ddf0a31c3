"""The interface of an unlearning method, and the problem that it is given."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from efface.calibration.counterfactual import CounterfactualLogits
from efface.calibration.first_outputs import KnownOutputs
from efface.data.records import Batch, Records
from efface.errors import DivergedError
from efface.kinds import Kind
from efface.models.running import device_of, joint_logits
from efface.runtime.cost import Meter
from efface.runtime.options import Options
from efface.runtime.printing import Brief
from efface.runtime.seeds import derive_seed
from efface.task import Task
from efface.types import Indices


@dataclass(frozen=True)
class Step:
    """One change of the weights.

    Args:
        index: Number of the step, from 1.
        loss: Its loss, as the method defines it.
        is_eval_point: Whether the weights may be judged now, for example at the end of a learning rate cycle; the
            driver evaluates at no other steps.
    """

    index: int
    loss: float
    is_eval_point: bool = False


@dataclass(frozen=True, repr=False)
class Problem(Brief):
    """The input of a method: the working copy that it changes in place, and the records that it may read.

    It does not name stopping or audit records, so that a method cannot use the evidence that judges it.

    Args:
        task: The user's task, after the records to forget have left its structure, if it has one.
        given: The task as it was given, in which they still are.
        model: The working copy, which the method changes in place.
        original: The original model, which must not be changed.
        train: The training records.
        holdout: Records that the original never saw.
        forget: Training positions to forget.
        retain: Training positions of the retain records that a method may read; those of the audit's models are not
            among them.
        all_retain: Training positions of all retain records, for the control that retrains.
        calibration: Holdout positions that a method may read.
        forget_classes: Classes whose records are all to be forgotten.
        counterfactual: Returns the expected logits of never-seen records; its first call trains the reference model.
        seed: Seed of all random draws of the method.
        meter: Charged with the work.
        known_outputs: What the first model of a sequence of requests said of some records; None if it was not given.
    """

    task: Task
    given: Task
    model: nn.Module
    original: nn.Module
    train: Records
    holdout: Records
    forget: Indices
    retain: Indices
    all_retain: Indices
    calibration: Indices
    forget_classes: tuple[int, ...]
    counterfactual: Callable[[], CounterfactualLogits]
    seed: int
    meter: Meter
    known_outputs: KnownOutputs | None = None

    def trainable(self) -> list[nn.Parameter]:
        """Parameters of the working copy that may change."""
        return [p for p in self.model.parameters() if p.requires_grad]

    def batches(self, positions: Indices, size: int, purpose: str) -> Iterator[Batch]:
        """Yield batches of training records endlessly, in shuffled passes, on the model's device.

        Args:
            positions: Positions of the records.
            size: Number of records in a batch; cut to the number of positions.
            purpose: A word that, with the seed of the run, determines the order.
        """
        device = device_of(self.model)
        for rows in endless(positions, size, derive_seed(self.seed, "batches", purpose)):
            yield self.train.read(rows).to(device)

    def loss(self, values: Tensor, batch: Batch) -> Tensor:
        """The mean loss of the task's kind, a scalar; `values` are what `logits` gave for the batch."""
        return self.task.rules.loss(values, batch.targets)

    def labels(self, batch: Batch) -> Tensor:
        """The labels of a batch, (records, ...): where the kind has classes the class of each record, int64."""
        return self.task.rules.labels(batch.targets)

    def logits(self, *batches: Batch) -> list[Tensor]:
        """Values of the working copy with gradients, one tensor for each batch; charged as forward and backward.

        For classes they are the logits.
        """
        n = sum(len(b) for b in batches)
        self.meter.count(forward=n, backward=n)
        return joint_logits(self.task, self.model, batches)


@dataclass(frozen=True)
class Method(Options, ABC):
    """An unlearning method: a frozen set of options, and steps that change `problem.model` in place.

    A method never decides whether it succeeded. It marks the steps after which its weights may be judged
    (`Step.is_eval_point`); `max_evaluations` bounds their number, so that the driver can correct for repeated
    evaluations.
    """

    key: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    version: ClassVar[int] = 1  # raised by hand when the weights that a seed gives change; results name it
    is_control: ClassVar[bool] = False  # a control is evaluated, but never stopped early or reverted
    needs_fresh: ClassVar[bool] = False  # whether it trains an untrained network, evaluations aside
    starts_anew: ClassVar[bool] = False  # whether its model does not come from the original
    needs_classes: ClassVar[bool] = False  # whether it makes sense only where each record has one of several classes
    needs_structure: ClassVar[bool] = False  # whether it makes sense only where records are parts of a structure

    @property
    @abstractmethod
    def max_evaluations(self) -> int:
        """Upper bound on the number of steps after which the weights may be judged."""

    @property
    @abstractmethod
    def length(self) -> int:
        """Upper bound on the number of steps of an ordinary request."""

    def most_steps(self, forget: int) -> int:
        """Upper bound on the number of steps for a number of forget records; by default `length`."""
        return self.length

    def warnings(self, task: Task) -> tuple[str, ...]:
        """What to know of the method on a task; by default nothing."""
        return ()

    def unfit_kind(self, rules: Kind) -> str | None:
        """Why the method cannot take a kind of outputs, which refuses a request before any work; None if it can.

        Args:
            rules: The kind.
        """
        if rules.has_classes or not self.needs_classes:
            return None
        return f"{self.key} needs records of one class each, and a target of this task is {rules.title}"

    def unfit_task(self, task: Task) -> str | None:
        """Why the method cannot take a task, which refuses a request before any work; None if it can.

        Args:
            task: The task, whose kind is known.
        """
        if self.needs_structure and task.structure is None:
            return f"{self.key} is for records that are parts of a structure, such as a graph: set Task.structure"
        return self.unfit_kind(task.rules)

    def unfit(self, model: nn.Module) -> str | None:
        """Why the method cannot take a model, by its layers, which refuses a request before any work; None if it can.

        Args:
            model: The model, not yet copied; where none of its parameters may move, all will.
        """
        return None

    @abstractmethod
    def run(self, problem: Problem) -> Iterator[Step]:
        """Change `problem.model` step by step, and yield after each step."""


def endless(positions: Indices, size: int, seed: int) -> Iterator[Indices]:
    """Yield batches of positions endlessly, from shuffled passes joined end to end.

    Args:
        positions: The positions.
        size: Number of positions in each batch; cut to their number.
        seed: Seed of the order.
    """
    rng = np.random.default_rng(seed)
    size = min(size, len(positions))
    pool = rng.permutation(positions)
    while True:
        if len(pool) < size:
            pool = np.concatenate([pool, rng.permutation(positions)])
        yield pool[:size]
        pool = pool[size:]


def descend(
    optimiser: torch.optim.Optimizer, loss: Tensor, schedule: torch.optim.lr_scheduler.LRScheduler | None = None
) -> float:
    """Make one optimiser step.

    Args:
        optimiser: The optimiser.
        loss: The loss, a scalar with gradients.
        schedule: Learning rate schedule, which is advanced too.

    Returns:
        The value of the loss.

    Raises:
        DivergedError: The loss is NaN or infinite.
    """
    value = loss.item()
    if not math.isfinite(value):
        raise DivergedError(f"the loss became {value}: try a smaller learning rate")
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    if schedule is not None:
        schedule.step()
    return value
