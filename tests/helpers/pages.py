"""The pages that users read: their fenced blocks, their prose by sentence, and their anchors."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
# what stands before a fence whose code is not run, with the reason
NOT_RUN = re.compile(r"<!-- not run: (.+?) -->$")
ITEM = re.compile(r"^\s*([-*]|\d+\.)\s")
SENTENCE_END = re.compile(r"(?<=[.!?])[\"')]*\s+(?=[A-Z0-9\"'(])")


@dataclass(frozen=True)
class Fence:
    """A fenced block of a page.

    Args:
        page: The page.
        line: Number of its first line.
        language: The word after the fence; empty where there is none.
        text: What stands in it.
        not_run: Why it is not run, by the comment before it; None without one.
    """

    page: Path
    line: int
    language: str
    text: str
    not_run: str | None

    @property
    def place(self) -> str:
        return f"{name_of(self.page)}:{self.line}"


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def fences(page: Path, text: str | None = None) -> list[Fence]:
    """The fenced blocks of a page, in order."""
    found: list[Fence] = []
    start: int | None = None
    lines = (page.read_text(encoding="utf-8") if text is None else text).splitlines()
    for number, line in enumerate(lines):
        if not line.strip().startswith("```"):
            continue
        if start is None:
            start = number
            continue
        before = NOT_RUN.search(lines[start - 1]) if start else None
        inside = "\n".join(lines[start + 1 : number]) + "\n"
        found.append(Fence(page, start + 1, lines[start].strip()[3:], inside, before and before[1]))
        start = None
    assert start is None, f"{page.name}: the block of line {start} has no end"
    return found


def prose(text: str) -> Iterator[str]:
    """The paragraphs, items of lists and cells of tables of a page, without code, headings and comments."""
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"^\s*```.*?^\s*```", "\n", text, flags=re.DOTALL | re.MULTILINE)
    paragraph: list[str] = []
    for line in [*text.splitlines(), ""]:
        words = line.strip()
        if not words or words.startswith(("|", "#")) or ITEM.match(line):
            if paragraph:
                yield " ".join(paragraph)
            paragraph = []
        if words.startswith("|"):
            yield from (cell.strip() for cell in words.strip("|").split("|"))
        elif not words.startswith("#"):
            paragraph += filter(None, [ITEM.sub("", line).strip()])


def sentences(text: str) -> Iterator[str]:
    """The sentences of a page; a link is its words, and code is one word."""
    for part in prose(text):
        words = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(r"`[^`]*`", "CODE", part)).replace("*", "")
        yield from filter(None, SENTENCE_END.split(words))


def word_count(sentence: str) -> int:
    """How many words a sentence has; a sign by itself is none."""
    return sum(any(c.isalnum() for c in word) for word in sentence.split())


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as the forge and the site make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return {slug(head) for head in re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)}


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def commands_of(typed: typer.Typer, before: str = "") -> dict[str, Any]:
    """Commands by what a user types after `efface`, those of sub-apps among them."""
    own = {f"{before}{c.name or c.callback.__name__}": c for c in typed.registered_commands if c.callback is not None}
    for group in typed.registered_groups:
        if group.typer_instance is not None:
            own |= commands_of(group.typer_instance, f"{before}{group.name} ")
    return own
