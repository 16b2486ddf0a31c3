"""The pages that newcomers read have short sentences."""

from pathlib import Path

import pytest

from helpers.pages import DOCS, name_of, sentences, word_count

MAX_WORDS = 30

READ_FIRST = [
    DOCS.parent / "README.md",
    *(DOCS / f"{name}.md" for name in ("start", "guide", "kinds", "audit", "small-requests", "store")),
    *sorted((DOCS / "howto").glob("*.md")),
]


@pytest.mark.parametrize("page", READ_FIRST, ids=name_of)
def test_sentences_are_short(page: Path) -> None:
    found = [(word_count(s), s) for s in sentences(page.read_text(encoding="utf-8"))]
    assert len(found) > 5
    assert [f"{n} words: {s}" for n, s in found if n > MAX_WORDS] == []


def test_sentences_are_counted_without_code_links_and_comments() -> None:
    text = (
        "# A heading of four\n\nOne [two three](there.md) `four five six`. Two - **words**\non two lines! (A third.)\n"
        "```sh\nnot this\n```\n<!-- nor this -->\n- an item\n1. another one\n\n| a cell | `b` |\n|---|---|\n"
    )
    assert [(s, word_count(s)) for s in sentences(text)] == [
        ("One two three CODE.", 4),
        ("Two - words on two lines!", 5),
        ("(A third.)", 2),
        ("an item", 2),
        ("another one", 2),
        ("a cell", 2),
        ("CODE", 1),
        ("---", 0),
        ("---", 0),
    ]
