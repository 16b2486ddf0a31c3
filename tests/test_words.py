"""One word, one meaning: words that were retired stay out of the package, its messages and its pages."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

import efface

SOURCE = Path(efface.__file__).parent
ROOT = SOURCE.parents[1]

# in any text of the package and its pages
RETIRED = re.compile(
    r"\b(strangers?|rungs?|ladders?|emptied|squash|unsquash|hardness|sights?|told|gold models?|remakes?)\b",
    re.IGNORECASE,
)
# as a name in code: each had several meanings
NAMES = {
    *("gone", "looks", "plain", "named", "without", "few", "attempt", "dull", "gained", "broken"),
    *("gold", "again", "ours", "theirs", "hard", "enough", "anchor", "hold", "reach", "take", "whole"),
}
PREFIXES = ("FEWEST", "MOST_", "LEAST_", "LONGEST_")
# what happened once is reported in the words of its day
LOGS = {"research-log.md", "CHANGELOG.md"}

TEXTS = [p for p in SOURCE.rglob("*") if p.suffix in {".py", ".j2", ".json", ".css"}]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
CODE = sorted(SOURCE.rglob("*.py"))


def places(text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        for match in RETIRED.finditer(line):
            yield f"line {number}: {match.group()!r} in {line.strip()[:80]!r}"


def names(path: Path) -> set[str]:
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)
    return {token.string for token in tokens if token.type == tokenize.NAME}


@pytest.mark.parametrize("path", [p for p in sorted([*TEXTS, *PAGES]) if p.name not in LOGS], ids=lambda p: p.name)
def test_retired_words_stay_out_of_texts(path: Path) -> None:
    assert not list(places(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", CODE, ids=lambda p: str(p.relative_to(SOURCE)))
def test_retired_names_stay_out_of_code(path: Path) -> None:
    found = {name for name in names(path) if name.lstrip("_") in NAMES or name.lstrip("_").startswith(PREFIXES)}
    assert not found
