"""The figures of a report as inline SVG; every function takes its part of a valid document.

matplotlib is imported inside the functions because it is slow to import; pyplot and the caller's rcParams are left
alone, and the same document gives the same bytes.
"""

import io
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by people with any common form of colour blindness
BLUE, SKY, GREEN, ORANGE, VERMILION = "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00"
_INK, _FAINT = "#333333", "#8a8a8a"
_WIDTH = 9.0  # inches; the page scales the figure to its column
_MODELS = ("original", "unlearned", "retrained")
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "efface",
    "text.parse_math": False,  # a dollar sign in a phase name is a dollar sign
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "savefig.transparent": True,
}


def distributions(scores: Mapping[str, Any]) -> str | None:
    """Histograms of forget and holdout scores, one panel per model on shared axes; None without scores."""
    models = [name for name in _MODELS if scores[name] and scores[name]["forget"] and scores[name]["holdout"]]
    if not models:
        return None
    edges = _edges([scores[name][group] for name in models for group in ("forget", "holdout")])
    sizes = {
        group: " or ".join(f"{n:,}" for n in sorted({len(scores[name][group]) for name in models}))
        for group in ("forget", "holdout")
    }
    said = []
    with _figure(2.7) as figure:
        panels = figure.subplots(1, len(models), sharex=True, sharey=True, squeeze=False)[0]
        for axes, name in zip(panels, models, strict=True):
            forget, holdout = np.asarray(scores[name]["forget"]), np.asarray(scores[name]["holdout"])
            _histogram(axes, holdout, edges, BLUE, f"holdout, never seen (n = {sizes['holdout']})", dashed=True)
            _histogram(axes, forget, edges, VERMILION, f"forget (n = {sizes['forget']})", dashed=False)
            axes.set_title(name)
            said.append(f"{name}: median {np.median(forget):.3g} forget, {np.median(holdout):.3g} holdout")
        panels[0].set_ylim(bottom=0)  # only once all panels are drawn: it ends the scaling that they share
        panels[0].set_ylabel("share of records (%)")
        figure.supxlabel(f"{_short(scores['statistic'])} (vertical lines: medians)", fontsize=9.5)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles[::-1], labels[::-1], loc="outside upper left", ncols=2)
        label = f"Distributions of {scores['statistic']} for forget and holdout records. {'; '.join(said)}."
        return _svg(figure, "scores", label)


def evidence(seen: Mapping[str, Any]) -> str | None:
    """Conditional AUC at each look against the target and its margin; None without looks."""
    looks = seen["looks"]
    if not looks:
        return None
    steps = [look["step"] for look in looks]
    values = [look["auc"]["value"] for look in looks]
    lows = [
        value if look["auc"]["low"] is None else look["auc"]["low"] for value, look in zip(values, looks, strict=True)
    ]
    highs = [
        value if look["auc"]["high"] is None else look["auc"]["high"] for value, look in zip(values, looks, strict=True)
    ]
    target, margin, chosen = seen["target"], seen["margin"], seen["chosen_step"]
    levels = sorted({f"{100 * look['auc']['level']:.4g}%" for look in looks})
    with _figure(3.2) as figure:
        axes = figure.subplots()
        axes.axhspan(target - margin, target + margin, color=GREEN, alpha=0.18, linewidth=0, label="margin")
        axes.axhline(target, color=GREEN, linestyle="--", linewidth=1.4, label=f"target {target:.3g}")
        axes.axvline(chosen, color=VERMILION, linestyle=":", linewidth=1.4, label=f"chosen step {chosen:,}")
        axes.vlines(steps, lows, highs, color=BLUE, linewidth=1.6)
        interval = f"conditional AUC with {' or '.join(levels)} interval"
        axes.plot(steps, values, color=BLUE, marker="o", markersize=4.5, linewidth=0.9, label=interval)
        at_chosen = [(step, value) for step, value in zip(steps, values, strict=True) if step == chosen]
        if at_chosen:
            ring: dict[str, Any] = {
                "markersize": 11,
                "markerfacecolor": "none",
                "markeredgecolor": VERMILION,
                "markeredgewidth": 1.8,
            }
            axes.plot(*zip(*at_chosen, strict=True), linestyle="none", marker="o", **ring)
        axes.set_xlabel("step")
        axes.set_ylabel("conditional AUC")
        figure.legend(*_in_order(axes, (3, 1, 0, 2)), loc="outside upper left", ncols=4, columnspacing=1.4)
        label = (
            f"Conditional AUC of forget against holdout records at {len(looks)} looks, from {values[0]:.3g} at step "
            f"{steps[0]} to {values[-1]:.3g} at step {steps[-1]}; target {target:.3g}, margin {margin:.3g}, "
            f"chosen step {chosen}."
        )
        return _svg(figure, "evidence", label)


def cost(spent: Mapping[str, Any]) -> str | None:
    """CPU seconds of each phase, and of retraining one model where that was timed, as bars; None without phases."""
    bars: list[tuple[str, float, str]] = []
    for part, colour in (("unlearn", BLUE), ("audit", SKY)):
        if spent[part] is not None:
            bars += [
                (f"{part}: {_short(name)}", phase["cpu_s"], colour) for name, phase in spent[part]["phases"].items()
            ]
    if spent["retrain"] is not None:
        bars.append(("retrain one model", spent["retrain"]["cpu_s_each"], ORANGE))
    if not bars:
        return None
    names, seconds, colours = zip(*bars, strict=True)
    with _figure(0.7 + 0.27 * len(bars)) as figure:
        axes = figure.subplots()
        drawn = axes.barh(range(len(bars)), seconds, color=colours, height=0.68)
        axes.bar_label(
            drawn, labels=[f"{value:,.3g}" if value < 1000 else f"{value:,.0f}" for value in seconds], padding=4
        )
        axes.set_yticks(range(len(bars)), names)
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.set_xlim(0, max(seconds) * 1.1 or 1.0)
        axes.set_xlabel("CPU seconds")
        said = "; ".join(f"{name} {value:.3g}" for name, value, _ in bars)
        return _svg(figure, "cost", f"CPU seconds by phase. {said}.")


def _short(text: str) -> str:
    """A name in one line that leaves room for the figure, without what a font cannot measure."""
    line = " ".join(text.encode("utf-8", "replace").decode("utf-8").split())
    return line if len(line) <= 40 else f"{line[:39]}\N{HORIZONTAL ELLIPSIS}"


@contextmanager
def _figure(height: float) -> Iterator["Figure"]:
    # without the default style first, the caller's own matplotlibrc would show through
    from matplotlib import rc_context, style
    from matplotlib.figure import Figure

    with style.context("default"), rc_context(_STYLE):
        yield Figure(figsize=(_WIDTH, height), layout="constrained")


def _edges(groups: list[list[float]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    pooled = np.concatenate([np.asarray(group, dtype=np.float64) for group in groups])
    low, high = float(pooled.min()), float(pooled.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    smallest = min(len(group) for group in groups)
    return np.linspace(low, high, int(np.clip(2 * np.sqrt(smallest), 10, 30)) + 1)


def _histogram(axes: "Axes", values: Any, edges: Any, colour: str, label: str, *, dashed: bool) -> None:
    # shares of each group's own records, so that groups of different sizes can be compared
    shares = 100 * np.histogram(values, edges)[0] / values.size
    line = "--" if dashed else "-"
    axes.stairs(shares, edges, fill=True, color=colour, alpha=0.16)
    axes.stairs(shares, edges, color=colour, linewidth=1.4, linestyle=line, label=label)
    axes.axvline(float(np.median(values)), color=colour, linewidth=1.2, linestyle=line, alpha=0.75)


def _in_order(axes: "Axes", order: tuple[int, ...]) -> tuple[list[Any], list[Any]]:
    handles, labels = axes.get_legend_handles_labels()
    return [handles[i] for i in order], [labels[i] for i in order]


def _svg(figure: "Figure", name: str, label: str) -> str:
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # the page's fonts, not the one measured here, draw the text
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    body = buffer.getvalue()
    body = body[body.index("<svg") :]
    # several figures share a page, so each keeps its ids to itself
    body = re.sub(r'\b(id="|href="#)', rf"\g<1>{name}-", body)
    body = body.replace("url(#", f"url(#{name}-")
    opening, rest = body.split(">", 1)
    opening = re.sub(r'\s(?:width|height|version)="[^"]*"', "", opening)
    said = escape(label)
    return f'{opening} role="img" aria-label="{said}"><title>{said}</title>{rest}'
