"""Results of the benchmark as frozen rows, one a cell, of a folder that a run wrote or of a committed table."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.harness.problems import PROBLEMS
from benchmarks.harness.records import EDGES, ON, Record
from benchmarks.harness.requests import KINDS
from benchmarks.harness.stored import read_records, read_tuning_results
from benchmarks.harness.suite import CONTROLS, Cell, Setting

QUARTER = 4.0  # how many times cheaper than retraining a method must be to be compared with
LEADING = (*CONTROLS, "steer")  # the first rows of a table


class Interval(NamedTuple):
    """A value with the ends of its 95 % interval; None for what could not be computed."""

    value: float | None = None
    low: float | None = None
    high: float | None = None


UNKNOWN = Interval()


class Spread(NamedTuple):
    """A mean and the standard deviation over models; None for what could not be computed."""

    mean: float | None = None
    sd: float | None = None


@dataclass(frozen=True)
class Share:
    """What is left of doing nothing's excess d2; it means nothing where that is not surely above 0."""

    share: Interval = UNKNOWN
    informative: bool = False


@dataclass(frozen=True)
class Spending:
    """What a method cost, a mean over models, and what retraining costs beside it (`epoch_s`: CPU seconds an epoch).

    Prices are in record-trainings; `phases` has the CPU seconds of each phase and, where it was counted, its price.
    """

    cpu_s: float | None = None
    sd: float | None = None
    epoch_s: float | None = None
    cheaper: float | None = None
    cheaper_wall: float | None = None
    cheaper_early: float | None = None
    examples: float | None = None
    price: float | None = None
    retrain_price: float | None = None
    phases: Mapping[str, tuple[float, float | None]] = field(default_factory=dict)

    def part_of_price(self, *phases: str) -> float | None:
        """The share of the price that phases have; None where it was not counted."""
        if not self.price:
            return None
        return sum(self.phases[p][1] or 0.0 for p in phases if p in self.phases) / self.price


@dataclass(frozen=True)
class Row:
    """A cell's result; where it `failed`, that says why and there are no measurements.

    tuning_s: CPU seconds of the tuning's draws; None for a row that was not tuned.
    """

    cell: Cell
    forget: int
    epochs: int
    early: int
    failed: str | None
    tuning_s: float | None
    cost: Spending
    measured: Record
    made_on: Mapping[str, Mapping[str, Any]]  # git, versions, machine

    @property
    def setting(self) -> Setting:
        """The request on a problem that the row belongs to."""
        return self.cell.setting

    @property
    def method(self) -> str:
        """The method's key."""
        return self.cell.method

    @property
    def affordable(self) -> bool:
        """Whether it gave models at a quarter of retraining's cost or less, in CPU time."""
        return self.failed is None and self.cost.cheaper is not None and self.cost.cheaper >= QUARTER

    def share_of(self, key: str) -> Share:
        """What is left by a statistic; empty where it was not measured."""
        return Share(self._interval(f"share.{key}"), bool(self.measured.get(f"informative.{key}")))

    def distance(self, key: str, group: str = "unlearned") -> Interval:
        """Excess d2 of a group by a statistic, or its `change`; empty where it was not measured."""
        return self._interval(f"d2.{key}.{group}")

    def spread(self, key: str, group: str = "unlearned") -> Spread:
        """Accuracy or AUC of a group of models; empty where it was not measured."""
        name = f"{key.replace(' ', '_')}.{group}"
        return Spread(self.measured.get(name), self.measured.get(f"{name}.sd"))

    def single(self, key: str, group: str = "unlearned") -> float | None:
        """A number that a group has one of; None where it was not measured."""
        value: float | None = self.measured.get(f"{key}.{group}")
        return value

    @property
    def pairs(self) -> tuple[float, ...]:
        """Products of gaps to retrained models by margin, as `paired.products` gives them; empty where not measured."""
        return tuple(self.measured.get("pairs.margin") or ())

    @property
    def predicts(self) -> bool:
        """Whether all forget records are of one class, so that it was counted how often that is predicted."""
        return self.single("predicted", "original") is not None

    @property
    def both(self) -> float | None:
        """Excess d2 of margins on forget and retain records together."""
        parts = self.distance("margin").value, self.distance("retain").value
        return None if None in parts else sum(p for p in parts if p is not None)

    def _interval(self, key: str) -> Interval:
        return Interval(*(self.measured.get(f"{key}{edge}") for edge in EDGES))


@dataclass(frozen=True)
class TuningCost:
    """CPU seconds of a tuning's draws, and how many there were."""

    setting: Setting
    method: str
    draws: int
    cpu_s: float


def read(*places: Path) -> tuple[Row, ...]:
    """Rows of all cells, in the order of tables; of a cell that is in several places, the first one's.

    Args:
        places: folders that `run` wrote to, or committed tables.

    Raises:
        RequestError: everything that is wrong: a place that is absent or has no results, a damaged file.
    """
    found: dict[str, Row] = {}
    for record in read_records(*places):
        row = row_of(record)
        found.setdefault(row.cell.name, row)
    return ordered(found.values())


def read_tunings(place: Path) -> tuple[TuningCost, ...]:
    """What the tunings of a folder or of a committed table cost; none where nothing was tuned."""
    return tuple(
        TuningCost(Setting(**t["tuned"]["setting"]), str(t["tuned"]["method"]), len(t["tried"]), float(t["cpu_s"]))
        for t in read_tuning_results(place)
    )


def row_of(record: Record) -> Row:
    """The row of a record."""
    setting = Setting(**{key: record[key] for key in Setting.__dataclass_fields__})
    prices = record.get("prices") or {}
    names = ("cpu_s", "cheaper", "cheaper_wall", "cheaper_early", "examples", "price", "retrain_price")
    cost = Spending(
        sd=record.get("cpu_s.sd"),
        epoch_s=record.get("epoch_cpu_s"),
        phases={phase: (spent, prices.get(phase)) for phase, spent in (record.get("phases") or {}).items()},
        **{name: record.get(name) for name in names},
    )
    return Row(
        cell=Cell(setting, record["method"], record["variant"], record["models"]),
        forget=record["forget"],
        epochs=record["epochs"],
        early=record["early"],
        failed=record["failed"],
        tuning_s=record["tuning_cpu_s"],
        cost=cost,
        measured=record,
        made_on={key: record[key] for key in ON},
    )


def ordered(rows: Iterable[Row]) -> tuple[Row, ...]:
    """By setting; within one the controls, steer, then the others by name, published before tuned."""

    def place(row: Row) -> tuple[Any, ...]:
        leads = row.method in LEADING
        return (*_rank(row.setting), not leads, LEADING.index(row.method) if leads else row.method, row.cell.variant)

    return tuple(sorted(rows, key=place))


def by_setting(rows: Iterable[Row]) -> dict[Setting, tuple[Row, ...]]:
    """Rows of each request; the numbers of models that judge it need not be the same."""
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(_rank(row.setting), []).append(row)
    return {own[0].setting: tuple(own) for own in found.values()}


def _rank(s: Setting) -> tuple[Any, ...]:
    known = list(PROBLEMS)
    problem = known.index(s.problem) if s.problem in known else len(known)
    kind = KINDS.index(s.request) if s.request in KINDS else len(KINDS)
    return problem, s.problem, s.records, kind, s.request, s.share, s.draw
