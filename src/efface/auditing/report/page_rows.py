"""The contents of the page's tables and tiles, computed from the document."""

from collections.abc import Mapping, Sequence
from typing import Any

from efface.auditing.report.plots.base import MODEL_NAMES
from efface.auditing.report.plots.effects import sorted_tests
from efface.auditing.report.wording import KINDS, OUTCOMES, percent, times

SHOWN_RECORDS = 50
Document = Mapping[str, Any]


def tiles(document: Document) -> list[tuple[str, str, str]]:
    """The key facts at the top of the page: for each a name, a value and a remark."""
    request, cheaper = document["request"], document["cost"]["ratio_cpu"]
    training, tests, ranked = request["training_records"], document["tests"], document["records"]
    of_all = f"of {training:,} ({percent(request['count'] / training)})" if training else ""
    if request["groups"] is not None:
        of_all = f"{of_all} from {request['groups']:,} group{'s' * (request['groups'] != 1)}".strip()
    shown = [("Records to forget", f"{request['count']:,}", of_all)]
    if cheaper is not None:
        less = "less CPU time than retraining" if 0 < cheaper < 1 else "the CPU time of retraining"
        shown.append(("Cost of unlearning", times(cheaper), less))
    shown.append(("Level of the audit", document["level"], "of quick, standard, strong"))
    informative = [test for test in tests if test["outcome"] != "uninformative"]
    if tests:
        cleared = sum(test["outcome"] == "cleared" for test in tests)
        shown.append(("Tests cleared", f"{cleared} of {len(informative)}", "informative ones"))
    else:
        shown.append(("Tests cleared", "none", "no test was made"))
    if any(record["p_unlearned"] is not None or record["flagged"] for record in ranked):
        flagged = sum(record["flagged"] for record in ranked)
        shown.append(("Records flagged", f"{flagged:,} of {len(ranked):,}", "score higher than never-seen ones"))
    return shown


def contents(document: Document) -> dict[str, str]:
    """The sections of the page in order: titles, by id."""
    more = [name for name in ("canaries", "ensembles") if document[name] is not None]
    listed: dict[str, str | None] = {
        "request": "Request",
        "scores": "Scores before and after",
        "tests": "Tests that decide the verdict",
        "rehearsal": None if document["rehearsal"] is None else "Rehearsal",
        "looks": "Each requested record by itself" if document["looks"] else None,
        "roc": "ROC on logarithmic axes",
        "steps": "Evidence over the steps",
        "exchangeable": None if document["exchangeable"] is None else "Exchangeability",
        "more": " and ".join(more).capitalize() or None,
        "metrics": "Metrics",
        "records": "Worst records",
        "cost": "Cost against retraining",
        "provenance": "Provenance",
        "limits": "What this does not promise",
    }
    return {name: title for name, title in listed.items() if title is not None}


def tests(decisive: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The tests that decide the verdict, grouped by kind and unit, in the order of the figure, each with a `mark`."""
    kinds: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for test in sorted_tests(decisive):
        kinds.setdefault((KINDS[test["kind"]], test["unit"]), []).append({**test, "mark": OUTCOMES[test["outcome"]]})
    return kinds


def metrics(measured: Sequence[Mapping[str, Any]]) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    """The rows of the table, by the records that they are about, and its footnotes: why numbers are missing, once."""
    by_records: dict[str, list[dict[str, Any]]] = {}
    footnotes: list[str] = []
    for metric in measured:
        cells = []
        for model in MODEL_NAMES:
            reading = metric[model]
            why = reading["why"]
            if reading["state"] != "measured" and why not in footnotes:
                footnotes.append(why)
            mark = None if reading["state"] == "measured" else footnotes.index(why) + 1
            cells.append({**reading, "words": reading["state"].replace("_", " "), "mark": mark})
        by_records.setdefault(metric["records"], []).append({**metric, "kind": KINDS[metric["kind"]], "cells": cells})
    return by_records, footnotes


def records(ranked: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], int]:
    """The records most likely still known, at most SHOWN_RECORDS of them, and how many more there are.

    Flagged records come first, then those with the smallest p value, then those with the highest rank.
    """

    def order(record: Mapping[str, Any]) -> tuple[bool, bool, float, bool, float, float]:
        p, rank = record["p_unlearned"], record["rank_unlearned"]
        return (not record["flagged"], p is None, p or 0.0, rank is None, -(rank or 0.0), -record["margin_unlearned"])

    ordered = sorted(ranked, key=order)
    return ordered[:SHOWN_RECORDS], max(0, len(ordered) - SHOWN_RECORDS)


def has_retrained(document: Document) -> bool:
    """Whether anything on the page comes from a retrained model."""
    return (
        document["distributions"]["retrained"] is not None
        or document["cost"]["retrain"] is not None
        or any(metric["retrained"]["state"] == "measured" for metric in document["metrics"])
        or any(test["retrained"] is not None for test in document["tests"])
    )
