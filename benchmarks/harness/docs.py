"""Tables and figures in the documentation, made from the committed results.

A page has blocks, `<!-- bench: NAME [FOLDER ...] -->` to `<!-- /bench -->`, between which everything is generated. NAME
is a table or a figure, FOLDER are folders of results in benchmarks/results, of which a figure makes an SVG file beside
them. `methods` and `machine` are such tables, too.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from efface.bench.full import full
from efface.bench.listing import methods
from efface.bench.plots import FIGURES, write
from efface.bench.results import has_results, read, read_tunings
from efface.bench.suite import read_suite
from efface.bench.tables import TABLES
from efface.errors import RequestError
from efface.options import nearest

PAGES = ("README.md", "docs/*.md")
SUITES, RESULTS = Path("benchmarks"), Path("benchmarks/results")
METHODS = "methods"
PLOT = "plot-"  # before the name of a figure
BLOCK = re.compile(r"(<!-- bench: (?P<what>[^\n>]*?) -->\n).*?(<!-- /bench -->)", flags=re.DOTALL)
NOTHING = "*no results yet*"
NAMES = (*TABLES, *(f"{PLOT}{key}" for key in FIGURES), METHODS)


@dataclass(frozen=True)
class Block:
    """What a marker asks for: a table or figure, of which folders of results."""

    name: str
    folders: tuple[str, ...]

    @property
    def figure(self) -> Path:
        """Where its figure lies, from the root."""
        return RESULTS / f"{'-'.join((self.name.removeprefix(PLOT), *self.folders))}.svg"


def update(root: Path) -> list[Path]:
    """Write what has changed of `generated`; the files written. RequestError with everything that is wrong."""
    return [write(path, text) for path, text in generated(root).items() if _text(path) != text]


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
    name, *folders = what.split()
    if name not in NAMES:
        raise RequestError(f"{page}: there is no table or figure {name!r} ({nearest(name, NAMES)})")
    if not folders and name != METHODS:
        raise RequestError(f"{page}: {name} is of no folder of results")
    return Block(name, tuple(folders))


def _filled(root: Path, page: Path, block: Block) -> tuple[str, str]:
    """The text of a block, and the figure that it shows, if any."""
    if block.name == METHODS:
        return methods(read_suite(root / SUITES / "tier2.toml").recipes), ""
    folders = [root / RESULTS / name for name in block.folders]
    # one suite of several may be on its way
    there = [folder for folder in folders if has_results(folder)]
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
        return f"{made_by}\n\n![{key} of {', '.join(block.folders)}]({link})", figure
    if block.name == "full":
        body = full(rows, [t for folder in there for t in read_tunings(folder)])
    else:
        body = TABLES[block.name](rows)
    return (f"{made_by}\n\n{body}", "") if body else (NOTHING, "")


def _commands(block: Block) -> str:
    """How what is shown is made again."""
    folders = [(RESULTS / name).as_posix() for name in block.folders]
    runs = [
        f"`efface bench run {(SUITES / f'{name}.toml').as_posix()} --out {folder}`"
        for name, folder in zip(block.folders, folders, strict=True)
    ]
    # the command line shows one folder at a time
    alone = len(folders) == 1 and not block.name.startswith(PLOT)
    shown = f"efface bench table {folders[0]}" if alone else "python benchmarks/update_docs.py"
    return f"{', '.join(runs)}, then `{shown}`:"
