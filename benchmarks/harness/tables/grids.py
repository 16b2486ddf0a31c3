"""Tables with a row a method and a column a request, a size, a share or a kind of network."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.harness.markdown import NONE, left, name, number, percent, price, request, table, times, why
from benchmarks.harness.results import LEADING, Row, ordered
from benchmarks.harness.suite import CONTROLS, Setting
from benchmarks.harness.tables.bars import bar_lines

ENTRY = (
    "share of doing nothing's excess d2 left by margin, change on retain, times cheaper than retraining, price in "
    "record-trainings"
)
OF_A_CLASS = (
    "Of a class: how often it is still predicted on its records, total variation of outputs on them to retrained "
    "models over that between retrained models, times cheaper, price."
)
NO_CURVES = ("noisy-digits",)  # a task of its own


@dataclass(frozen=True)
class Curve:
    """Rows of one data set that differ in one thing; `at` says where a setting lies on it."""

    data: str
    along: str  # training records, share forgotten, network
    rows: tuple[Row, ...]
    at: Callable[[Setting], Any]

    @property
    def points(self) -> list[Any]:
        """Where there are rows, in order."""
        return list(dict.fromkeys(sorted((self.at(r.setting) for r in self.rows), key=_sortable)))


def field(rows: Iterable[Row]) -> str:
    """For each data set (and number of records) a table with requests as columns."""
    parts, groups = [], dict[tuple[str, int], list[Row]]()
    for row in rows:
        groups.setdefault((row.setting.problem, row.setting.records), []).append(row)
    for (problem, records), own in groups.items():
        grid = _grid(own, lambda r: request(r.setting), list(dict.fromkeys(request(r.setting) for r in own)))
        parts.append(f"**{problem}**, {records:,} records\n\n{grid}")
    if not parts:
        return ""
    whole_classes = any(r.predicts and r.setting.request == "class" for own in groups.values() for r in own)
    bars = "\n".join(bar_lines(r for own in groups.values() for r in own))
    shown = f"Entries: {ENTRY}.{f' {OF_A_CLASS}' if whole_classes else ''}"
    return "\n\n".join((shown, *parts, *([bars] if bars else [])))


def curves(rows: Iterable[Row]) -> str:
    """Tables by training records, by share forgotten and by kind of network; nothing where nothing varies."""
    rows = list(rows)
    found = curves_of(rows)
    if not found:
        return ""
    parts = []
    for c in found:
        shown: Callable[[Any], str] = percent if c.along == "share forgotten" else _written
        at = c.at
        grid = _grid(c.rows, lambda r, at=at, shown=shown: shown(at(r.setting)), [shown(p) for p in c.points])  # type: ignore[misc]
        parts.append(f"**{c.data}** by {c.along}\n\n{grid}")
    drawn = (r for r in rows if r.setting.request == "random" and r.setting.problem not in NO_CURVES)
    bars = "\n".join(bar_lines(drawn))
    return "\n\n".join((f"Random requests. Entries: {ENTRY}.", *parts, *([bars] if bars else [])))


def curves_of(rows: Iterable[Row]) -> list[Curve]:
    """What varies: methods that were not tuned, on random requests, where they were run at two points or more."""
    own = [
        r
        for r in rows
        if r.setting.request == "random"
        and r.cell.variant != "tuned"
        and r.method not in CONTROLS
        and r.setting.problem not in NO_CURVES
    ]
    families: tuple[tuple[str, Callable[[Setting], str], Callable[[Setting], Any]], ...] = (
        ("training records", lambda s: f"{s.problem}, {percent(s.share)} forgotten", lambda s: s.records),
        ("share forgotten", lambda s: f"{s.problem}, {s.records:,} records", lambda s: s.share),
        (
            "kind of network",
            lambda s: f"{s.problem.split('-')[0]}, {s.records:,} records, {percent(s.share)} forgotten",
            lambda s: s.problem.partition("-")[2] or "usual",
        ),
    )
    found = []
    for along, family, at in families:
        groups: dict[str, list[Row]] = {}
        for row in own:
            groups.setdefault(family(row.setting), []).append(row)
        for data, members in groups.items():
            reach: dict[str, set[Any]] = {}
            for r in members:
                reach.setdefault(r.method, set()).add(at(r.setting))
            kept = tuple(r for r in members if len(reach[r.method]) > 1)
            if kept:
                found.append(Curve(data, along, kept, at))
    return found


def _grid(rows: Sequence[Row], column: Callable[[Row], str], columns: Sequence[str]) -> str:
    entries: dict[str, dict[str, str]] = {}
    for row in sorted(ordered(rows), key=_method_order):
        entries.setdefault(name(row), {}).setdefault(column(row), _entry(row))
    return table(("method", *columns), [[key, *(of.get(c, "") for c in columns)] for key, of in entries.items()])


def _method_order(row: Row) -> tuple[bool, Any, str]:
    leads = row.method in LEADING
    return not leads, LEADING.index(row.method) if leads else row.method, row.cell.variant


def _entry(row: Row) -> str:
    if row.failed is not None:
        return why(row)
    cheaper = "" if row.cost.cheaper is None else f", {times(row.cost.cheaper)}x"
    cheaper += "" if row.cost.price is None else f", {price(row.cost.price)}"
    if row.setting.request == "class" and row.predicts:
        ours, theirs = row.single("variation"), row.single("variation", "retrained")
        ratio = NONE if ours is None or not theirs else number(ours / theirs)
        return f"{number(row.single('predicted'), 3)}, {ratio}{cheaper}"
    change = number(row.distance("retain", "change").value, sign=True)
    return f"{left(row.share_of('margin'))}, {change}{cheaper}"


def _written(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _sortable(value: Any) -> tuple[bool, Any]:
    return value != "usual", value
