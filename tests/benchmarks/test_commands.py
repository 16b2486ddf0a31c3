"""The benchmark's command line: what it prints, writes and refuses."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from benchmarks.commands import app
from benchmarks.harness import jobs
from helpers.benchmark_command import SMOKE, Done, bench, run_suite
from helpers.command_line import listing

COMMANDS = {str(c.name or c.callback.__name__): c for c in app.registered_commands if c.callback is not None}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_an_example(name: str) -> None:
    command = COMMANDS[name]
    assert command.callback is not None and inspect.getdoc(command.callback)
    assert re.search(rf"Example:\s+python -m benchmarks {name}\b", command.epilog or "")
    built: Any = typer.main.get_command(app)
    for parameter in built.commands[name].params:
        assert getattr(parameter, "help", None), f"{parameter.name} of {name} has no help"


def test_all_that_is_wrong_with_a_run_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    place = str(tmp_path / "file")
    words = ("--out", place, "--cache", place, "--jobs", "2", "--dask", "127.0.0.1:9")
    result = bench("run", str(tmp_path / "no.toml"), *words)
    assert result.exit_code == 2 and not result.stdout and "4 reasons" in result.stderr
    for said in ("cannot be read", "is not a folder (--out)", f"cache {place}: ", "leave one out"):
        assert said in result.stderr


def test_an_interrupted_run_ends_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "do", interrupt)
    result = bench("run", str(SMOKE), "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache"))
    assert result.exit_code == 130 and result.stderr == "efface: interrupted\n"


def test_a_dry_run_gives_the_estimate_and_writes_nothing(tmp_path: Path) -> None:
    done = run_suite(SMOKE, tmp_path / "out", tmp_path / "cache", "--dry-run")
    assert done.stdout.startswith("Smoke test: 5 cells, 5 of them to do") and not done.stderr
    assert done.stdout.count("\n") == 1 and not listing(tmp_path)


def test_results_become_tables_and_figures(smoke: Done, tmp_path: Path) -> None:
    shown, written = bench("table", str(smoke.out)), tmp_path / "table.md"
    assert shown.exit_code == 0 and "| finetune" in shown.stdout
    assert bench("table", str(smoke.out), "--out", str(written)).stdout == f"Wrote {written}\n"
    assert written.read_text(encoding="utf-8").rstrip("\n") == shown.stdout.rstrip("\n")
    drawn = bench("plot", str(smoke.out), "--out", str(tmp_path / "figures"))
    assert drawn.exit_code == 0, drawn.output
    assert drawn.stdout.split("Wrote ")[1:] == [f"{p}\n" for p in sorted((tmp_path / "figures").iterdir())]


def test_results_that_are_not_there_are_refused(tmp_path: Path) -> None:
    for words in (("table", "none"), ("plot", "none", "--out", str(tmp_path / "figures"))):
        result = bench(*words)
        assert result.exit_code == 2 and "none: there is no such folder or table" in result.stderr
    assert not listing(tmp_path)


def test_the_command_prints_epochs_and_a_choice() -> None:
    result = bench("lengths", "noisy-digits", "--max-epochs", "2")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "noisy-digits, 600 records" and [line.split()[0] for line in lines[2:4]] == ["1", "2"]
    assert lines[4].startswith("noisy-digits: not settled after 2 epochs")


def test_the_command_refuses_all_that_it_cannot_train(data: Path) -> None:
    result = bench("lengths", "noisy-digit", "noisy-digits", "cifar10", "--records", "50000")
    assert result.exit_code == 2 and not result.stdout and "3 reasons" in result.stderr
    for said in (
        "there is no problem 'noisy-digit' (did you mean 'noisy-digits'?)",
        "noisy-digits comes in 200, 600 records, not 50000",
        "CIFAR-10: data_batch_1.bin",
    ):
        assert said in result.stderr
