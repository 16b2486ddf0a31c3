"""The figures of a report: that odd parts of a document can be drawn, and that curves are thinned with care."""

import matplotlib
import numpy as np
import pytest

from efface.auditing.report import validate
from efface.auditing.report.html import render
from efface.auditing.report.plots.roc import MAX_POINTS, thinned
from helpers.report_document import Document, curve, example, only
from helpers.report_page import Page

pytestmark = pytest.mark.drawn


@pytest.fixture
def document() -> Document:
    """A small whole report, written by hand."""
    return example()


def test_long_curves_are_thinned_and_keep_their_ends_and_shape() -> None:
    rng = np.random.default_rng(3)
    full = curve(rng.normal(1, 1, 2000), rng.normal(0, 1, 3000))
    fpr, tpr = thinned({"negatives": 3000, "positives": 2000, "models": {"original": full}}, "original")
    assert 200 < fpr.size <= MAX_POINTS
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    assert set(zip(fpr, tpr, strict=True)) <= set(zip(full["fpr"], full["tpr"], strict=True))
    # read as steps, hardly anything is lost
    read = tpr[np.searchsorted(fpr, full["fpr"], side="right") - 1]
    assert np.max(np.abs(read - full["tpr"])) < 0.03


@pytest.mark.parametrize("kind", ["attack", "off_label", "distance"])
def test_a_figure_of_one_test_is_drawn(document: Document, kind: str) -> None:
    document = only(document, "tests")
    test = document["tests"][0]
    nothing = {"value": 0.0, "low": None, "high": None, "level": 0.95}
    test.update(kind=kind, title="long " * 40, unit="", margin=0, p_value=None, p_adjusted=None, retrained=None)
    test.update(original=nothing, unlearned=nothing, equivalence_interval=nothing)
    document["tests"] = [test]
    validate(document)
    assert "margin 0, cleared" in Page(render(document)).words


def test_extreme_curves_draw(document: Document) -> None:
    document = only(document, "roc")
    document["roc"].update(negatives=1, positives=1)
    document["roc"]["models"] = {
        "original": {"fpr": [0.0], "tpr": [1.0]},
        "unlearned": {"fpr": [1.0], "tpr": [0.0]},
        "retrained": None,
    }
    validate(document)
    assert "dotted: retrained" not in Page(render(document)).words


def test_the_same_document_gives_the_same_bytes_and_leaves_rcparams_alone(document: Document) -> None:
    first = render(document)
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.hashsalt": "other"}):
        assert render(document) == first
    assert dict(matplotlib.rcParams) == before
