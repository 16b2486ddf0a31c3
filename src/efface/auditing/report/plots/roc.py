"""ROC curves on logarithmic axes, which show how well an attack works at few false positives."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from efface.auditing.report.plots.base import BAND, COLOURS, FAINT, LINES, MODEL_NAMES, new_figure, short, svg

MAX_POINTS = 300
_COARSE = 10  # with fewer false positives a curve is coarse, since single nonmembers change it
Numbers = np.ndarray[Any, np.dtype[np.float64]]


def roc(curves: Mapping[str, Any]) -> str:
    """Draw true against false positive rates of every model, both axes logarithmic.

    Args:
        curves: The part `roc` of a valid document.
    """
    smallest = 1 / curves["negatives"]
    # the smallest nonzero rate: one record of the larger group
    floor = min(smallest, 1 / curves["positives"], 0.5)
    said = []
    with new_figure(4.4) as figure:
        axes = figure.subplots()
        coarse_end = min(1.0, _COARSE * smallest)
        axes.axvspan(floor, coarse_end, color=BAND, linewidth=0, label=f"fewer than {_COARSE} never-seen records")
        axes.plot([floor, 1], [floor, 1], color=FAINT, linewidth=1.0, label="chance")
        for name in MODEL_NAMES:
            if curves["models"][name] is None:
                continue
            fpr, tpr = thinned(curves, name)
            # a point without false positives is drawn at the left end: a logarithm has no zero
            axes.step(
                np.maximum(fpr, floor),
                np.maximum(tpr, floor / 2),
                where="post",
                color=COLOURS[name],
                linestyle=LINES[name],
                linewidth=1.9,
                label=name,
            )
            rates_found = ", ".join(f"{100 * rate:.3g}% at {100 * at:.3g}%" for at, rate in rates(curves, name))
            said.append(f"{name}: {rates_found}")
        axes.set(xscale="log", yscale="log", xlim=(floor, 1), ylim=(floor, 1))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%")
            # between few powers of ten, the ticks at 2 and 5 of each need their numbers too
            axis.set_minor_formatter(partial(_minor, shown=floor > 0.01))
        axes.set_xlabel(f"false positive rate: never-seen records taken for members (n = {curves['negatives']:,})")
        axes.set_ylabel(f"true positive rate: forget records found (n = {curves['positives']:,})")
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles[2:] + handles[:2], labels[2:] + labels[:2], loc="outside right upper")
        label = (
            f"ROC curves of {short(curves['statistic'])} on logarithmic axes. True positive rates at false positive "
            f"rates: {'; '.join(said)}."
        )
        return svg(figure, "roc", label)


def _minor(value: float, _: int | None, *, shown: bool) -> str:
    return f"{100 * value:.3g}%" if shown and f"{value:.0e}"[0] in "25" else ""


def thinned(curves: Mapping[str, Any], name: str) -> tuple[Numbers, Numbers]:
    """Choose at most MAX_POINTS points of a curve, evenly along its length on logarithmic axes, with both ends.

    Args:
        curves: The part `roc` of a valid document.
        name: Which model's curve.

    Returns:
        False and true positive rates, from 0 to 1, (points,) each.
    """
    curve = curves["models"][name]
    fpr, tpr = np.asarray(curve["fpr"], dtype=np.float64), np.asarray(curve["tpr"], dtype=np.float64)
    if fpr.size <= MAX_POINTS:
        return fpr, tpr
    floor = 0.5 / max(curves["negatives"], curves["positives"])
    x, y = np.log(np.maximum(fpr, floor)), np.log(np.maximum(tpr, floor))
    along = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    chosen = np.searchsorted(along, np.linspace(0.0, along[-1], MAX_POINTS - 1))
    chosen = np.unique(np.append(np.minimum(chosen, fpr.size - 1), fpr.size - 1))
    return fpr[chosen], tpr[chosen]


def rates(curves: Mapping[str, Any], name: str) -> list[tuple[float, float]]:
    """False and true positive rates at 0.1, 1 and 10 % false positives, as far as there are enough nonmembers.

    Args:
        curves: The part `roc` of a valid document.
        name: Which model's curve.
    """
    curve = curves["models"][name]
    fpr, tpr = np.asarray(curve["fpr"]), np.asarray(curve["tpr"])
    usual = [at for at in (0.001, 0.01, 0.1) if at * curves["negatives"] >= 1]
    # the highest point that does not exceed the rate, without interpolation
    return [(at, float(tpr[fpr <= at].max(initial=0.0))) for at in usual]
