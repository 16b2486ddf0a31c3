"""The files that a page offers for download."""

import pytest

from efface.auditing.report.csv_files import MAX_SCORES, cell
from efface.auditing.report.html import render
from helpers.report_document import Document, bare, example, only, record
from helpers.report_page import Page

pytestmark = pytest.mark.drawn


@pytest.fixture
def document() -> Document:
    """A small whole report, written by hand."""
    return example()


def test_cells_of_files_are_no_formulas(document: Document) -> None:
    nasty = ["=1+1", "+cmd", "-cmd", "@SUM(A1)", "\t=1", " =1", "\N{FULLWIDTH EQUALS SIGN}1"]
    assert [cell(text) for text in nasty] == [f"'{text}" for text in nasty]
    harmless = ["-5", "+1e3", "a=b", "customer-1", "", '"', "two\nlines"]
    assert [cell(text) for text in harmless] == harmless
    assert [cell(value) for value in (None, True, False, -2.5, 1 / 3, 7)] == [
        "",
        "yes",
        "no",
        "-2.5",
        "0.333333333",
        "7",
    ]
    document = only(document)
    document["records"] = [record(i, id=text, kind='a "b", c') for i, text in enumerate(nasty)]
    got = Page(render(document)).files["records.csv"]
    assert sorted(row[0] for row in got[1:]) == sorted(f"'{text}" for text in nasty)
    assert {row[2] for row in got[1:]} == {'a "b", c'}


def test_very_many_scores_are_handed_over_as_bins(document: Document) -> None:
    document = only(document, "distributions")
    document["distributions"]["original"]["holdout"] = [float(i) for i in range(MAX_SCORES)]
    got = Page(render(document)).files["scores.csv"]
    assert got[0] == ["model", "records", "from", "to", "count"]
    held = [int(row[4]) for row in got[1:] if row[:2] == ["original", "holdout"]]
    assert sum(held) == MAX_SCORES


def test_files_hold_a_row_for_everything_in_their_figure() -> None:
    document = example()
    files = Page(render(document)).files
    counts = {name: len(rows) - 1 for name, rows in files.items()}
    points = sum(len(curve["fpr"]) for curve in document["roc"]["models"].values())
    assert counts == {
        "scores.csv": 21,
        "tests.csv": 5,
        "roc.csv": points,
        "steps.csv": 4,
        "cost.csv": 4,
        "records.csv": 3,
    }
    assert all(len(row) == len(rows[0]) for rows in files.values() for row in rows)
    assert files["scores.csv"][:2] == [["model", "records", "score"], ["original", "forget", "5"]]
    assert files["records.csv"][3][:4] == ["", "00000002", "other", "yes"]
    assert Page(render(bare(document))).files == {}
