"""Figures of the benchmark as SVG: cost against distance, and both along training size and share forgotten.

Drawn in the report's style; the same rows give the same bytes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.harness.files import write_whole
from benchmarks.harness.markdown import percent, titled
from benchmarks.harness.results import QUARTER, Row, by_setting, read
from benchmarks.harness.suite import CONTROLS
from benchmarks.harness.tables.grids import Curve, curves_of
from efface.auditing.report.plots.base import BLUE, FAINT, GREEN, INK, ORANGE, SKY, VERMILION, new_figure, svg
from efface.errors import RequestError
from efface.methods import REGISTRY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

ACROSS = 2  # panels of cost and distance side by side
PANEL, BELOW = 2.3, 1.0  # inches
COLOURS = (BLUE, VERMILION, GREEN, ORANGE, SKY, FAINT)
MARKERS = ("o", "s", "^", "D", "v")
LINEAR = 1.0  # excess d2 below which the axis is linear: what is less than one spread between trainings
LINEAR_SHARE = 0.5
ALONG = {"training records": "training records", "share forgotten": "share forgotten"}


def draw(place: Path, out: Path) -> list[Path]:
    """Write the figures that results call for into a folder, each file whole or not at all.

    Args:
        place: a folder that `run` wrote to, or a committed table.
        out: where the figures go.

    Returns:
        Their paths.

    Raises:
        RequestError: there are no results, or damaged ones; or `out` cannot be written.
    """
    rows = read(place)
    try:
        out.mkdir(parents=True, exist_ok=True)
        return [write_whole(out / f"{key}.svg", figure) for key, make in FIGURES.items() if (figure := make(rows))]
    except OSError as error:
        raise RequestError(f"{out}: cannot be written: {error.strerror}") from error


def pareto(rows: Iterable[Row]) -> str:
    """Cost as a share of retraining against excess d2 on forget and retain records together, a panel a request.

    Controls are lines; published options are empty signs, tuned ones full. Nothing where no method has both numbers.
    """
    panels = {s: own for s, own in by_setting(rows).items() if any(_at(r) for r in own)}
    if not panels:
        return ""
    down = -(-len(panels) // ACROSS)
    with new_figure(PANEL * down + BELOW) as figure:
        grid = figure.subplots(down, ACROSS, squeeze=False, sharex=True)
        flat = [axes for line in grid for axes in line]
        for axes, (setting, own) in zip(flat, panels.items(), strict=False):
            _panel(axes, own)
            axes.set_title(titled(setting))
        for axes in flat[len(panels) :]:
            axes.set_visible(False)
            # its labels were to serve the panel above, too
            flat[len(panels) - ACROSS].tick_params(labelbottom=True)
        for axes in flat[max(0, len(panels) - ACROSS) : len(panels)]:
            axes.set_xlabel("CPU time as a share of retraining")
        figure.supylabel("excess d2 on forget + retain", fontsize="medium", color=INK)
        _legend(figure, flat)
        said = (
            f"Cost as a share of retraining against the distance to retrained models, {len(panels)} requests; "
            "the numbers are in the tables"
        )
        return _finished(svg(figure, "pareto", said))


def along(rows: Iterable[Row]) -> str:
    """Times cheaper, share left by margin and, where it was counted, price, against training records and share."""
    found = [c for c in curves_of(rows) if c.along in ALONG]
    if not found:
        return ""
    from matplotlib.ticker import LogLocator

    priced = any(r.cost.price is not None for curve in found for r in curve.rows)
    down = 2 + priced
    with new_figure(down * PANEL + BELOW) as figure:
        grid = figure.subplots(down, len(found), squeeze=False, sharey="row")
        for j, curve in enumerate(found):
            top, bottom = grid[0][j], grid[1][j]
            top.set_yscale("log")
            # a method that moves a model farther away must not flatten the others
            bottom.set_yscale("symlog", linthresh=LINEAR_SHARE)
            top.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            _lines(top, curve, lambda r: r.cost.cheaper)
            _lines(bottom, curve, lambda r: r.share_of("margin").share.value)
            if priced:
                grid[2][j].set_yscale("log")
                _lines(grid[2][j], curve, lambda r: r.cost.price)
            for line in grid:
                _decimal(line[j].yaxis)
            bottom.axhline(1.0, color=VERMILION, linestyle="--", linewidth=1.0)
            _ticks([line[j] for line in grid], curve)
            top.set_title(curve.data.replace(", ", "\n"), fontsize="small")
            grid[-1][j].set_xlabel(ALONG[curve.along])
        grid[0][0].set_ylabel("times cheaper")
        grid[1][0].set_ylabel("share left by margin")
        if priced:
            grid[2][0].set_ylabel("record-trainings")
        _legend(figure, [axes for line in grid for axes in line])
        said = (
            f"Times cheaper{', price' if priced else ''} and share of the distance left by size and share forgotten; "
            "the numbers are in the tables"
        )
        return _finished(svg(figure, "curves", said))


def _panel(axes: "Axes", own: Sequence[Row]) -> None:
    # before anything is drawn, so that margins are those of these scales
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=LINEAR)
    _decimal(axes.xaxis)
    _decimal(axes.yaxis)
    axes.grid(color=FAINT, alpha=0.2, linewidth=0.5)
    axes.axhline(0.0, color=FAINT, linewidth=0.6)
    for row in own:
        if row.method in CONTROLS and row.both is not None:
            colour, line = (VERMILION, "--") if row.method == "noop" else (GREEN, ":")
            axes.axhline(row.both, color=colour, linestyle=line, linewidth=1.2, label=row.method)
    axes.axvline(1 / QUARTER, color=FAINT, linewidth=0.6)
    axes.axvline(1.0, color=FAINT, linewidth=1.2)
    for row in own:
        if (place := _at(row)) is not None:
            style = _style(row.method) | {"fillstyle": "none" if row.cell.variant == "published" else "full"}
            axes.plot(*place, linestyle="none", label=row.method, **style)


def _at(row: Row) -> tuple[float, float] | None:
    if row.method in CONTROLS or not row.cost.cheaper or row.both is None:
        return None
    return 1 / row.cost.cheaper, row.both


def _style(method: str) -> dict[str, Any]:
    """A method's colour and sign, the same in every figure."""
    if method == "steer":
        return {"color": INK, "marker": "*", "markersize": 11}
    place = list(REGISTRY).index(method) if method in REGISTRY else 0
    # neighbours in the registry differ in colour, and no two methods in both
    colour, sign = place % len(COLOURS), (place // len(COLOURS)) % len(MARKERS)
    return {"color": COLOURS[colour], "marker": MARKERS[sign], "markersize": 5}


def _lines(axes: "Axes", curve: Curve, read_one: Callable[[Row], float | None]) -> None:
    by_method: dict[str, dict[Any, float]] = {}
    for row in curve.rows:
        value = read_one(row)
        if value is not None:
            by_method.setdefault(row.method, {}).setdefault(curve.at(row.setting), value)
    for method, points in by_method.items():
        width = 1.8 if method == "steer" else 0.9
        at = sorted(points)
        axes.plot(at, [points[x] for x in at], label=method, linewidth=width, **_style(method))
    axes.set_xscale("log")
    axes.grid(color=FAINT, alpha=0.2, linewidth=0.5)


def _ticks(column: "Sequence[Axes]", curve: Curve) -> None:
    """The points themselves as ticks, in words only at the bottom, where they are read."""
    shown = [percent(p) if curve.along == "share forgotten" else f"{p / 1000:g}k" for p in curve.points]
    for axes in column:
        axes.set_xticks(curve.points, shown if axes is column[-1] else [""] * len(shown))
        axes.set_xticks([], minor=True)


def _decimal(axis: "Axis") -> None:
    """Numbers as they are written, since the style draws no formulas, and only at the main ticks."""
    from matplotlib.ticker import NullFormatter

    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())


def _legend(figure: Any, panels: Iterable["Axes"]) -> None:
    """One legend for all panels, each method once."""
    found: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    figure.legend(list(found.values()), list(found), loc="outside lower center", ncols=7, fontsize="small")


def _finished(figure: str) -> str:
    """With a ground of its own: readers with a dark page need one for dark text."""
    return figure.replace("<svg ", '<svg style="background: white" ', 1) + "\n"


FIGURES: Mapping[str, Callable[[Iterable[Row]], str]] = {"pareto": pareto, "curves": along}
