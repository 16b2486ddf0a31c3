"""Tables and figures in the documentation, made from the committed results.

A page has blocks, `<!-- bench: NAME [SUITE ...] -->` to `<!-- /bench -->`, between which everything is generated. NAME
is a table or a figure, SUITE are suites whose tables lie in benchmarks/results, where a figure becomes an SVG file
beside them. `methods` and `machine` are such tables, too.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.collect import table_of
from benchmarks.harness.files import write_whole
from benchmarks.harness.plots import FIGURES
from benchmarks.harness.results import read, read_tunings
from benchmarks.harness.stored import has_results
from benchmarks.harness.suite import read_suite
from benchmarks.harness.tables.full import full
from benchmarks.harness.tables.methods import methods
from benchmarks.harness.tables.overview import TABLES
from efface.errors import RequestError
from efface.runtime.options import nearest

PAGES = ("README.md", "docs/*.md")
SUITES, RESULTS = Path("benchmarks/suites"), Path("benchmarks/results")
PROGRAM = "python -m benchmarks"
METHODS = "methods"
PLOT = "plot-"  # before the name of a figure
BLOCK = re.compile(r"(<!-- bench: (?P<what>[^\n>]*?) -->\n).*?(<!-- /bench -->)", flags=re.DOTALL)
NOTHING = "*no results yet*"
NAMES = (*TABLES, *(f"{PLOT}{key}" for key in FIGURES), METHODS)


@dataclass(frozen=True)
class Block:
    """What a marker asks for: a table or figure, of which suites."""

    name: str
    suites: tuple[str, ...]

    @property
    def figure(self) -> Path:
        """Where its figure lies, from the root."""
        return RESULTS / f"{'-'.join((self.name.removeprefix(PLOT), *self.suites))}.svg"


def update(root: Path) -> list[Path]:
    """Write what has changed of `generated`; the files written. RequestError with everything that is wrong."""
    return [write_whole(path, text) for path, text in generated(root).items() if _text(path) != text]


def generated(root: Path) -> dict[Path, str]:
    """What every page with blocks, and every figure that one shows, must hold by the results in a checkout.

    Raises RequestError with everything that is wrong: unknown names, blocks without an end, damaged results.
    """
    problems: list[str] = []
    found: dict[Path, str] = {}
    for page in _pages(root):
        text = page.read_text(encoding="utf-8")
        if text.count("<!-- bench: ") != len(BLOCK.findall(text)):
            problems.append(f"{page}: a block of the benchmark has no end (<!-- /bench -->)")
            continue

        def filled(match: re.Match[str], page: Path = page) -> str:
            try:
                block = _block(match["what"], page)
                body, figure = _filled(root, page, block)
            except RequestError as error:
                problems.extend(error.problems)
                return match[0]
            if figure:
                found[root / block.figure] = figure
            return f"{match[1]}\n{body}\n\n{match[3]}"

        if "<!-- bench: " in text:
            found[page] = BLOCK.sub(filled, text)
    if problems:
        raise RequestError(problems)
    return found


def _pages(root: Path) -> Iterator[Path]:
    for pattern in PAGES:
        yield from sorted(root.glob(pattern))


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _block(what: str, page: Path) -> Block:
    name, *suites = what.split()
    if name not in NAMES:
        raise RequestError(f"{page}: there is no table or figure {name!r} ({nearest(name, NAMES)})")
    if not suites and name != METHODS:
        raise RequestError(f"{page}: {name} is of no suite")
    return Block(name, tuple(suites))


def _filled(root: Path, page: Path, block: Block) -> tuple[str, str]:
    """The text of a block, and the figure that it shows, if any."""
    if block.name == METHODS:
        return methods(read_suite(root / SUITES / "tier2.toml").recipes), ""
    tables = [table_of(name, root / RESULTS) for name in block.suites]
    # one suite of several may be on its way
    there = [table for table in tables if has_results(table)]
    if not there:
        return NOTHING, ""
    rows = read(*there)
    made_by = _commands(block)
    if block.name.startswith(PLOT):
        key = block.name.removeprefix(PLOT)
        figure = FIGURES[key](rows)
        if not figure:
            return NOTHING, ""
        link = Path(os.path.relpath(root / block.figure, page.parent)).as_posix()
        return f"{made_by}\n\n![{key} of {', '.join(block.suites)}]({link})", figure
    if block.name == "full":
        body = full(rows, [t for table in there for t in read_tunings(table)])
    else:
        body = TABLES[block.name](rows)
    return (f"{made_by}\n\n{body}", "") if body else (NOTHING, "")


def _commands(block: Block) -> str:
    """How what is shown is made again."""
    made = [(SUITES / f"{name}.toml").as_posix() for name in block.suites]
    steps = [f"{PROGRAM} {verb} {suite}" for suite in made for verb in ("run", "collect")]
    # the command line shows one table at a time
    alone = len(made) == 1 and not block.name.startswith(PLOT)
    steps.append(f"{PROGRAM} table {table_of(block.suites[0], RESULTS).as_posix()}" if alone else f"{PROGRAM} docs")
    return f"{', '.join(f'`{step}`' for step in steps[:-1])}, then `{steps[-1]}`:"
