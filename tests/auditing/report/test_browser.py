"""The report's page in a real browser, and its structure as a screen reader meets it."""

import base64
import csv
import io
import time
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from efface.auditing.report import write
from efface.auditing.report.data import ADDRESS
from efface.auditing.report.html import render
from helpers.headless import Browser
from helpers.report_document import Document, bare, example, large, without_retrained

BAD = '<!DOCTYPE html><title>x</title><img src="http://page.invalid/x.png" alt=""><script>console.warn("no")</script>'
VOID = {"meta", "br", "img", "link", "input", "hr"}
Attributes = dict[str, str | None]


class Outline(HTMLParser):
    """Every tag with its attributes, its ancestors and the text within it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, Attributes, list[str]]] = []
        self.texts: list[str] = []
        self._open: list[int] = []
        self.feed(page)
        assert not self._open, "a tag is left open"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs), [self.tags[i][0] for i in self._open]))
        self.texts.append("")
        if tag not in VOID:
            self._open.append(len(self.tags) - 1)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.tags[self._open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        for i in self._open:
            self.texts[i] += data

    def all(self, *names: str) -> list[tuple[Attributes, str]]:
        """Attributes and text of every tag of these names."""
        pairs = zip(self.tags, self.texts, strict=True)
        return [(attrs, " ".join(text.split())) for (tag, attrs, _), text in pairs if tag in names]


def downloads(page: str) -> dict[str, list[list[str]]]:
    """The rows of every file that the page hands over, by name."""
    files = {}
    for attrs, _ in Outline(page).all("a"):
        if "download" in attrs:
            address = attrs["href"] or ""
            assert address.startswith(ADDRESS)
            text = base64.b64decode(address.removeprefix(ADDRESS), validate=True).decode("utf-8")
            files[attrs["download"] or ""] = list(csv.reader(io.StringIO(text)))
    return files


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    return Browser.find(tmp_path)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(example(), tmp_path_factory.mktemp("report"))[1]


def test_browser_opens_the_page_without_a_complaint_or_a_request(browser: Browser, page: Path) -> None:
    seen = browser.visit(page)
    assert (seen.console, seen.requests) == ([], [])
    outline = Outline(seen.dom)
    (verdict,) = [text for attrs, text in outline.all("section") if "verdict" in (attrs.get("class") or "")]
    assert "Not verified By one of four informative tests" in verdict
    assert any((attrs.get("aria-label") or "").startswith("Tests that decided") for attrs, _ in outline.all("svg"))
    assert any("RMIA, offline" in text and "left" in text for _, text in outline.all("tr"))
    assert downloads(seen.dom) == downloads(page.read_text(encoding="utf-8"))


def test_browser_check_sees_a_page_that_complains_and_asks(browser: Browser, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(BAD)
    seen = browser.visit(bad)
    assert seen.requests == ["http://page.invalid/x.png"]
    assert any("no" in line for line in seen.console)


def test_browser_prints_the_page(browser: Browser, page: Path) -> None:
    pdf = browser.pdf(page)
    assert pdf.startswith(b"%PDF-")
    assert 3 < pdf.count(b"/Type /Page\n") < 12


def test_browser_downloads_every_file_by_a_click(browser: Browser, page: Path, tmp_path: Path) -> None:
    files = downloads(page.read_text(encoding="utf-8"))
    got = tmp_path / "got"
    got.mkdir()
    # the same pause that a person makes: clicks at once are one download to the browser
    clicks = (
        "(async () => { const links = document.querySelectorAll('a[download]');"
        "for (const link of links) { link.click(); await new Promise(done => setTimeout(done, 150)); }"
        "return links.length; })()"
    )
    assert browser.evaluate(page, clicks, downloads=got) == [len(files)]
    end = time.monotonic() + 10
    while {path.name for path in got.iterdir()} != set(files) and time.monotonic() < end:
        time.sleep(0.05)
    rows = {path.name: list(csv.reader(io.StringIO(path.read_text(encoding="utf-8")))) for path in got.iterdir()}
    assert rows == files


def test_page_fits_windows_of_every_width(browser: Browser, page: Path, tmp_path: Path) -> None:
    # only figures and tables may scroll, each within itself, and where there is room not even they
    root = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    inner = "[...document.querySelectorAll('.scroll')].filter(box => box.scrollWidth > box.clientWidth).length"
    assert browser.evaluate(page, root, downloads=tmp_path, widths=(320, 420, 640, 768, 1000, 1200, 1600)) == [0] * 7
    assert browser.evaluate(page, inner, downloads=tmp_path, widths=(1000, 1200, 1600)) == [0] * 3


@pytest.mark.parametrize("shape", [example, lambda: bare(example()), lambda: without_retrained(example()), large])
def test_page_is_built_for_screen_readers(shape: Any) -> None:
    outline = Outline(render(shape()))
    assert [attrs["lang"] for attrs, _ in outline.all("html")] == ["en"]
    for landmark in ("header", "main", "nav", "h1"):
        assert len(outline.all(landmark)) == 1
    levels = [int(tag[1]) for tag, *_ in outline.tags if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    for attrs, text in outline.all("svg"):
        assert attrs["role"] == "img"
        assert attrs["aria-label"] and attrs["aria-label"] in text
    tables, captions = outline.all("table"), outline.all("caption")
    assert len(tables) == len(captions) == len({text for _, text in captions})
    assert all(text for _, text in captions)
    assert all(attrs.get("scope") for attrs, _ in outline.all("th"))
    ids = [attrs["id"] for _, attrs, _ in outline.tags if attrs.get("id")]
    assert len(ids) == len(set(ids))
    links = [attrs["href"] or "" for attrs, _ in outline.all("a")]
    named = [attrs["aria-labelledby"] for _, attrs, _ in outline.tags if attrs.get("aria-labelledby")]
    assert {link[1:] for link in links if link.startswith("#")} | set(named) <= set(ids)
    assert next(attrs for attrs, _ in outline.all("a"))["class"] == "skip"
    for _, text in [*outline.all("a"), *outline.all("h2")]:
        assert text


def test_contents_name_every_section_in_order() -> None:
    outline = Outline(render(example()))
    listed = [
        text
        for (tag, _, around), text in zip(outline.tags, outline.texts, strict=True)
        if tag == "a" and "nav" in around
    ]
    heads = [(attrs["id"], text) for attrs, text in outline.all("h2") if attrs["id"] not in ("verdict", "contents")]
    assert listed == ["Verdict", *(text for _, text in heads)]


def test_files_hold_a_row_for_everything_in_their_figure() -> None:
    document = example()
    files = downloads(render(document))
    counts = {name: len(rows) - 1 for name, rows in files.items()}
    points = sum(len(curve["fpr"]) for curve in document["roc"]["models"].values())
    assert counts == {
        "scores.csv": 21,
        "ladder.csv": 5,
        "roc.csv": points,
        "steps.csv": 4,
        "cost.csv": 4,
        "records.csv": 3,
    }
    assert all(len(row) == len(rows[0]) for rows in files.values() for row in rows)
    assert files["scores.csv"][:2] == [["model", "group", "score"], ["original", "forget", "5"]]
    assert files["records.csv"][3][:4] == ["", "00000002", "other", "yes"]
    assert set(downloads(render(bare(document)))) == set()


def test_a_thousand_records_stay_small() -> None:
    document: Document = large(1000)
    page = render(document)
    assert len(page.encode()) < 3_000_000
    files = downloads(page)
    assert len(files["records.csv"]) == 1001
    assert len(files["scores.csv"]) == 6001
    assert len(files["roc.csv"]) <= 1 + 3 * 300
