"""Suites: TOML files that say which methods are judged on which requests, and by how many models."""

import itertools
import math
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from benchmarks.harness.problems import PROBLEMS
from benchmarks.harness.requests import KINDS, OF_CLASSES, PARTS, SHARE
from benchmarks.harness.schemas import RECIPE, SETTING, SUITE, TUNING, schema_problems
from efface.errors import RequestError, collect_errors
from efface.methods import REGISTRY
from efface.metrics.distance import MIN_RETRAINED as MIN_RETRAINED
from efface.runtime.options import nearest

PUBLISHED = 2  # the draw of what is published: options are chosen on draw 0, candidates compared on draw 1
CONTROLS = ("noop", "retrain")
PSEUDO = ("epochs", "forget_epochs")  # lengths in passes over the retain or forget records, for methods with `steps`
MIN_HALVES = 2 * MIN_RETRAINED  # two halves, of which one is judged by the other


@dataclass(frozen=True)
class Recipe:
    """How a method is run: published options, whether by the evidence that stops it, and what its tuning draws from.

    Options are numbers, words or switches as the method takes them; `epochs` and `forget_epochs` stand for `steps`.
    `space` holds (low, high) of options that are drawn log-uniformly. `note` says what a reader should know.
    """

    published: Mapping[str, Any] = field(default_factory=dict)
    evidence: bool = False
    space: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Tuning:
    """How each method is tuned: draws from its space, on another draw of the request, and by how many models."""

    draws: int = 6
    draw: int = 0
    models: int = 1
    retrained: int = 4


@dataclass(frozen=True)
class Setting:
    """A request on a problem, and the number of models that judge it."""

    problem: str
    records: int
    request: str
    share: float
    draw: int
    originals: int
    retrained: int

    @property
    def name(self) -> str:
        """Its name in file names."""
        return f"{self.problem}-{self.records}-{self.request}-{self.share:g}-{self.draw}"


@dataclass(frozen=True)
class Cell:
    """A method in a setting; `models` of the setting's originals are unlearned by it.

    variant: `default` (efface's own default, and the controls), `published` or `tuned`.
    """

    setting: Setting
    method: str
    variant: str
    models: int

    @property
    def name(self) -> str:
        """Its name in file names."""
        return f"{self.setting.name}-{self.method}-{self.variant}"

    def as_json(self) -> dict[str, Any]:
        """Its description in a result."""
        return asdict(self)


@dataclass(frozen=True)
class Suite:
    """All cells of a suite, how its methods are run, and how they are tuned (None: they are not)."""

    name: str
    title: str
    cells: tuple[Cell, ...]
    recipes: Mapping[str, Recipe]
    tuning: Tuning | None


def read_suite(path: Path) -> Suite:
    """Read a suite; RequestError with all that is wrong in it, unknown keys with the nearest known one.

    Top level: title, methods (path of a file of recipes beside it, with a table a method), tuning, and [[settings]]
    tables, in which problem, records, request and share may be lists; every combination is a setting.
    """
    whole = _toml(path)
    problems = schema_problems(whole, SUITE, path.name)
    if problems:
        raise RequestError(problems)
    _known(problems, path.name, whole, ("title", "methods", "tuning", "settings"))
    recipes = _recipes(problems, path.parent / str(whole.get("methods", "methods.toml")))
    tuning = _tuning(problems, whole.get("tuning"))
    cells: list[Cell] = []
    if not whole.get("settings"):
        problems.append(f"{path.name}: no [[settings]]")
    for number, row in enumerate(whole.get("settings", []), 1):
        cells += _cells(problems, f"settings {number}", row, recipes, tuning)
    if problems:
        raise RequestError(problems)
    unique = tuple(dict.fromkeys(cells))
    twice = [name for name, count in Counter(c.name for c in unique).items() if count > 1]
    problems += [f"{path.name}: {name} is asked for with different numbers of models" for name in twice[:3]]
    if tuning is not None and any(c.variant == "tuned" and c.setting.draw == tuning.draw for c in unique):
        problems.append(f"tuning: draw {tuning.draw} is that of a setting, which would then judge what it chose")
    if problems:
        raise RequestError(problems)
    return Suite(path.stem, str(whole.get("title", path.stem)), unique, recipes, tuning)


def limited(suite: Suite, only: Sequence[str]) -> Suite:
    """The suite with the controls and some methods alone; RequestError for one that it does not have."""
    there = {c.method for c in suite.cells}
    if missing := [m for m in only if m not in there]:
        raise RequestError([f"--only: {suite.name} has no method {m!r} ({nearest(m, sorted(there))})" for m in missing])
    return replace(suite, cells=tuple(c for c in suite.cells if c.method in (*CONTROLS, *only)))


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"), parse_float=_finite)
    except OSError as error:
        raise RequestError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # also numbers of more digits, and nesting deeper, than Python takes
        raise RequestError(f"{path}: not a TOML file: {str(error).splitlines()[0]}") from error


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"expected a number, got {text}")
    return number


def _known(problems: list[str], where: str, table: Mapping[str, Any], known: Sequence[str]) -> None:
    problems += [f"{where}: unknown key {k!r} ({nearest(k, known)})" for k in table if k not in known]


def _recipes(problems: list[str], path: Path) -> dict[str, Recipe]:
    found = {}
    for key, table in _toml(path).items():
        where = f"{path.name}, {key}"
        if key not in REGISTRY:
            problems.append(f"{where}: there is no such method ({nearest(key, list(REGISTRY))})")
            continue
        wrong = schema_problems(table, RECIPE, where)
        if wrong:
            problems += wrong
            continue
        _known(problems, where, table, [f.name for f in fields(Recipe)])
        names = [f.name for f in fields(REGISTRY[key])]
        names += PSEUDO if "steps" in names else []
        for part in ("published", "space"):
            _known(problems, f"{where}.{part}", table.get(part, {}), names)
        space = table.get("space", {})
        problems += [f"{where}.space.{k}: expected [low, high], got {v}" for k, v in space.items() if v[0] > v[1]]
        options = {k: v for k, v in table.get("published", {}).items() if k in names and k not in PSEUDO}
        lengths = [v for k, v in table.get("published", {}).items() if k in PSEUDO]
        if not all(isinstance(v, int | float) and v > 0 for v in lengths):
            problems.append(f"{where}.published: expected passes above 0, got {lengths}")
        elif collect_errors(problems, REGISTRY[key], **options) is not None:
            ranges = {k: (float(v[0]), float(v[1])) for k, v in space.items()}
            found[key] = Recipe(table.get("published", {}), bool(table.get("evidence")), ranges, table.get("note", ""))
    return found


def _tuning(problems: list[str], table: Mapping[str, Any] | None) -> Tuning | None:
    wrong = [] if table is None else schema_problems(table, TUNING, "tuning")
    problems += wrong
    if table is None or wrong:
        return None
    _known(problems, "tuning", table, [f.name for f in fields(Tuning)])
    made = Tuning(**{k: v for k, v in table.items() if k in {f.name for f in fields(Tuning)}})
    if made.retrained < MIN_RETRAINED:
        problems.append(f"tuning: retrained: expected {MIN_RETRAINED} or more, got {made.retrained}")
    return made


def _cells(
    problems: list[str], where: str, row: Mapping[str, Any], recipes: Mapping[str, Recipe], tuning: Tuning | None
) -> list[Cell]:
    keys = ("problem", "records", "request", "share", "draw", "methods", "originals", "retrained", "others", "tuned")
    wrong = schema_problems(row, SETTING, where)
    if wrong:
        problems += wrong
        return []
    _known(problems, where, row, keys)
    originals, retrained = row.get("originals", 16), row.get("retrained", 32)
    others, methods = row.get("others", 4), _list(row.get("methods", "all"))
    if methods == ["all"]:
        methods = [k for k, made in REGISTRY.items() if k not in CONTROLS and not made.needs_structure]
    wrong = [
        f"there is no problem {k!r} ({nearest(k, list(PROBLEMS))})"
        for k in _list(row.get("problem", []))
        if k not in PROBLEMS
    ]
    wrong += [
        f"there is no request {k!r} ({nearest(k, KINDS)})" for k in _list(row.get("request", [])) if k not in KINDS
    ]
    wrong += [f"there is no method {k!r} ({nearest(k, list(REGISTRY))})" for k in methods if k not in REGISTRY]
    wrong += [f"{k} is missing" for k in ("problem", "request") if not row.get(k)]
    if retrained < MIN_HALVES or retrained % 2:
        wrong.append(f"retrained: expected an even number of {MIN_HALVES} or more, got {retrained}")
    if not 2 <= others <= originals:
        wrong.append(f"others: expected 2 to originals ({originals}), got {others}")
    if wrong:
        problems += [f"{where}: {w}" for w in wrong]
        return []
    cells = []
    whole = (_list(row["problem"]), _list(row["request"]), _list(row.get("share", SHARE)))
    for key, request, share in itertools.product(*whole):
        for records in _list(row.get("records", PROBLEMS[key].usual)):
            if request in OF_CLASSES and not PROBLEMS[key].rules.has_classes:
                problems.append(f"{where}: {key} has no classes, which the request {request!r} needs")
                continue
            if request == "sequence" and share * records < PARTS:
                problems.append(f"{where}: {share:g} of {records} records cannot be asked for in {PARTS} parts")
                continue
            if records not in PROBLEMS[key].sizes:
                problems.append(f"{where}: {key} comes in {PROBLEMS[key].sizes} records, not {records}")
                continue
            setting = Setting(key, records, request, share, row.get("draw", 1), originals, retrained)
            for method in [*CONTROLS, *methods]:
                count = originals if method in ("steer", *CONTROLS) else others
                cells += [Cell(setting, method, v, count) for v in _variants(row, method, recipes, tuning)]
    return cells


def _variants(
    row: Mapping[str, Any], method: str, recipes: Mapping[str, Recipe], tuning: Tuning | None
) -> tuple[str, ...]:
    if method in ("steer", *CONTROLS):
        return ("default",)
    tuned = tuning is not None and row.get("tuned", True) and method in recipes and recipes[method].space
    return ("published", "tuned") if tuned else ("published",)


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]
