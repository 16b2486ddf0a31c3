"""Forest plot of the tests that decide the verdict: the effect and margin of each."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from efface.auditing.report.plots.base import BAND, BLUE, COLOURS, FAINT, INK, new_figure, short, svg
from efface.auditing.report.wording import KINDS, OUTCOMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ORDER = ("attack", "off_label", "distance")
_ROW, _HEAD = 0.46, 0.3  # heights of a test and of a heading, in inches
Test = Mapping[str, Any]


def effects(tests: Sequence[Test]) -> str | None:
    """Draw one row for each test and one panel for each unit; None without tests."""
    panels = _panels(tests)
    if not panels:
        return None
    rows = [_rows(panel) for panel in panels]
    heights = [sum(_HEAD if isinstance(row, str) else _ROW for row in panel) for panel in rows]
    with new_figure(0.4 + sum(heights) + 0.62 * len(panels)) as figure:
        grid = figure.subplots(len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": heights})
        for axes, panel in zip(grid[:, 0], rows, strict=True):
            _draw(axes, panel)
        figure.legend(*_legend(tests), loc="outside upper left", ncols=5, columnspacing=1.3, handletextpad=0.5)
        said = "; ".join(
            f"{test['title']}: original {test['original']['value']:.3g}, unlearned {test['unlearned']['value']:.3g}, "
            f"margin {test['margin']:.3g}, {OUTCOMES[test['outcome']].word}"
            for panel in panels
            for test in panel
        )
        return svg(figure, "tests", f"Tests that decided the verdict. {said}.")


def sorted_tests(tests: Sequence[Test]) -> list[Test]:
    """Tests in the order of the figure and the table: attacks, off-label tests, distances."""
    return sorted(tests, key=lambda test: _ORDER.index(test["kind"]))


def _panels(tests: Sequence[Test]) -> list[list[Test]]:
    # numbers of different units share no axis
    panels: dict[tuple[bool, str], list[Test]] = {}
    for test in sorted_tests(tests):
        panels.setdefault((test["kind"] == "distance", test["unit"]), []).append(test)
    return list(panels.values())


def _rows(panel: Sequence[Test]) -> list[Test | str]:
    """The tests of a panel, with a heading above the first of each kind."""
    rows: list[Test | str] = []
    kind = None
    for test in panel:
        if test["kind"] != kind:
            kind = test["kind"]
            rows.append(KINDS[kind])
        rows.append(test)
    return rows


def _draw(axes: "Axes", rows: Sequence[Test | str]) -> None:
    from matplotlib.patches import Rectangle

    at = 0.0
    places, names, tests = [], [], []
    span = _span([row for row in rows if not isinstance(row, str)])
    for row in rows:
        if isinstance(row, str):
            # beside the axes, where no line of the plot can cross it
            axes.annotate(row, (0, at + 0.5 * _HEAD), xycoords=("axes fraction", "data"), xytext=(-4, 0),
                          textcoords="offset points", ha="right", va="center", fontweight="bold")  # fmt: skip
            at += _HEAD
            continue
        centre = at + _ROW / 2
        margin = row["margin"]
        # a distance below zero occurs by chance only, and always counts as none
        left = span[0] if row["kind"] == "distance" else -margin
        axes.add_patch(Rectangle((left, at + 0.03), margin - left, _ROW - 0.06, color=BAND, linewidth=0, zorder=0))
        _row(axes, row, centre)
        places.append(centre)
        names.append(short(row["title"]))
        tests.append(row)
        mark = OUTCOMES[row["outcome"]]
        axes.annotate(f"{mark.symbol}  {mark.word}", (1, centre), xycoords=("axes fraction", "data"),
                      xytext=(10, 0), textcoords="offset points", va="center")  # fmt: skip
        at += _ROW
    axes.axvline(0, color=INK, linewidth=0.9, zorder=1)
    if tests[0]["kind"] == "distance":
        axes.axvline(1, color=FAINT, linewidth=0.9, linestyle="--", zorder=1)
    axes.set_ylim(at, 0)
    axes.set_xlim(span)
    axes.set_yticks(places, names)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    unit = short(tests[0]["unit"], 110)
    ends = "0: none left, 1: as doing nothing" if tests[0]["kind"] == "distance" else "0: none left"
    axes.set_xlabel(f"{unit} ({ends})" if unit else ends)


def _row(axes: "Axes", test: Test, centre: float) -> None:
    unlearned, bound = test["unlearned"], test["equivalence_interval"]
    if bound["low"] is not None and bound["high"] is not None:
        axes.hlines(centre, bound["low"], bound["high"], color=BLUE, linewidth=5.5, alpha=0.3, zorder=2)
    _interval_line(axes, test["original"], centre - 0.13, COLOURS["original"], dashed=True)
    _interval_line(axes, unlearned, centre, BLUE, dashed=False)
    axes.plot(test["original"]["value"], centre - 0.13, zorder=4, **_marker("original"))
    axes.plot(unlearned["value"], centre, zorder=5, **_marker("unlearned"))
    if test["retrained"] is not None:
        _interval_line(axes, test["retrained"], centre + 0.13, COLOURS["retrained"], dashed=True)
        axes.plot(test["retrained"]["value"], centre + 0.13, zorder=4, **_marker("retrained"))


def _interval_line(axes: "Axes", estimate: Mapping[str, Any], at: float, colour: str, *, dashed: bool) -> None:
    if estimate["low"] is None or estimate["high"] is None:
        return
    ends = (estimate["low"], estimate["high"])
    axes.hlines(at, *ends, color=colour, linewidth=1.1 if dashed else 1.6, linestyle=":" if dashed else "-", zorder=3)
    if not dashed:
        axes.plot(ends, (at, at), linestyle="none", marker="|", markersize=7, color=colour, zorder=3)


def _marker(model: str) -> dict[str, Any]:
    """The marker of a model; shape and fill differ as well as colour."""
    style: dict[str, Any] = {"linestyle": "none", "markeredgecolor": COLOURS[model], "markeredgewidth": 1.5}
    if model == "unlearned":
        return {**style, "marker": "o", "markersize": 7, "markerfacecolor": COLOURS[model]}
    shape, size = ("o", 6.5) if model == "original" else ("D", 5)
    return {**style, "marker": shape, "markersize": size, "markerfacecolor": "white"}


def _legend(tests: Sequence[Test]) -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    shown = {
        "original": Line2D([], [], **_marker("original")),
        "unlearned": Line2D([], [], **{**_marker("unlearned"), "linestyle": "-"}, color=BLUE),
        "retrained": Line2D([], [], **_marker("retrained")),
        "equivalence interval": Line2D([], [], color=BLUE, alpha=0.3, linewidth=5.5),
        "allowed": Patch(color=BAND, linewidth=0),
    }
    if all(test["retrained"] is None for test in tests):
        del shown["retrained"]
    return list(shown.values()), list(shown)


def _span(tests: Sequence[Test]) -> tuple[float, float]:
    ends = [0.0, *([1.0] if tests[0]["kind"] == "distance" else [])]
    for test in tests:
        ends += [test["margin"], *([] if test["kind"] == "distance" else [-test["margin"]])]
        for estimate in (test["original"], test["unlearned"], test["equivalence_interval"], test["retrained"]):
            if estimate is not None:
                ends += [end for end in (estimate["value"], estimate["low"], estimate["high"]) if end is not None]
    low, high = min(ends), max(ends)
    slack = 0.04 * (high - low) or 1.0
    return low - slack, high + slack
