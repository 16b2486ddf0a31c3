"""A folder of the benchmark's JSON files as frozen rows, one a cell."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from efface.bench.cell import SCHEMA
from efface.bench.problems import PROBLEMS
from efface.bench.requests import KINDS
from efface.bench.suite import CONTROLS, Cell, Setting
from efface.errors import RequestError

TUNING = "-tuning.json"
GROUPS = ("original", "unlearned", "retrained")
SPREADS = ("accuracy forget", "accuracy retain", "accuracy test", "auc")
SINGLES = ("variation", "divergence")
QUARTER = 4.0  # how many times cheaper than retraining a method must be to be compared with
LEADING = (*CONTROLS, "steer")  # the first rows of a table


class Interval(NamedTuple):
    """A value with the ends of its 95 % interval; None for what could not be told."""

    value: float | None = None
    low: float | None = None
    high: float | None = None


UNKNOWN = Interval()


class Spread(NamedTuple):
    """A mean and the standard deviation over models; None for what could not be told."""

    mean: float | None = None
    sd: float | None = None


@dataclass(frozen=True)
class Share:
    """What is left of doing nothing's excess d2; it means nothing where that is not surely above 0."""

    share: Interval = UNKNOWN
    informative: bool = False


@dataclass(frozen=True)
class Spending:
    """What a method cost, a mean over models, and what retraining costs beside it (`epoch_s`: CPU seconds an epoch)."""

    cpu_s: float | None = None
    sd: float | None = None
    epoch_s: float | None = None
    cheaper: float | None = None
    cheaper_wall: float | None = None
    cheaper_early: float | None = None
    examples: float | None = None


@dataclass(frozen=True)
class Row:
    """A cell's result; where it `failed`, that says why and all else is empty.

    shares and d2 are by statistic (`efface.strong.reading.CELLS`), d2 then by group of models and, of retain and test
    records, `change`. spreads and singles are by name, then by group; `singles["predicted"]` is there only where all
    forget records are of one class. tuning_s: CPU seconds of the tuning's draws; None for a row that was not tuned.
    """

    cell: Cell
    forget: int
    epochs: int
    early: int
    failed: str | None
    tuning_s: float | None
    cost: Spending
    shares: Mapping[str, Share]
    d2: Mapping[str, Mapping[str, Interval]]
    spreads: Mapping[str, Mapping[str, Spread]]
    singles: Mapping[str, Mapping[str, float | None]]
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
        return self.shares.get(key, Share())

    def distance(self, key: str, group: str = "unlearned") -> Interval:
        """Excess d2 of a group by a statistic, or its `change`; empty where it was not measured."""
        return self.d2.get(key, {}).get(group, UNKNOWN)

    def spread(self, key: str, group: str = "unlearned") -> Spread:
        """A plain number of a group of models; empty where it was not measured."""
        return self.spreads.get(key, {}).get(group, Spread())

    def single(self, key: str, group: str = "unlearned") -> float | None:
        """A number that a group has one of; None where it was not measured."""
        return self.singles.get(key, {}).get(group)

    @property
    def both(self) -> float | None:
        """Excess d2 of margins on forget and retain records together."""
        parts = self.distance("margin").value, self.distance("retain").value
        return None if None in parts else sum(p for p in parts if p is not None)


@dataclass(frozen=True)
class TuningCost:
    """CPU seconds of a tuning's draws, and how many there were."""

    setting: Setting
    method: str
    draws: int
    cpu_s: float


def has_results(folder: Path) -> bool:
    """Whether there is a file of a cell in the folder, which may be absent."""
    return any(True for _ in _cell_files(folder))


def read(*folders: Path) -> tuple[Row, ...]:
    """Rows of all cells in the folders, in the order of tables; of a cell that is in several, the first one's.

    Raises RequestError with everything that is wrong: a folder that is absent or has no results, a damaged file.
    """
    problems: list[str] = []
    found: dict[str, Row] = {}
    for folder in folders:
        files = list(_cell_files(folder))
        if not files:
            problems.append(f"{folder}: no results in it" if folder.is_dir() else f"{folder}: there is no such folder")
        for file in files:
            row = _parsed(problems, file, _row)
            if row is not None:
                found.setdefault(row.cell.name, row)
    if problems:
        raise RequestError(problems)
    return ordered(found.values())


def read_tunings(folder: Path) -> tuple[TuningCost, ...]:
    """What the tunings in a folder cost; none where nothing was tuned. RequestError for damaged files."""
    problems: list[str] = []
    files = sorted(folder.glob(f"*{TUNING}"))
    found = [_parsed(problems, file, _tuning) for file in files]
    if problems:
        raise RequestError(problems)
    return tuple(t for t in found if t is not None)


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


def _cell_files(folder: Path) -> Iterable[Path]:
    return (file for file in sorted(folder.glob("*.json")) if not file.name.endswith(TUNING))


def _parsed(problems: list[str], file: Path, parse: Any) -> Any:
    try:
        return parse(json.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        problems.append(f"{file}: cannot be read: {error.strerror}")
    except ValueError as error:  # no JSON, no UTF-8, or no number
        problems.append(f"{file}: damaged: {' '.join(str(error).split())}; delete it and run its suite again")
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        problems.append(f"{file}: is no result of the benchmark ({what}); delete it and run its suite again")
    return None


def _row(told: Mapping[str, Any]) -> Row:
    if told["schema"] != SCHEMA:
        raise ValueError(f"expected schema {SCHEMA}, got {told['schema']}")
    cell = told["cell"]
    made_on = {key: told[key] or {} for key in ("git", "versions", "machine")}
    failed = told["failed"]
    tuning = told["tuning"]
    singles = (*SINGLES, *(["predicted"] if "predicted" in told else []))
    return Row(
        Cell(**{**cell, "setting": Setting(**cell["setting"])}),
        int(told["forget"]),
        int(told["epochs"]),
        int(told["early"]),
        None if failed is None else str(failed),
        None if tuning is None else _number(tuning["cpu_s"]),
        Spending() if failed is not None else _spending(told["cost"]),
        *(
            ({}, {}, {}, {})
            if failed is not None
            else (
                {k: Share(_interval(v["share"]), bool(v["informative"])) for k, v in told["remains"].items()},
                {k: {w: _interval(v) for w, v in of.items()} for k, of in told["d2"].items()},
                {k: {w: Spread(*map(_number, told[k][w])) for w in GROUPS} for k in SPREADS},
                {k: {w: _number(told[k][w]) for w in GROUPS} for k in singles},
            )
        ),
        made_on,
    )


def _spending(told: Mapping[str, Any]) -> Spending:
    own = told["unlearn"]
    each = [float(v) for v in own.get("each", [])]
    middle = sum(each) / max(1, len(each))
    sd = math.sqrt(sum((v - middle) ** 2 for v in each) / (len(each) - 1)) if len(each) > 1 else None
    return Spending(
        _number(own["cpu_s"]),
        sd,
        _number(told["epoch_cpu_s"]),
        *(_number(told.get(key)) for key in ("cheaper", "cheaper_wall", "cheaper_early", "examples")),
    )


def _tuning(told: Mapping[str, Any]) -> TuningCost:
    tuned = told["tuned"]
    return TuningCost(Setting(**tuned["setting"]), str(tuned["method"]), len(told["tried"]), float(told["cpu_s"]))


def _interval(values: Any) -> Interval:
    return Interval(*map(_number, values))


def _number(value: Any) -> float | None:
    """A number; None for what is missing, or is none that a table could show."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected a number, got {value!r}")
    return float(value) if math.isfinite(value) else None
