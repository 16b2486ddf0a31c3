"""Histograms of the scores of forget and holdout records under each model."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from efface.auditing.report.plots.base import BLUE, MODEL_NAMES, SIZE, VERMILION, new_figure, short, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Numbers = np.ndarray[Any, np.dtype[np.float64]]


def distributions(scores: Mapping[str, Any]) -> str | None:
    """Draw histograms of forget and holdout scores, one panel for each model on shared axes; None without scores."""
    models = [name for name in MODEL_NAMES if scores[name] and scores[name]["forget"] and scores[name]["holdout"]]
    if not models:
        return None
    edges = bin_edges([scores[name][group] for name in models for group in ("forget", "holdout")])
    sizes = {
        group: " or ".join(f"{n:,}" for n in sorted({len(scores[name][group]) for name in models}))
        for group in ("forget", "holdout")
    }
    said = []
    with new_figure(2.7) as figure:
        panels = figure.subplots(1, len(models), sharex=True, sharey=True, squeeze=False)[0]
        for axes, name in zip(panels, models, strict=True):
            forget, holdout = np.asarray(scores[name]["forget"]), np.asarray(scores[name]["holdout"])
            _histogram(axes, holdout, edges, BLUE, f"holdout, never seen (n = {sizes['holdout']})", dashed=True)
            _histogram(axes, forget, edges, VERMILION, f"forget (n = {sizes['forget']})", dashed=False)
            axes.set_title(name)
            said.append(f"{name}: median {np.median(forget):.3g} forget, {np.median(holdout):.3g} holdout")
        panels[0].set_ylim(bottom=0)  # after all panels are drawn, since it turns off their shared scaling
        panels[0].set_ylabel("share of records (%)")
        figure.supxlabel(f"{short(scores['statistic'])}; vertical lines: medians", fontsize=SIZE)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles[::-1], labels[::-1], loc="outside upper left", ncols=2)
        label = f"Distributions of {scores['statistic']} for forget and holdout records. {'; '.join(said)}."
        return svg(figure, "scores", label)


def bin_edges(groups: list[list[float]]) -> Numbers:
    """Edges of the bins that all groups share: 10 to 30 bins, more for larger groups."""
    pooled = np.concatenate([np.asarray(group, dtype=np.float64) for group in groups])
    low, high = float(pooled.min()), float(pooled.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    smallest = min(len(group) for group in groups)
    return np.linspace(low, high, int(np.clip(2 * np.sqrt(smallest), 10, 30)) + 1)


def _histogram(axes: "Axes", values: Any, edges: Any, colour: str, label: str, *, dashed: bool) -> None:
    # shares within each group, so that groups of different sizes can be compared
    shares = 100 * np.histogram(values, edges)[0] / values.size
    line = "--" if dashed else "-"
    axes.stairs(shares, edges, fill=True, color=colour, alpha=0.16)
    axes.stairs(shares, edges, color=colour, linewidth=1.4, linestyle=line, label=label)
    axes.axvline(float(np.median(values)), color=colour, linewidth=1.2, linestyle=line, alpha=0.75)
