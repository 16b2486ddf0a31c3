"""A receipt: one page for the file, or for whoever asked, as HTML and as PDF with the same facts.

It holds nothing of the records' contents and nothing of others; whoever makes its facts sees to that. Light to import.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from efface.auditing.report.wording import SYMBOLS
from efface.runtime.printing import clip
from efface.runtime.templates import page_templates

HTML, PDF = "receipt.html", "receipt.pdf"
MAX_TEXT = 600  # characters of one line, so that all of them fit on one page


@dataclass(frozen=True)
class Line:
    """One line of a receipt.

    Args:
        text: A sentence, or the value of a fact.
        name: Name of the fact; empty for a sentence.
    """

    text: str
    name: str = ""

    @property
    def is_hash(self) -> bool:
        """Whether the text is a hash, which is set small so that it fits on one line."""
        return self.text.startswith("sha256:")


@dataclass(frozen=True)
class Receipt:
    """The facts of a receipt.

    Args:
        title: Heading of the page.
        conclusion: How the request stands, in a few words.
        status: What sets the colour and the sign: a status of an audit, `pending` or `retrained`.
        made: Day of the receipt, in ISO 8601.
        parts: Headings, each with its lines.
        footer: Where the facts come from.
    """

    title: str
    conclusion: str
    status: str
    made: str
    parts: Sequence[tuple[str, Sequence[Line]]]
    footer: str

    def __post_init__(self) -> None:
        """Shorten every text to one that fits, and leave out parts without lines."""
        kept = tuple(
            (heading, tuple(Line(clip(line.text, MAX_TEXT), line.name) for line in lines))
            for heading, lines in self.parts
            if lines
        )
        object.__setattr__(self, "parts", kept)

    @property
    def sign(self) -> str:
        """The sign of the conclusion, which does not rest on colour."""
        return {**SYMBOLS, "retrained": SYMBOLS["verified"]}.get(self.status, "\N{HORIZONTAL ELLIPSIS}")

    @property
    def colour(self) -> str:
        """The class of the page's style for the conclusion."""
        return "verified" if self.status == "retrained" else self.status if self.status in SYMBOLS else "undecided"


def render_receipt(receipt: Receipt) -> str:
    """Render a receipt as one self-contained page without scripts; the same facts always give the same bytes."""
    environment = page_templates("efface.auditing.report")
    return environment.get_template("receipt.html.j2").render(receipt=receipt)
