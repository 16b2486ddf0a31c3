"""Generated blocks of the documentation: what is committed is what the committed results give."""

from importlib.metadata import version
from pathlib import Path

import pytest

from benchmarks.harness.docs import generated, update
from benchmarks.harness.results import read
from benchmarks.harness.suite import read_suite
from efface.errors import RequestError
from helpers.benchmark_cells import cell, controls, tabled, tuning

ROOT = Path(__file__).parents[2]
PINNED = f"matplotlib=={version('matplotlib')}" in (ROOT / "constraints.txt").read_text().splitlines()
RECIPES = '[finetune]\npublished = { lr = 0.01, epochs = 10.0 }\nspace = { lr = [1e-3, 1e-1] }\nnote = "as printed"\n'
SUITE = '[[settings]]\nproblem = "letter"\nrequest = "random"\n'


def test_pages_and_figures_are_what_the_committed_results_give() -> None:
    for path, text in generated(ROOT).items():
        assert path.is_file(), f"{path} is not there: run python -m benchmarks docs"
        if path.suffix == ".svg" and not PINNED:  # another version may place things differently
            continue
        assert path.read_text(encoding="utf-8") == text, f"{path} is outdated: run python -m benchmarks docs"


@pytest.mark.parametrize("table", sorted((ROOT / "benchmarks/results").glob("*.json")), ids=lambda p: p.stem)
def test_committed_tables_are_those_of_the_suite_and_nothing_else(table: Path) -> None:
    suite = read_suite(ROOT / "benchmarks/suites" / f"{table.stem}.toml")
    assert {row.cell.name for row in read(table.with_suffix(".csv"))} == {cell.name for cell in suite.cells}


def checkout(folder: Path, readme: str, page: str = "") -> Path:
    (folder / "docs").mkdir()
    (folder / "README.md").write_text(readme)
    (folder / "docs" / "bench.md").write_text(page)
    suites = folder / "benchmarks" / "suites"
    suites.mkdir(parents=True)
    (suites / "methods.toml").write_text(RECIPES)
    (suites / "tier2.toml").write_text(SUITE)
    return folder


def block(what: str, inside: str = "") -> str:
    return f"<!-- bench: {what} -->\n{inside}<!-- /bench -->\n"


def test_blocks_are_filled_and_nothing_else_changes(tmp_path: Path) -> None:
    readme = f"before\n{block('headline a')}between\n{block('full a')}{block('headline absent')}after\n"
    page = block("plot-pareto a absent", "old\n") + block("methods") + block("machine a") + block("curves a")
    root = checkout(tmp_path, readme, page)
    tabled(root / "benchmarks/results/a.csv", *controls(), cell("steer", "default"), cell("ssd"), tuning("ssd", 3.0))
    changed = update(root)
    figure = root / "benchmarks/results/pareto-a-absent.svg"
    assert sorted(changed) == sorted([root / "README.md", root / "docs/bench.md", figure])
    page_text = (root / "README.md").read_text()
    assert page_text.startswith(
        "before\n<!-- bench: headline a -->\n\n`python -m benchmarks run benchmarks/suites/a.toml`, "
    )
    assert "then `python -m benchmarks table benchmarks/results/a.csv`:\n\n| data, request |" in page_text
    assert "<!-- bench: headline absent -->\n\n*no results yet*\n\n<!-- /bench -->\nafter\n" in page_text
    assert "\n<!-- /bench -->\nbetween\n<!-- bench: full a -->\n" in page_text and "1 tuning of 2 draws" in page_text
    shown = (root / "docs/bench.md").read_text()
    assert "](../benchmarks/results/pareto-a-absent.svg)" in shown and "old" not in shown
    assert "then `python -m benchmarks docs`" in shown and "Made with commit" in shown
    assert "| `finetune` |" in shown and "| lr 0.01, epochs 10 | lr 0.001 to 0.1 | as printed |" in shown
    # nothing varies, so there is no curve
    assert shown.endswith("<!-- bench: curves a -->\n\n*no results yet*\n\n<!-- /bench -->\n")
    assert update(root) == []
    figure.unlink()
    assert update(root) == [figure]


def test_what_is_wrong_with_pages_is_page_text_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    readme = block("headlin a") + block("headline") + block("full bad")
    root = checkout(tmp_path, readme, "<!-- bench: full a -->\nno end\n")
    bad = tabled(root / "benchmarks/results/bad.csv", cell("ssd"))
    bad.with_suffix(".json").write_text("{")
    with pytest.raises(RequestError) as caught:
        update(root)
    said = caught.value.problems
    assert len(said) == 4 and any("did you mean 'headline'?" in p for p in said)
    for words in ("of no suite", "damaged", "has no end"):
        assert any(words in p for p in said)
    assert (root / "README.md").read_text() == readme
