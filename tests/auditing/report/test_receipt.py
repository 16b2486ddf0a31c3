"""The receipt: one page, the same facts as HTML and as PDF, and nothing of any record."""

import hashlib
import html
import itertools
import re
from collections.abc import Iterator
from typing import Any

import fpdf
import pytest

from efface.auditing.config import Level, Status
from efface.auditing.report.document import write
from efface.auditing.report.receipt import HTML, MAX_TEXT, PDF, Line, Receipt, render_receipt
from efface.auditing.report.receipt_facts import receipt_of
from efface.auditing.report.receipt_pdf import BOTTOM, receipt_pdf
from efface.auditing.report.wording import VERDICTS
from helpers.report_document import Document, bare, example, record
from helpers.report_page import Page

DIGEST = f"sha256:{'9' * 64}"


class Drawn:
    """What was written into PDFs: the texts of the last one, and how far down its page goes, in mm."""

    def __init__(self) -> None:
        self.pages = 0
        self.texts: list[str] = []
        self.end = 0.0


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[Drawn]:
    seen, multi_cell, add_page = Drawn(), fpdf.FPDF.multi_cell, fpdf.FPDF.add_page

    def cell(self: Any, w: float, h: float, text: str, **options: Any) -> Any:
        done = multi_cell(self, w, h, text, **options)
        seen.texts.append(text)
        seen.end = max(seen.end, self.get_y())
        return done

    def page(self: Any, *args: Any, **options: Any) -> None:
        seen.texts, seen.end, seen.pages = [], 0.0, seen.pages + 1
        add_page(self, *args, **options)

    monkeypatch.setattr(fpdf.FPDF, "multi_cell", cell)
    monkeypatch.setattr(fpdf.FPDF, "add_page", page)
    yield seen


def of(status: str, level: str, document: Document | None = None) -> Receipt:
    document = document or example()
    return receipt_of({**document, "level": level, "verdict": {**document["verdict"], "status": status}}, DIGEST)


@pytest.mark.parametrize(("status", "level"), list(itertools.product(map(str, Status), map(str, Level))))
def test_every_conclusion_has_a_receipt_with_all_that_belongs_on_it(status: str, level: str) -> None:
    page = Page(render_receipt(of(status, level)))
    for words in (
        VERDICTS[status],
        "3 of the 5,000 training records",
        "2026-11-24, 10:00 UTC",
        "sha256:" + "b" * 64,
        "sha256:" + "c" * 64,
        f"level {level}",
        "5 tests were made of these records; 2 tests were made of the rehearsed ones.",
        "evidence, not proof",
        "What else may hold the data",
        "backups and copies",
        DIGEST,
    ):
        assert words in page.words, words


def test_the_number_of_tests_claims_no_more_than_that_they_were_made() -> None:
    document = example()
    document["request"]["count"], document["rehearsal"] = 1, None
    assert "5 tests were made of this record." in Page(render_receipt(of("undecided", "quick", document))).words
    none = bare(document)
    assert "No test could be made of this record." in Page(render_receipt(of("undecided", "quick", none))).words
    rehearsed = {**none, "rehearsal": {**example()["rehearsal"], "tests": []}}
    words = Page(render_receipt(of("undecided", "quick", rehearsed))).words
    assert "made of this record; no test could be made of the rehearsed ones." in words


def test_html_and_pdf_say_the_same(drawn: Drawn) -> None:
    receipt = of("not_verified", "strong")
    receipt_pdf(receipt)
    page = Page(render_receipt(receipt)).words
    for text in drawn.texts:
        assert " ".join(text.split()) in page
    assert drawn.end <= BOTTOM and drawn.pages == 1, "it is not set small"
    assert len(drawn.texts) == 4 + sum(1 + sum(1 + bool(x.name) for x in lines) for _, lines in receipt.parts)


def test_long_texts_fit_on_one_page(drawn: Drawn) -> None:
    long = "\u2713 a long word and averylongone" * 100
    parts = [(f"Part {i}", [Line(long), Line(long, "name of a fact"), Line(long)]) for i in range(6)]
    receipt = Receipt("T" * 80, "conclusion", "pending", "2031-05-01", parts, long[:MAX_TEXT])
    pdf = receipt_pdf(receipt)
    assert drawn.end <= BOTTOM and pdf.count(b"/Type /Page\n") == 1
    assert max(map(len, drawn.texts)) <= MAX_TEXT


def test_the_same_facts_give_the_same_bytes_on_any_day(monkeypatch: pytest.MonkeyPatch) -> None:
    receipt = of("verified", "quick")
    first = receipt_pdf(receipt)

    monkeypatch.setattr("time.time", lambda: 2_500_000_000.0)
    assert receipt_pdf(receipt) == first
    assert re.findall(rb"D:\d{8}", first) == [b"D:20261124"]
    assert render_receipt(receipt) == render_receipt(receipt)


def test_nothing_of_a_record_stands_on_it(drawn: Drawn) -> None:
    document = example()
    document["records"] = [
        record(
            0, id="anna@example.org", record="tag0tag0", label="malady", description="a portrait of Anna", position=4711
        )
    ]
    document.update(title="Anna's request", notes=["anna@example.org was hard"])
    document["request"]["kinds"] = {"portraits of Anna": 3}
    document["verdict"].update(sentence="Anna stands out", reasons=["Anna"], next=["ask Anna"])
    for status in ("verified", "not_verified", "undecided"):
        receipt = of(status, "standard", document)
        receipt_pdf(receipt)
        held = html.unescape(render_receipt(receipt)) + " ".join(drawn.texts)
        without_style = re.sub(r"<style>.*?</style>", "", held, flags=re.DOTALL)
        for secret in ("anna", "tag0tag0", "malady", "portrait", "4711", document["request"]["ids_digest"]):
            assert secret not in without_style.lower(), secret


def test_texts_of_others_are_escaped_and_odd_signs_are_drawn(drawn: Drawn) -> None:
    receipt = Receipt("<b>", "c", "verified", "2031-05-01", [("h", [Line("<i> \u5fd8 \ud800 \u0416", "n")])], "f")
    page = render_receipt(receipt)
    assert "<i>" not in page and "<b>" not in page
    receipt_pdf(receipt)
    assert "<i> ? ? \u0416" in drawn.texts


def test_saving_a_report_writes_its_receipt_beside_it(tmp_path: Any) -> None:
    data, _ = write(bare(example()), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [HTML, PDF, "report.html", "report.json"]
    assert (tmp_path / PDF).read_bytes().startswith(b"%PDF-")
    assert hashlib.sha256(data.read_bytes()).hexdigest() in (tmp_path / HTML).read_text(encoding="utf-8")


def test_a_report_of_several_requests_is_written_without_a_receipt(tmp_path: Any) -> None:
    write(bare(example()), tmp_path, receipt=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "report.json"]
