"""Figure of what the stop rule measured at each evaluation."""

from collections.abc import Mapping
from typing import Any

from efface.auditing.report.plots.base import BLUE, GREEN, VERMILION, in_order, new_figure, svg


def evidence(measured: Mapping[str, Any]) -> str | None:
    """Draw the conditional AUC at each evaluation, with the target and its margin; None without evaluations."""
    evaluations = measured["evaluations"]
    if not evaluations:
        return None
    steps = [evaluation["step"] for evaluation in evaluations]
    values = [evaluation["auc"]["value"] for evaluation in evaluations]
    lows = [
        value if evaluation["auc"]["low"] is None else evaluation["auc"]["low"]
        for value, evaluation in zip(values, evaluations, strict=True)
    ]
    highs = [
        value if evaluation["auc"]["high"] is None else evaluation["auc"]["high"]
        for value, evaluation in zip(values, evaluations, strict=True)
    ]
    target, margin, chosen = measured["target"], measured["margin"], measured["chosen_step"]
    levels = sorted({f"{100 * evaluation['auc']['level']:.4g}%" for evaluation in evaluations})
    with new_figure(3.2) as figure:
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
        figure.legend(*in_order(axes, (3, 1, 0, 2)), loc="outside upper left", ncols=4, columnspacing=1.4)
        label = (
            f"Conditional AUC of forget against holdout records at {len(evaluations)} evaluations, from "
            f"{values[0]:.3g} at step {steps[0]} to {values[-1]:.3g} at step {steps[-1]}; "
            f"target {target:.3g}, margin {margin:.3g}, chosen step {chosen}."
        )
        return svg(figure, "evidence", label)
