"""From a run's results to a committed table, and from that back to what need not be made again."""

import csv
from pathlib import Path

import pytest

from benchmarks.harness.collect import collect
from benchmarks.harness.made import Folders, Made
from benchmarks.harness.suite import read_suite
from benchmarks.harness.tables.overview import render
from benchmarks.harness.tuning import tunings_of
from efface.errors import RequestError
from efface.methods import REGISTRY
from helpers.benchmark_command import SMOKE, Done, bench


@pytest.fixture
def results(smoke: Done, tmp_path: Path) -> Path:
    """A folder of tables with that of the smoke suite."""
    collected = bench("collect", str(SMOKE), "--raw", str(smoke.out), "--results", str(tmp_path))
    assert collected.exit_code == 0, collected.output
    names = ("smoke.csv", "smoke.json", "tunings.csv")
    assert collected.stdout == "".join(f"Wrote {tmp_path / name}\n" for name in names)
    return tmp_path


def test_a_table_shows_what_the_run_shows(smoke: Done, results: Path) -> None:
    assert render(results / "smoke.csv") == render(smoke.out)
    with (results / "smoke.csv").open(newline="") as lines:
        assert [row["method"] for row in csv.DictReader(lines)] == ["noop", "retrain", "steer", "finetune", "finetune"]


def test_cells_that_a_run_did_not_make_are_kept(smoke: Done, results: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in results.iterdir()}
    collect(read_suite(SMOKE), tmp_path / "absent", results)
    assert {path.name: path.read_bytes() for path in results.iterdir()} == before
    with pytest.raises(RequestError, match=r"6 results of smoke are not made \(.* is one\): run the suite first"):
        collect(read_suite(SMOKE), tmp_path / "absent", tmp_path / "nowhere")


def test_tunings_of_other_suites_are_kept(results: Path, smoke: Done, tmp_path: Path) -> None:
    table = results / "tunings.csv"
    head, *rows = table.read_text().splitlines()
    assert len(rows) == 2
    others = [row.replace("smoke,", "another,", 1) for row in rows]
    table.write_text("\n".join([head, *others, *rows]) + "\n")
    before = table.read_text()
    collect(read_suite(SMOKE), smoke.out, results)
    assert table.read_text() == before


def test_what_is_committed_is_not_made_again_unless_a_version_was_raised(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = read_suite(SMOKE)

    def missing() -> list[str]:
        made = Made(suite, Folders(tmp_path / "empty", tmp_path / "empty", results))
        return [c.method for c in suite.cells if not made.is_made(c)] + [
            t.name for t in tunings_of(suite) if made.tuned(t) is None
        ]

    assert missing() == []
    assert Made(suite, Folders(tmp_path / "empty", tmp_path / "empty")).is_made(suite.cells[0]) is False
    monkeypatch.setattr(REGISTRY["steer"], "version", 99)
    assert missing() == ["steer"]
