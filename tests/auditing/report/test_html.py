"""The page of a report: what it says, what it never loads, and its structure as a screen reader meets it."""

import json
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from efface.auditing.report import schema, validate, write
from efface.auditing.report.csv_files import ADDRESS
from efface.auditing.report.html import render
from helpers.report_document import Document, bare, example, large, only, phase, record, without_retrained
from helpers.report_page import Page

NASTY = "<script>alert('x')</script>"

pytestmark = pytest.mark.drawn


@pytest.fixture
def document() -> Document:
    """A small whole report, written by hand."""
    return example()


def test_outside_strings_are_escaped(document: Document) -> None:
    document.update(title=NASTY, device=NASTY, notes=[NASTY], versions={NASTY: NASTY})
    document["request"].update(holdout_used_for=NASTY, kinds={NASTY: 3})
    document["method"] = {"key": NASTY, "version": 1, "options": {NASTY: NASTY}, "source": NASTY}
    document["cost"]["unlearn"]["phases"] = {NASTY: document["cost"]["unlearn"]["total"]}
    document["evidence"]["reason"] = NASTY
    document["verdict"]["reasons"] = [NASTY, '" onload="alert(1)']
    document["metrics"][0].update(title=NASTY, records=NASTY)
    document["metrics"][1]["retrained"] = {"state": "not_measured", "estimate": None, "why": f'" onclick="x" {NASTY}'}
    document["records"][0].update(record=NASTY, kind=NASTY)
    document["records"][1].update(id=NASTY)
    document["verdict"]["sentence"] = document["correction"] = NASTY
    document["tests"][0].update(title=NASTY, unit=NASTY, why=NASTY)
    document["tests"][1]["key"] = NASTY
    document["roc"]["statistic"] = document["exchangeable"]["tests"][0]["title"] = NASTY
    document["uses"][0].update(who=NASTY, what=NASTY, digest=NASTY)
    document["models"][0].update(what=NASTY, trained_on=NASTY, digest=NASTY)
    document["distributions"]["statistic"] = NASTY
    validate(document)
    html = render(document)
    page = Page(html)
    assert "<script" not in html
    assert "script" not in page.tags
    assert page.handlers == []
    assert page.words.count(NASTY) > 35  # shown as text, not dropped


@pytest.mark.parametrize("shape", [lambda d: d, bare, without_retrained])
def test_page_loads_nothing(document: Document, shape: Callable[[Document], Document]) -> None:
    html = render(shape(document))
    page = Page(html)
    assert all(address.startswith(("#", ADDRESS)) for address in page.addresses)
    assert not re.search(r"url\((?!#)|@import", html)
    assert not {"script", "img", "link", "iframe", "object", "embed", "base"} & set(page.tags)
    addresses = re.findall(r"\w+:\w*=\"https?://[^\"]*|xmlns=\"https?://[^\"]*|https?://\S*", html)
    assert all(address.startswith("xmlns") for address in addresses)


def test_page_says_what_the_document_says(document: Document) -> None:
    page = Page(render(document))
    for words in (
        "3 of 5,000 training records",
        "3 of the 5,000 training records were to be forgotten",
        "wrongly labelled (1), other (2)",
        "By one of four informative tests, the offline RMIA attack",
        "The smallest effect that this request would have shown four times in five is 0.080",
        "RMIA, offline: 0.140 is left, more than the margin of 0.100",
        "2 tests found no trace, and 2 tests could not tell either way.",
        "1 of 3 records is flagged.",
        "that took 39.2 times less computing time than training anew",
        "adjusted by Holm's method",
        "attack: AUC less that of a model that never saw it",
        "the detection interval excludes 0",
        "0.0006 0.0024 \N{BALLOT X} failed",
        "one of 4 never-seen records",
        "looks like a random sample of the training set (least adjusted p: 0.42)",
        "before unlearning 29 of 30 96.7% 1.920",
        "made on 8 other models, unlearned by steer from as many originals trained for the audit, and 8 retrained ones",
        "16 of the models came from the cache",
        "00000002 2 other yes 0.0012",
        "method: reference model training records 2,000 sha256:dddd",
        "audit: reference model 1 2,000 retain records not recorded",
        "not applicable",
        "after 3 of at most 6 evaluations of the evidence",
        "39.2 times less CPU time than retraining one model (7.9 s against 5.2 min)",
        "not measured",
        "could not tell",
        "no retrained model was made",
        "clip = null",
        "evidence, not proof",
        "with uncommitted changes",
    ):
        assert words in page.words
    drawn = [attrs["aria-label"] or "" for attrs, _ in page.all("svg")]
    assert page.tags.count("svg") == len(drawn) == 5
    assert "RMIA, offline: original 0.36, unlearned 0.14, margin 0.1, failed" in drawn[0]
    assert "chosen step 40" in drawn[4]
    assert len(page.ids) == len(set(page.ids))


def test_page_without_optional_parts_says_so(document: Document) -> None:
    page = Page(render(bare(document)))
    for words in (
        "No stop rule was used.",
        "No scores were recorded",
        "No model was retrained, so nothing",
        "Retraining was not timed",
        "The cost of unlearning was not measured",
        "No metrics were measured.",
        "No single records were ranked.",
        "the unlearned weights were made elsewhere",
        "No test decided the verdict.",
        "No ROC curves were made.",
        "Who used which records was not recorded.",
    ):
        assert words in page.words
    assert "svg" not in page.tags
    for words in ("random sample (", "Each of", "other models, unlearned by"):
        assert words not in page.words
    assert "No model was retrained" in Page(render(without_retrained(document))).words


@pytest.mark.parametrize("status", ["verified", "verified_by_rehearsal", "no_trace_found", "not_verified", "undecided"])
@pytest.mark.parametrize("outcome", schema()["properties"]["evidence"]["properties"]["outcome"]["enum"])
def test_every_status_and_outcome_has_words(document: Document, status: str, outcome: str) -> None:
    from efface.auditing.verdict import Status
    from efface.unlearning.evidence import Outcome

    assert (Status(status), Outcome(outcome)) == (status, outcome)
    document = only(document, "evidence")
    document["verdict"]["status"] = status
    document["evidence"].update(outcome=outcome, evaluations=[])
    assert "The stop rule evaluated nothing" in render(document)


def test_long_record_lists_are_cut_worst_first(document: Document) -> None:
    document = only(document, "records")
    ranks = [None, *(index / 100 for index in range(73))]
    document["records"] = [record(i, record=f"r{i}", rank_unlearned=rank) for i, rank in enumerate(ranks)]
    document["records"][5].update(p_unlearned=0.01)
    document["records"][6].update(p_unlearned=0.9, flagged=True)
    document["records"][7].update(p_unlearned=None)
    html = render(document)
    assert re.findall(r"<code>(r\d+)</code>", html) == ["r6", "r5", *(f"r{i}" for i in range(73, 25, -1))]
    assert "24 more records are in report.json." in html
    assert len(Page(html).files["records.csv"]) == 75  # the file holds them all


def test_records_are_named_by_their_id_where_it_is_shown(document: Document) -> None:
    document = only(document)
    document["records"] = [record(0, id="anna@example.org"), record(1, id=0), record(2)]
    html = render(document)
    assert '<th scope="row">anna@example.org</th>' in html
    assert '<th scope="row">0</th>' in html
    assert '<th scope="row"><code>00000002</code></th>' in html
    assert "00000000" not in Page(html).words


def test_records_that_no_test_judged_are_not_called_clear(document: Document) -> None:
    document = only(document)
    document["request"]["kind"] = "class"
    document["records"] = [record(i, p_unlearned=None) for i in range(3)]
    validate(document)
    page = Page(render(document))
    assert "No test judged single records." in page.words and "Flagged" not in page.words
    assert "00000001 1 other \N{EN DASH} 0.970" in page.words


def test_odd_names_scores_and_evaluations_render(document: Document, tmp_path: Any) -> None:
    same = {"forget": [1.0], "holdout": [1.0]}
    document["distributions"].update(original=same, unlearned=same, retrained={"forget": [], "holdout": [2.0]})
    document["evidence"]["chosen_step"] = 0
    document["evidence"]["evaluations"][0]["auc"].update(low=None, high=None)
    document["cost"]["unlearn"]["phases"]["$\\bad$ phase"] = {"wall_s": 0, "cpu_s": 0, "forward": 0, "backward": 0}
    document["cost"]["audit"]["phases"].update({"long " * 200: phase(1.0), "\u5fd8\u5374 \ud800": phase(2.0)})
    document["distributions"]["statistic"] = "two\nlines"
    document["tests"][0].update(title="$\\bad$ \u5fd8\u5374 \ud800", unit="a\nb \ud800")
    document["records"][0]["id"] = "\ud800"
    paths = write({**document, "title": "a lone \ud800"}, tmp_path)
    html = paths[1].read_text(encoding="utf-8")
    assert "$\\bad$ phase" in html
    assert "\u5fd8\u5374 ?" in html
    assert json.loads(paths[0].read_text())["title"] == "a lone \ud800"


@pytest.mark.parametrize("shape", [example, lambda: bare(example()), lambda: without_retrained(example()), large])
def test_page_is_built_for_screen_readers(shape: Any) -> None:
    page = Page(render(shape()))
    assert [attrs["lang"] for attrs, _ in page.all("html")] == ["en"]
    for landmark in ("header", "main", "nav", "h1"):
        assert len(page.all(landmark)) == 1
    levels = [int(tag[1]) for tag, *_ in page.elements if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    for attrs, text in page.all("svg"):
        assert attrs["role"] == "img"
        assert attrs["aria-label"] and attrs["aria-label"] in text
    tables, captions = page.all("table"), page.all("caption")
    assert len(tables) == len(captions) == len({text for _, text in captions})
    assert all(text for _, text in captions)
    assert all(attrs.get("scope") for attrs, _ in page.all("th"))
    ids = page.ids
    assert len(ids) == len(set(ids))
    links = [attrs["href"] or "" for attrs, _ in page.all("a")]
    labels = [attrs["aria-labelledby"] for _, attrs, _ in page.elements if attrs.get("aria-labelledby")]
    assert {link[1:] for link in links if link.startswith("#")} | set(labels) <= set(ids)
    assert next(attrs for attrs, _ in page.all("a"))["class"] == "skip"
    for _, text in [*page.all("a"), *page.all("h2")]:
        assert text


def test_contents_name_every_section_in_order() -> None:
    page = Page(render(example()))
    listed = [
        text for (tag, _, around), text in zip(page.elements, page.texts, strict=True) if tag == "a" and "nav" in around
    ]
    heads = [(attrs["id"], text) for attrs, text in page.all("h2") if attrs["id"] not in ("verdict", "contents")]
    assert listed == ["Verdict", *(text for _, text in heads)]


def test_a_thousand_records_stay_small() -> None:
    document: Document = large(1000)
    html = render(document)
    assert len(html.encode()) < 3_000_000
    files = Page(html).files
    assert len(files["records.csv"]) == 1001
    assert len(files["scores.csv"]) == 6001
    assert len(files["roc.csv"]) <= 1 + 3 * 300
