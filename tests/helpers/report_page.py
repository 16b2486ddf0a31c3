"""The page of a report as its reader meets it: elements, text, addresses, and the files that it offers."""

import base64
import csv
import io
from html.parser import HTMLParser

from efface.auditing.report.csv_files import ADDRESS

VOID = {"meta", "br", "img", "link", "input", "hr"}
LOADING = ("src", "href", "xlink:href", "srcset", "data", "action")
Attributes = dict[str, str | None]


class Page(HTMLParser):
    """A page taken apart.

    elements: tag, attributes and open tags around it of every element, in order; texts: the text within each.
    words: all text of the page, with single spaces.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, Attributes, list[str]]] = []
        self.texts: list[str] = []
        self.words = ""
        self._open: list[int] = []
        self.feed(page)
        assert not self._open, "a tag is left open"
        self.words = " ".join(self.words.split())

    @property
    def tags(self) -> list[str]:
        return [tag for tag, *_ in self.elements]

    @property
    def addresses(self) -> list[str]:
        """Whatever a browser might load."""
        return [value or "" for _, attrs, _ in self.elements for name, value in attrs.items() if name in LOADING]

    @property
    def handlers(self) -> list[str]:
        """Attributes that would run a script."""
        return [name for _, attrs, _ in self.elements for name in attrs if name.startswith("on")]

    @property
    def ids(self) -> list[str]:
        return [attrs["id"] or "" for _, attrs, _ in self.elements if attrs.get("id")]

    @property
    def files(self) -> dict[str, list[list[str]]]:
        """The rows of every CSV file that the page offers, by name."""
        found = {}
        for attrs, _ in self.all("a"):
            if "download" in attrs:
                address = attrs["href"] or ""
                assert address.startswith(ADDRESS)
                text = base64.b64decode(address.removeprefix(ADDRESS), validate=True).decode("utf-8")
                found[attrs["download"] or ""] = list(csv.reader(io.StringIO(text)))
        return found

    def all(self, *tags: str) -> list[tuple[Attributes, str]]:
        """Attributes and text of every element of these kinds."""
        pairs = zip(self.elements, self.texts, strict=True)
        return [(attrs, " ".join(text.split())) for (tag, attrs, _), text in pairs if tag in tags]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), [self.elements[i][0] for i in self._open]))
        self.texts.append("")
        self.words += " " if tag in ("td", "th", "dt", "dd", "p", "h2") else ""
        if tag not in VOID:
            self._open.append(len(self.elements) - 1)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self._open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        self.words += data
        for i in self._open:
            self.texts[i] += data
