"""Which results of a suite are there and still of the code as it is, in a run's folder or in the committed table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.harness.collect import table_of
from benchmarks.harness.results import row_of
from benchmarks.harness.stored import has_results, read_json, read_records, read_tuning_results
from benchmarks.harness.suite import Cell, Recipe, Setting, Suite
from benchmarks.harness.tuning import Tuned, tuned_for, tuning_is_current
from benchmarks.harness.versions import is_current


@dataclass(frozen=True)
class Folders:
    """Where a run works: `out` takes its results, `cache` keeps trained models and readings for all suites.

    `results` has committed tables, whose cells need not be made again; None to make them all the same.
    """

    out: Path
    cache: Path
    results: Path | None = None


@dataclass
class Made:
    """What is made of a suite; files of `out` are read each time, since a run writes them."""

    suite: Suite
    folders: Folders
    _cells: dict[str, Mapping[str, Any]] = field(init=False, default_factory=dict)
    _tunings: dict[str, Mapping[str, Any]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        if self.folders.results is None:
            return
        table = table_of(self.suite.name, self.folders.results)
        if has_results(table):
            rows = [row_of(record) for record in read_records(table)]
            self._cells = {row.cell.name: {**row.measured, "cell": row.cell.as_json()} for row in rows}
            for found in read_tuning_results(table):
                tuned = Tuned(Setting(**found["tuned"]["setting"]), found["tuned"]["method"])
                self._tunings[tuned.name] = found

    def is_made(self, cell: Cell) -> bool:
        """Whether the cell's result is there, by the options and the versions of now."""
        options = self.options_of(cell)
        if options is None:
            return False
        expected = {"cell": cell.as_json(), "options": dict(options), "evidence": self.recipe_of(cell.method).evidence}
        return any(is_current(r, cell.method, **expected) for r in self._results(cell.name, self._cells))

    def recipe_of(self, method: str) -> Recipe:
        """How a method is run."""
        return self.suite.recipes.get(method, Recipe())

    def options_of(self, cell: Cell) -> Mapping[str, Any] | None:
        """The options that a cell's method is run with; None where its tuning is still to be done."""
        if cell.variant == "tuned":
            found = self.tuning_of(cell)
            return None if found is None else found["best"]
        return self.recipe_of(cell.method).published if cell.variant == "published" else {}

    def tuning_of(self, cell: Cell) -> Mapping[str, Any] | None:
        """The result of the tuning that gives a cell its options; None where it is still to be done."""
        return None if self.suite.tuning is None else self.tuned(tuned_for(cell, self.suite.tuning))

    def tuned(self, tuned: Tuned) -> Mapping[str, Any] | None:
        """The result of a tuning, if it is there and by the draws and versions of now."""
        found = (r for r in self._results(tuned.name, self._tunings) if _is_tuning(r, tuned, self.suite))
        return next(found, None)

    def _results(self, name: str, committed: Mapping[str, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        found = [committed[name]] if name in committed else []
        try:
            raw = read_json(self.folders.out / f"{name}.json")
        except (OSError, ValueError):
            return found
        return [raw, *found] if isinstance(raw, Mapping) else found


def _is_tuning(result: Mapping[str, Any], tuned: Tuned, suite: Suite) -> bool:
    try:
        return tuning_is_current(result, tuned, suite)
    except (KeyError, TypeError):  # another's file, or a damaged one
        return False
