"""Links from the text of a page to its glossary."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from markupsafe import Markup, escape

from efface.auditing.report.glossary import GLOSSARY, Term


def terms_of(document: Mapping[str, Any]) -> dict[str, Term]:
    """The terms of a report by key: what the margin is depends on what its model says of a record."""
    return GLOSSARY | {"margin": GLOSSARY["margin"]._replace(definition=document["outputs"]["margin"])}


class Terms:
    """Makes links to the glossary: a term is linked where it first stands in each section of the page."""

    def __init__(self, glossary: Mapping[str, Term] = GLOSSARY) -> None:
        """Take the terms by key, for their definitions; their words are those of GLOSSARY."""
        self._linked, self._glossary = set[str](), glossary

    def section(self) -> str:
        """Begin a new section; returns an empty text, for templates."""
        self._linked.clear()
        return ""

    def link(self, text: str) -> Markup:
        """Escape a text, and link its terms."""
        parts, end = [], 0
        for found in _pattern().finditer(text):
            # a pattern that ignores case also finds letters that lower() keeps, such as the long s
            key = _keys().get(found.group().lower())
            if key is None or key in self._linked:
                continue
            self._linked.add(key)
            parts += [escape(text[end : found.start()]), _link_to(key, found.group(), self._glossary[key].definition)]
            end = found.end()
        return Markup("").join([*parts, escape(text[end:])])


def _link_to(key: str, shown: str, definition: str) -> Markup:
    return Markup('<a class="term" href="#term-{}" title="{}">{}</a>').format(key, definition, shown)


@cache
def _keys() -> dict[str, str]:
    return {word.lower(): key for key, term in GLOSSARY.items() for word in (term.name, *term.words)}


@cache
def _pattern() -> re.Pattern[str]:
    # the longest first, so that "adjusted p" is not taken for "adjusted"
    words = "|".join(re.escape(word) for word in sorted(_keys(), key=lambda w: (-len(w), w)))
    return re.compile(rf"(?<![\w-])(?:{words})(?![\w-])", re.IGNORECASE)
