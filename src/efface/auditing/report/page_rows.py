"""The contents of the page's tables and lists, computed from the document."""

from collections.abc import Mapping, Sequence
from typing import Any

from efface.auditing.report.plots.base import MODEL_NAMES
from efface.auditing.report.plots.effects import sorted_tests
from efface.auditing.report.wording import KINDS, OUTCOMES, STATES

SHOWN_RECORDS = 50
Document = Mapping[str, Any]


def contents(document: Document) -> dict[str, str]:
    """The sections of the page in order: titles, by id."""
    more = [name for name in ("canaries", "ensembles") if document[name] is not None]
    listed: dict[str, str | None] = {
        "tests": "Tests that decide the verdict",
        "why": "Verdict in full",
        "rehearsal": None if document["rehearsal"] is None else "Rehearsal",
        "single_records": "Each requested record by itself" if document["single_records"] else None,
        "cost": "Cost against retraining",
        "unseen": "What could not be seen",
        "provenance": "Provenance",
        "scores": "Scores before and after",
        "roc": "ROC on logarithmic axes",
        "steps": "What the run measured of itself",
        "exchangeable": None if document["exchangeable"] is None else "Whether the request is like a random sample",
        "more": " and ".join(more).capitalize() or None,
        "metrics": "Further metrics",
        "records": "Worst records",
        "glossary": "Terms",
    }
    return {name: title for name, title in listed.items() if title is not None}


def reasons(document: Document) -> list[str]:
    """The reasons of the verdict, without those that a table of tests on the page gives beside its test."""
    rehearsed = (document["rehearsal"] or {"tests": []})["tests"]
    beside = {f"{test['title']}: {test['why']}" for test in document["tests"]}
    beside |= {f"rehearsed records: {test['title']}: {test['why']}" for test in rehearsed}
    return [reason for reason in document["verdict"]["reasons"] if not any(map(reason.startswith, beside))]


def models(document: Document) -> list[Mapping[str, Any]]:
    """The models that had a part, without the two that are judged, whose digests stand beside."""
    judged = set(document["weights"].values())
    return [model for model in document["models"] if model["digest"] not in judged]


def beside_tests(measured: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The metrics without those that a test is made of, as far as these could be measured."""
    return [m for m in measured if not m["decisive"] or m["records"] != "all" or m["unlearned"]["estimate"] is None]


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
            cells.append({**reading, "words": STATES[reading["state"]], "mark": mark})
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
