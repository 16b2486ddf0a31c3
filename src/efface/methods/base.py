"""What a method is, and what it may know."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from efface.calibration.counterfactual import CounterfactualLogits
from efface.data.records import Batch, Records
from efface.errors import DivergedError
from efface.models.running import device_of, joint_logits
from efface.options import Options
from efface.runtime.cost import Meter
from efface.runtime.seeds import derive_seed
from efface.task import Task
from efface.types import Indices


@dataclass(frozen=True)
class Step:
    """One change of the weights.

    `index` counts from 1. `loss` is what the method reports of it. `is_eval_point` says that the weights may be judged
    now, such as at the end of a cycle of the learning rate; the driver evaluates nowhere else.
    """

    index: int
    loss: float
    is_eval_point: bool = False


@dataclass(frozen=True)
class Problem:
    """What a method gets: the working copy that it changes in place, and the records that it may read.

    It holds no stopping or audit records, so no method can read the evidence that judges it.

    Args:
        task: What the user says about the model and its data.
        model: The working copy, to be changed in place.
        original: The model as it was given, only to be read.
        train: Training records.
        holdout: Records that the original never saw.
        forget: Training positions to forget.
        retain: Training positions to keep that a method may read: not those that the audit trains its own models on.
        all_retain: All training positions to keep, for the control that retrains.
        calibration: Holdout positions that a method may read.
        forget_classes: Classes of which all records are to be forgotten.
        counterfactual: Gives what a model that never saw a record would say of it; trains the reference model at its
            first call.
        seed: What all draws of the method depend on.
        meter: Counts the work.
    """

    task: Task
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

    def trainable(self) -> list[nn.Parameter]:
        """Parameters of the working copy that may move."""
        return [p for p in self.model.parameters() if p.requires_grad]

    def batches(self, positions: Indices, size: int, purpose: str) -> Iterator[Batch]:
        """Endless shuffled batches of training records, on the model's device; whole passes, no record twice in one."""
        device = device_of(self.model)
        for rows in endless(positions, size, derive_seed(self.seed, "batches", purpose)):
            yield self.train.read(rows).to(device)

    def logits(self, *batches: Batch) -> list[Tensor]:
        """Logits of the working copy with gradients, one tensor a batch; counted as forward and backward."""
        n = sum(len(b) for b in batches)
        self.meter.count(forward=n, backward=n)
        return joint_logits(self.task, self.model, batches)


@dataclass(frozen=True)
class Method(Options, ABC):
    """An unlearning method: frozen options, and a stream of steps that change `problem.model` in place.

    A method never declares success. It marks steps after which its weights may be judged (`Step.is_eval_point`);
    `max_evaluations` bounds their number, so that the driver can account for repeated evaluations.
    """

    key: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    version: ClassVar[int] = 1  # raised by hand when the weights that a seed gives change; results name it
    is_control: ClassVar[bool] = False  # evaluated, but never stopped or taken back
    needs_fresh: ClassVar[bool] = False  # whether it trains an untrained network, evaluations aside

    @property
    @abstractmethod
    def max_evaluations(self) -> int:
        """Upper bound on the number of steps after which the weights may be judged."""

    @property
    @abstractmethod
    def length(self) -> int:
        """Upper bound on the number of steps of an ordinary request."""

    def most_steps(self, forget: int) -> int:
        """Upper bound on the number of steps for so many forget records, which `length` is for few of them."""
        return self.length

    @abstractmethod
    def run(self, problem: Problem) -> Iterator[Step]:
        """Change `problem.model` step by step."""


def endless(positions: Indices, size: int, seed: int) -> Iterator[Indices]:
    """Batches of exactly min(size, len(positions)) positions, from shuffled passes joined end to end."""
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
    """One optimiser step on `loss`; gives its value, and raises DivergedError where it is not finite."""
    value = loss.item()
    if not math.isfinite(value):
        raise DivergedError(f"the loss became {value}: try a smaller learning rate")
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    if schedule is not None:
        schedule.step()
    return value
