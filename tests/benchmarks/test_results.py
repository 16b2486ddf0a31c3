"""Results are read of folders and tables, or refused with all that is wrong."""

import json
from pathlib import Path

import pytest

from benchmarks.harness.results import read, read_tunings
from benchmarks.harness.stored import has_results
from efface.errors import RequestError
from helpers.benchmark_cells import cell, tabled, tuning, written


def test_what_is_wrong_with_a_folder_is_said_at_once(tmp_path: Path) -> None:
    empty, bad = tmp_path / "empty", written(tmp_path / "bad", cell("steer", "default"), cell("ssd"), cell("align"))
    empty.mkdir()
    written(empty, tuning("ssd", 1.0))
    assert not has_results(empty) and not has_results(tmp_path / "absent") and has_results(bad)
    files = sorted(bad.iterdir())
    files[0].write_text("{half")
    files[1].write_text(json.dumps({**cell("ssd"), "schema": 99}))
    text = cell("steer", "default")
    text["cost"]["epoch_cpu_s"] = "fast"
    files[2].write_text(json.dumps(text))
    (bad / "other.json").write_text("[1]")
    (bad / "less.json").write_text("{}")
    with pytest.raises(RequestError) as caught:
        read(empty, tmp_path / "absent", bad)
    said = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 7
    for words in ("no results in it", "no such folder", "expected schema 2, got 99", "expected a number, got 'fast'"):
        assert words in said
    assert "less.json: is no result of the benchmark (no 'schema')" in said
    (empty / "x-tuning.json").write_text("null")
    with pytest.raises(RequestError, match=r"x-tuning\.json"):
        read_tunings(empty)


def test_tunings_have_their_cost(tier: Path) -> None:
    (found,) = read_tunings(tier)
    assert (found.method, found.draws, found.cpu_s, found.setting.draw) == ("finetune", 2, 12.0, 0)


def test_a_damaged_table_is_refused(tmp_path: Path) -> None:
    table = tabled(tmp_path / "a.csv", cell("ssd"), cell("align", failed="no"))
    assert [row.failed for row in read(table)] == ["no", None] and has_results(table)
    whole = table.read_text()
    for damaged, said in (
        (whole.replace("random", '"random'), "damaged"),
        (whole.replace("epochs", "epoch"), "is no result of the benchmark (no 'epochs')"),
        (whole.replace("150", "x"), "damaged"),
    ):
        table.write_text(damaged)
        with pytest.raises(RequestError) as caught:
            read(table)
        assert len(caught.value.problems) == 1 and said in caught.value.problems[0]
    with pytest.raises(RequestError, match="cannot be read: No such file"):
        read(tmp_path / "b.csv")


def test_a_table_has_the_numbers_of_the_results_to_the_last_digit(tmp_path: Path) -> None:
    results = [
        cell("ssd", left=1 / 3, cpu_s=0.1 + 0.2),
        cell("steer", "default", predicted=0.1),
        cell("align", failed="x"),
    ]
    raw, table = read(written(tmp_path / "raw", *results)), read(tabled(tmp_path / "a.csv", *results))
    for one, other in zip(raw, table, strict=True):
        known = {key: value for key, value in one.measured.items() if value is not None}
        assert known == {key: value for key, value in other.measured.items() if value is not None}
        assert (one.cell, one.cost, one.made_on) == (other.cell, other.cost, other.made_on)
