"""The cost of a run, by phase."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

import torch

from efface.runtime.printing import duration


@dataclass(frozen=True)
class PhaseCost:
    """Cost of one phase.

    Args:
        wall_s: wall-clock seconds.
        cpu_s: CPU seconds of this process, and of its worker processes if these were charged.
        forward: number of examples, not batches, in forward passes.
        backward: number of examples in backward passes.
    """

    wall_s: float = 0.0
    cpu_s: float = 0.0
    forward: int = 0
    backward: int = 0

    @property
    def record_trainings(self) -> float:
        """A price that no machine changes: the forward and backward pass of one record is 1, the forward alone 1/3.

        A backward pass takes about twice what a forward pass does, so an epoch of training costs its number of records.
        """
        return (self.forward + 2 * self.backward) / 3

    def as_json(self) -> dict[str, float]:
        """All numbers of the phase, the price among them."""
        return {**asdict(self), "record_trainings": self.record_trainings}

    def __add__(self, other: "PhaseCost") -> "PhaseCost":
        return PhaseCost(
            self.wall_s + other.wall_s,
            self.cpu_s + other.cpu_s,
            self.forward + other.forward,
            self.backward + other.backward,
        )


@dataclass(frozen=True)
class Cost:
    """Cost of a run.

    Args:
        phases: the cost of each phase by its name.
    """

    phases: Mapping[str, PhaseCost] = field(default_factory=dict)

    @property
    def total(self) -> PhaseCost:
        """Sum over phases."""
        return sum(self.phases.values(), PhaseCost())

    @property
    def cpu_s(self) -> float:
        """CPU seconds of all phases."""
        return self.total.cpu_s

    @property
    def wall_s(self) -> float:
        """Wall-clock seconds of all phases."""
        return self.total.wall_s

    @property
    def record_trainings(self) -> float:
        """The price of all phases; see `PhaseCost.record_trainings`."""
        return self.total.record_trainings


def spent(cost: Cost) -> str:
    """A cost as text: CPU and wall time and record-trainings, and CPU time and record-trainings of each phase."""
    phases = ", ".join(f"{name} {duration(p.cpu_s)} / {p.record_trainings:,.0f}" for name, p in cost.phases.items())
    return (
        f"{duration(cost.cpu_s)} of CPU time / {cost.record_trainings:,.0f} record-trainings in "
        f"{duration(cost.wall_s)} ({phases})"
    )


class Meter:
    """Adds up the cost of a run by phase.

    Time in a nested phase is charged to the inner phase only. Time outside of all phases is not charged; examples that
    are counted there are charged to the phase `other`.
    """

    def __init__(self) -> None:
        self._phases: dict[str, PhaseCost] = {}
        self._open: list[str] = []
        self._mark = (0.0, 0.0)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Charge the time and counts of the block to a phase; blocks of the same name are added up."""
        self._settle()
        self._open.append(name)
        try:
            yield
        finally:
            self._settle()
            self._open.pop()

    def count(self, forward: int = 0, backward: int = 0) -> None:
        """Count examples in forward and backward passes."""
        self.charge(PhaseCost(forward=forward, backward=backward))

    def charge(self, cost: PhaseCost) -> None:
        """Add a cost to the open phase that this process does not measure, such as a worker's CPU time."""
        self._charge(self._open[-1] if self._open else "other", cost)

    def cost(self) -> Cost:
        """The cost so far, open phases included."""
        self._settle()
        return Cost(dict(self._phases))

    def _settle(self) -> None:
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()  # kernels still running belong to the phase that launched them
        now = (time.perf_counter(), time.process_time())
        if self._open:
            self._charge(self._open[-1], PhaseCost(now[0] - self._mark[0], now[1] - self._mark[1]))
        self._mark = now

    def _charge(self, name: str, cost: PhaseCost) -> None:
        self._phases[name] = self._phases.get(name, PhaseCost()) + cost
