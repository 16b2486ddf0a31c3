"""Figure of the cost of unlearning, its audit and retraining."""

from collections.abc import Mapping
from typing import Any

from efface.auditing.report.plots.base import BLUE, INK, ORANGE, SKY, new_figure, short, svg


def cost(spent: Mapping[str, Any]) -> str | None:
    """Draw the CPU seconds of each phase, and of retraining one model if that was timed, as bars; None without any.

    A bar is labelled with its seconds and, where they were counted, its record-trainings.
    """
    bars: list[tuple[str, float, str, float | None]] = []
    for part, colour in (("unlearn", BLUE), ("audit", SKY)):
        if spent[part] is not None:
            bars += [
                (f"{part}: {short(name)}", phase["cpu_s"], colour, phase.get("record_trainings"))
                for name, phase in spent[part]["phases"].items()
            ]
    if spent["retrain"] is not None:
        bars.append(("retrain one model", spent["retrain"]["cpu_s_each"], ORANGE, None))
    if not bars:
        return None
    names, seconds, colours, counts = zip(*bars, strict=True)
    with new_figure(0.7 + 0.27 * len(bars)) as figure:
        axes = figure.subplots()
        # the thin edge keeps the paler bars visible
        drawn = axes.barh(range(len(bars)), seconds, color=colours, height=0.68, edgecolor=INK, linewidth=0.5)
        axes.bar_label(drawn, labels=[_label(*pair) for pair in zip(seconds, counts, strict=True)], padding=4)
        axes.set_yticks(range(len(bars)), names)
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.set_xlim(0, max(seconds) * 1.25 or 1.0)
        axes.set_xlabel("CPU seconds / record-trainings")
        said = "; ".join(f"{name} {value:.3g}" for name, value, *_ in bars)
        return svg(figure, "cost", f"CPU seconds by phase. {said}.")


def _label(seconds: float, trainings: float | None) -> str:
    text = f"{seconds:,.3g}" if seconds < 1000 else f"{seconds:,.0f}"
    return text if trainings is None else f"{text} / {trainings:,.0f}"
