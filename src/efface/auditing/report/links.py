"""Links from the text of a page to its glossary."""

import re
from functools import cache

from markupsafe import Markup, escape

from efface.auditing.report.glossary import GLOSSARY


class Terms:
    """Makes links to the glossary: a term is linked where it first stands in each section of the page."""

    def __init__(self) -> None:
        self._linked: set[str] = set()

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
            parts += [escape(text[end : found.start()]), _link_to(key, found.group())]
            end = found.end()
        return Markup("").join([*parts, escape(text[end:])])


def _link_to(key: str, shown: str) -> Markup:
    return Markup('<a class="term" href="#term-{}" title="{}">{}</a>').format(key, GLOSSARY[key].definition, shown)


@cache
def _keys() -> dict[str, str]:
    return {word.lower(): key for key, term in GLOSSARY.items() for word in (term.name, *term.words)}


@cache
def _pattern() -> re.Pattern[str]:
    # the longest first, so that "adjusted p" is not taken for "adjusted"
    words = "|".join(re.escape(word) for word in sorted(_keys(), key=lambda w: (-len(w), w)))
    return re.compile(rf"(?<![\w-])(?:{words})(?![\w-])", re.IGNORECASE)
