"""What a bundle takes from the report of a run: the answers to a request's own records, and tests of these alone."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from efface.store.database import translate_errors
from efface.store.errors import DamagedError
from efface.store.files import Folder, hash_of

REPORT = "report.json"
MODELS = ("original", "unlearned", "retrained")
MARGIN_DIGITS, RANK_DIGITS = 4, 1  # after the decimal point


def read_report(folder: Folder, run: int, files: Mapping[str, str]) -> dict[str, Any]:
    """Read the report of a run, after checking all of its files.

    Args:
        folder: the store's folder.
        run: number of the run.
        files: SHA-256 of each file of the report, by name.

    Raises:
        DamagedError: a file is missing, or is not the one that was made.
    """
    made = folder.report_of(run)
    with translate_errors(made):
        for name, digest in files.items():
            source = made / Path(name).name
            if source.is_symlink() or not source.is_file() or hash_of(source) != digest:
                raise DamagedError(f"{source.relative_to(folder.path)} is not the report that was made")
        report: dict[str, Any] = json.loads((made / REPORT).read_text(encoding="utf-8"))
    return report


def rows_of(report: Mapping[str, Any], own: Collection[str]) -> list[dict[str, Any]]:
    """How each model answers each record of a request.

    A margin is a model's answer to the record itself. A rank is rounded, so that it does not show single never-seen
    records, which are other people's. What depends on other records of the run, such as which records are flagged, is
    not taken; nor is a label, which is content.

    Args:
        report: the report of the run.
        own: the short tags of the request's records.
    """
    return [
        {
            "record": row["id"],
            "margin": {who: _rounded(row[f"margin_{who}"], MARGIN_DIGITS) for who in MODELS},
            "rank": {who: _rounded(row[f"rank_{who}"], RANK_DIGITS) for who in MODELS},
        }
        for row in report["records"]
        if row["id"] in own
    ]


def decisive_tests(report: Mapping[str, Any], own: Collection[str]) -> list[dict[str, Any]] | None:
    """The tests that decided; None unless they were made on records of the request alone.

    From the mean over two records and the value of one follows that of the other, so a test of others' records is
    not shown at all.

    Args:
        report: the report of the run.
        own: the short tags of the request's records.
    """
    tested = {row["id"] for row in report["records"]}
    if not tested <= set(own) or len(tested) != report["request"]["count"]:
        return None
    return [
        {
            "title": test["title"],
            "unit": test["unit"],
            "before": _interval(test["original"]),
            "after": _interval(test["unlearned"]),
            "allowed": _rounded(test["margin"], MARGIN_DIGITS),
            "outcome": test["outcome"],
        }
        for test in report["tests"]
    ]


def _interval(estimate: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: _rounded(estimate[name], MARGIN_DIGITS) for name in ("value", "low", "high")}


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
