"""The numbers behind each figure as CSV, in data URLs, which a page can offer for download without a script."""

import base64
import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from efface.auditing.report.plots.base import MODEL_NAMES
from efface.auditing.report.plots.effects import sorted_tests
from efface.auditing.report.plots.roc import thinned
from efface.auditing.report.plots.scores import bin_edges

ADDRESS = "data:text/csv;charset=utf-8;base64,"
# more scores would make the page larger by megabytes, and the figure shows only counts in bins anyway
MAX_SCORES = 20_000
# spreadsheets treat a cell that begins with one of these as a formula, the fullwidth forms included
_FORMULA = tuple("=+-@\t\r\n\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}"
                 "\N{FULLWIDTH COMMERCIAL AT}")  # fmt: skip
Row = Sequence[Any]


def address(rows: Iterable[Row]) -> str:
    """A data URL that holds `rows` as CSV; the first row is the header."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([cell(value) for value in row] for row in rows)
    return ADDRESS + base64.b64encode(buffer.getvalue().encode("utf-8", "replace")).decode("ascii")


def cell(value: Any) -> str:
    """One value as text in a CSV file; text that a spreadsheet would run as a formula gets a quote in front."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.9g}"
    text = str(value)
    dangerous = text.startswith(_FORMULA) or text.lstrip().startswith(_FORMULA)
    return f"'{text}" if dangerous and not _is_number(text) else text


def scores(distributions: Mapping[str, Any]) -> Iterator[Row]:
    """One row for each score; if there are more than MAX_SCORES, the number of records in each bin of the figure."""
    listed = [
        (name, place, distributions[name][place])
        for name in MODEL_NAMES
        if distributions[name] is not None
        for place in ("forget", "holdout")
    ]
    listed = [(name, place, values) for name, place, values in listed if values]
    if sum(len(values) for *_, values in listed) <= MAX_SCORES:
        yield ("model", "records", "score")
        for name, place, values in listed:
            yield from ((name, place, float(value)) for value in values)
        return
    edges = bin_edges([values for *_, values in listed])
    yield ("model", "records", "from", "to", "count")
    for name, place, values in listed:
        counts = np.histogram(values, edges)[0]
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
            yield (name, place, float(low), float(high), int(count))


def tests(rows: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """One row for each test that decides the verdict."""
    estimates = ("original", "unlearned", "equivalence_interval", "retrained")
    parts = ("value", "low", "high", "level")
    ends = ("margin", "p_value", "p_adjusted", "outcome", "why")
    yield ("key", "title", "kind", "unit", *(f"{name}_{part}" for name in estimates for part in parts), *ends)
    for test in sorted_tests(rows):
        numbers = [None if test[name] is None else test[name][part] for name in estimates for part in parts]
        yield (test["key"], test["title"], test["kind"], test["unit"], *numbers, *(test[name] for name in ends))


def roc(curves: Mapping[str, Any]) -> Iterator[Row]:
    """One row for each point of the curves in the figure."""
    yield ("model", "false_positive_rate", "true_positive_rate")
    for name in MODEL_NAMES:
        if curves["models"][name] is not None:
            for fpr, tpr in zip(*thinned(curves, name), strict=True):
                yield (name, float(fpr), float(tpr))


def evidence(measured: Mapping[str, Any]) -> Iterator[Row]:
    """One row for each evaluation by the stop rule."""
    parts = ("value", "low", "high", "level")
    without_interval = ("holdout_accuracy", "forget_accuracy", "loss")
    yield (
        "step",
        *(f"auc_{part}" for part in parts),
        *(f"accuracy_change_{part}" for part in parts),
        *without_interval,
        "chosen",
    )
    for evaluation in measured["evaluations"]:
        numbers = [evaluation[name][part] for name in ("auc", "accuracy_change") for part in parts]
        yield (
            evaluation["step"],
            *numbers,
            *(evaluation[name] for name in without_interval),
            evaluation["step"] == measured["chosen_step"],
        )


def cost(spent: Mapping[str, Any]) -> Iterator[Row]:
    """One row for each phase, and one for retraining."""
    yield ("part", "phase", "cpu_s", "wall_s", "forward_examples", "backward_examples", "record_trainings")
    for part in ("unlearn", "audit"):
        for name, phase in (spent[part] or {"phases": {}})["phases"].items():
            measured = ("cpu_s", "wall_s", "forward", "backward", "record_trainings")
            yield (part, name, *(phase.get(key) for key in measured))
    retrain = spent["retrain"]
    if retrain is not None:
        yield ("retrain", "one model", retrain["cpu_s_each"], retrain["wall_s_each"], None, None, None)


def records(ranked: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """One row for each forget record, including those that the page does not show."""
    names = (
        ["id", "record", "kind", "flagged", "p_unlearned"]
        + [f"{what}_{model}" for what in ("rank", "margin") for model in MODEL_NAMES]
        + ["gap_original", "gap_unlearned", "position", "label", "description"]
    )
    yield names
    for record in ranked:
        yield [record[name] for name in names]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
