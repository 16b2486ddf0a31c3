"""From the raw results of a run to the committed table of a suite."""

from pathlib import Path
from typing import Any

from benchmarks.harness.files import write_whole
from benchmarks.harness.records import Record
from benchmarks.harness.results import ordered, row_of
from benchmarks.harness.stored import (
    TABLE,
    TUNINGS,
    has_results,
    read_records,
    read_tuning_results,
    read_tunings_table,
    table_text,
    tunings_text,
)
from benchmarks.harness.suite import Setting, Suite
from benchmarks.harness.tuning import Tuned, tunings_of
from efface.errors import RequestError


def table_of(suite: str, results: Path) -> Path:
    """Where the committed table of a suite lies in the folder of tables."""
    return results / f"{suite}{TABLE}"


def collect(suite: Suite, raw: Path, results: Path) -> list[Path]:
    """Write a suite's table from the raw results of a run, and its part of the table of tunings.

    Cells and tunings that the run did not make are taken from the table that is there.

    Args:
        suite: the suite; cells that are none of its are left out.
        raw: the folder that the run wrote to; may be absent where the table has every cell.
        results: the folder of tables.

    Returns:
        The files written.

    Raises:
        RequestError: a file is damaged, or cells of the suite are in neither place.
    """
    table = table_of(suite.name, results)
    rows = [row_of(r) for r in read_records(*(place for place in (raw, table) if has_results(place)))]
    found: dict[str, Any] = {}
    for row in rows:
        found.setdefault(row.cell.name, row)
    missing = [cell.name for cell in suite.cells if cell.name not in found]
    tuned = {t.name: t for t in tunings_of(suite)}
    tunings = _tunings(raw, table)
    missing += [name for name in tuned if name not in tunings]
    if missing:
        raise RequestError(
            f"{len(missing)} results of {suite.name} are not made ({missing[0]} is one): run the suite first"
        )
    records: list[Record] = [r.measured for r in ordered(found[cell.name] for cell in suite.cells)]
    texts = dict(zip((table, table.with_suffix(".json")), table_text(records, suite.title), strict=True))
    place = results / TUNINGS
    if tuned or place.is_file():
        others = [t for t in (read_tunings_table(place) if place.is_file() else []) if t["suite"] != suite.name]
        own = [{**tunings[name], "suite": suite.name} for name in sorted(tuned)]
        texts[place] = tunings_text(sorted([*others, *own], key=lambda t: str(t["suite"])))
    return [write_whole(path, text) for path, text in texts.items()]


def _tunings(raw: Path, table: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for place in (raw, table):
        for tuning in read_tuning_results(place):
            tuned = tuning["tuned"]
            found.setdefault(Tuned(Setting(**tuned["setting"]), tuned["method"]).name, tuning)
    return found
