"""The report as one self-contained page: no script, nothing loaded, every outside string escaped."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from efface.report import plots

_SHOWN_RECORDS = 50

VERDICTS = {
    "verified": (
        "Verified",
        "Within the limits stated here, the unlearned model could not be told from one that never saw these records.",
    ),
    "not_verified": (
        "Not verified",
        "The audit found evidence against this unlearning.",
    ),
    "undecided": (
        "Undecided",
        "The audit could neither confirm this unlearning nor rule it out.",
    ),
}
OUTCOMES = {
    "looks_unseen": "The steps ended because the whole interval lay within the margin of the target.",
    "under_unlearned": "The step limit was reached with the whole interval above the target: too little was unlearned.",
    "over_unlearned": "The steps ended with the whole interval below the target: too much was unlearned.",
    "undecided": "The step limit was reached with an interval that covers the target but is wider than the margin.",
    "utility_floor": "The steps ended because held-out accuracy fell below its floor.",
    "not_judged": "The steps were taken without judging them: no stop rule was asked for.",
}
KINDS = {"utility": "utility", "attack": "attack", "off_label": "off-label", "distance": "distance"}


def render(document: Mapping[str, Any]) -> str:
    """The page of a valid document; the same document gives the same bytes."""
    shown, hidden = _records(document["records"])
    metrics, footnotes = _metrics(document["metrics"])
    seen = document["evidence"]
    return _template().render(
        doc=document,
        verdict=VERDICTS[document["verdict"]["status"]],
        outcome=None if seen is None else OUTCOMES[seen["outcome"]],
        figures={
            "scores": _markup(plots.distributions(document["distributions"])),
            "evidence": None if seen is None else _markup(plots.evidence(seen)),
            "cost": _markup(plots.cost(document["cost"])),
        },
        metrics=metrics,
        footnotes=footnotes,
        kinds=KINDS,
        has_retrained=_has_retrained(document),
        records=shown,
        hidden_records=hidden,
    )


def number(value: float | int | bool | str | None) -> str:
    """A number for people: about three significant places, thousands apart; text and truth values as they are."""
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}".replace("-", "\N{MINUS SIGN}")
    size = abs(value)
    text = f"{value:,.0f}" if size >= 1000 else f"{value:.3f}" if size >= 0.001 or size == 0 else f"{value:.2e}"
    return text.replace("-", "\N{MINUS SIGN}")


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    if seconds < 120:
        return f"{seconds:.3g} s" if seconds < 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def ratio(value: float) -> str:
    """How the cost of unlearning compares with that of one retraining, given their quotient."""
    return f"{1 / value:.3g} times less CPU time than" if value < 1 else f"{value:.3g} times the CPU time of"


@cache
def _template() -> Template:
    # the figures are the only markup that is not escaped; plots escapes the text within them
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(number=number, duration=duration, ratio=ratio)
    return environment.from_string(files("efface.report").joinpath("page.html.j2").read_text(encoding="utf-8"))


def _markup(svg: str | None) -> Markup | None:
    return None if svg is None else Markup(svg)


def _has_retrained(document: Mapping[str, Any]) -> bool:
    return (
        document["distributions"]["retrained"] is not None
        or document["cost"]["retrain"] is not None
        or any(metric["retrained"]["state"] == "measured" for metric in document["metrics"])
    )


def _metrics(metrics: Sequence[Mapping[str, Any]]) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    """Rows by group in the order met, and the reasons for missing numbers, each once, as footnotes."""
    groups: dict[str, list[dict[str, Any]]] = {}
    footnotes: list[str] = []
    for metric in metrics:
        cells = []
        for model in ("original", "unlearned", "retrained"):
            reading = metric[model]
            why = reading["why"]
            if reading["state"] != "measured" and why not in footnotes:
                footnotes.append(why)
            mark = None if reading["state"] == "measured" else footnotes.index(why) + 1
            cells.append({**reading, "words": reading["state"].replace("_", " "), "mark": mark})
        groups.setdefault(metric["group"], []).append({**metric, "cells": cells})
    return groups, footnotes


def _records(records: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], int]:
    """The best remembered records first, and how many are left out."""

    def order(record: Mapping[str, Any]) -> tuple[bool, float, float]:
        rank = record["rank_unlearned"]
        return (rank is None, -(rank or 0.0), -record["margin_unlearned"])

    ordered = sorted(records, key=order)
    return ordered[:_SHOWN_RECORDS], max(0, len(ordered) - _SHOWN_RECORDS)
