"""The report's page in a real browser."""

import csv
import io
import time
from pathlib import Path

import pytest

from efface.auditing.report import write
from helpers.headless import Browser
from helpers.report_document import example
from helpers.report_page import Page

BAD = '<!DOCTYPE html><title>x</title><img src="http://page.invalid/x.png" alt=""><script>console.warn("no")</script>'

pytestmark = pytest.mark.drawn


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    return Browser.find(tmp_path)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(example(), tmp_path_factory.mktemp("report"))[1]


def test_browser_opens_the_page_without_a_complaint_or_a_request(browser: Browser, page: Path) -> None:
    seen = browser.visit(page)
    assert (seen.console, seen.requests) == ([], [])
    shown = Page(seen.dom)
    (verdict,) = [text for attrs, text in shown.all("section") if "verdict" in (attrs.get("class") or "")]
    assert "1 of 5 tests found that the model still treats the records differently" in verdict
    assert any((attrs.get("aria-label") or "").startswith("Tests that decided") for attrs, _ in shown.all("svg"))
    assert any("RMIA, offline" in text and "failed" in text for _, text in shown.all("tr"))
    assert shown.files == Page(page.read_text(encoding="utf-8")).files


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
    files = Page(page.read_text(encoding="utf-8")).files
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
