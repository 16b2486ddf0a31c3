"""A receipt as PDF: one A4 page whose text can be selected, and which is the same for the same facts."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from efface.auditing.report.receipt import Receipt

if TYPE_CHECKING:
    from fpdf import FPDF

SIZES = (9.5, 9.0, 8.5, 8.0, 7.5, 7.0, 6.5, 6.0, 5.5, 5.0)  # points; the largest with which all fits on the page
SIDE, TOP, BOTTOM = 18.0, 16.0, 283.0  # mm of the page
NAMES = 40.0  # width of the names of facts, in mm
FONT = "DejaVu"
INK, SOFT = (27, 31, 36), (83, 92, 102)
COLOURS = {
    "verified": (0, 122, 89),
    "verified_by_rehearsal": (0, 122, 89),
    "no_trace_found": (0, 90, 140),
    "not_verified": (179, 78, 0),
    "undecided": (138, 95, 0),
}


def receipt_pdf(receipt: Receipt) -> bytes:
    """Draw a receipt on one page of A4.

    Args:
        receipt: Its facts.

    Returns:
        The bytes of the PDF. The only date in it is that of the receipt.
    """
    with _quiet():
        made = b""
        for size in SIZES:
            with _page() as pdf:
                _draw(pdf, receipt, size)
                if pdf.get_y() <= BOTTOM or size == SIZES[-1]:
                    made = bytes(pdf.output())
                    break
        return made


@contextmanager
def _page() -> "Iterator[FPDF]":
    from fpdf import FPDF

    pdf = FPDF(format="A4")
    try:
        yield pdf
    finally:
        for font in pdf.fonts.values():
            font.ttfont.close()  # type: ignore[union-attr]  # else its file stays open


def _draw(pdf: "FPDF", receipt: Receipt, size: float) -> None:
    pdf.set_creation_date(datetime.fromisoformat(receipt.made).replace(tzinfo=UTC))
    pdf.set_title(_shown(receipt.title))
    pdf.set_lang("en")
    pdf.set_auto_page_break(False)
    pdf.set_margins(SIDE, TOP, SIDE)
    fonts = _fonts()
    pdf.add_font(FONT, fname=fonts / "DejaVuSans.ttf")
    pdf.add_font(FONT, style="B", fname=fonts / "DejaVuSans-Bold.ttf")
    pdf.add_page()
    _text(pdf, receipt.title, size + 6, bold=True)
    _text(pdf, f"As of {receipt.made} (UTC).", size, colour=SOFT)
    pdf.ln(2)
    top = pdf.get_y()
    pdf.set_x(SIDE + 4)
    _text(pdf, f"{receipt.sign}  {receipt.conclusion}", size + 3, bold=True, colour=COLOURS[receipt.colour])
    pdf.set_fill_color(*COLOURS[receipt.colour])
    pdf.rect(SIDE, top, 1.2, pdf.get_y() - top, style="F")
    for heading, lines in receipt.parts:
        pdf.ln(size / 4)
        _text(pdf, heading, size + 0.5, bold=True)
        for line in lines:
            if line.name:
                top = pdf.get_y()
                _text(pdf, line.name, size, colour=SOFT, width=NAMES)
                below = pdf.get_y()
                pdf.set_xy(SIDE + NAMES, top)
                _text(pdf, line.text, 0.86 * size if line.is_hash else size)
                pdf.set_y(max(below, pdf.get_y()))
            else:
                _text(pdf, line.text, size)
    pdf.ln(size / 4)
    _text(pdf, receipt.footer, size - 0.5, colour=SOFT)


def _text(
    pdf: "FPDF",
    text: str,
    size: float,
    bold: bool = False,
    colour: tuple[int, int, int] = INK,
    width: float = 0,
) -> None:
    """Write a text, broken into lines, from the present place on."""
    pdf.set_font(FONT, style="B" if bold else "", size=size)
    pdf.set_text_color(*colour)
    known = pdf.current_font.cmap  # type: ignore[union-attr]
    # a sign that the font does not have is shown as a question mark
    shown = "".join(c if ord(c) in known else "?" for c in _shown(text))
    pdf.multi_cell(width, size * 0.5, shown, align="L", new_x="LMARGIN", new_y="NEXT")


def _shown(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _fonts() -> Path:
    """The folder of the fonts that matplotlib comes with."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the remarks of the libraries that make the fonts smaller, which say nothing to a user."""
    loggers = [logging.getLogger(name) for name in ("fontTools", "fpdf")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
