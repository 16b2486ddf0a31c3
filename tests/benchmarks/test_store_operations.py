"""What is measured of a store: commands as they are, and figures that are those of one process."""

import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from benchmarks import store_operations, store_task
from benchmarks.store_operations import ADD_MANY, ADD_ONE, CANCEL, READING, RUN, Operation, Place, measure
from efface.cli.main import app

OPERATIONS = (ADD_ONE, ADD_MANY, CANCEL, RUN, *READING)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)
def test_every_command_that_is_measured_takes_what_it_is_given(operation: Operation) -> None:
    built: Any = typer.main.get_command(app)
    words = operation.words.split()
    if words[0] not in built.commands:
        pytest.skip(f"this version has no command {words[0]}, and the table leaves it out")
    while hasattr(built, "commands"):
        built = built.commands[words.pop(0)]
    known = {option for parameter in built.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_a_process_is_measured_and_its_words_are_kept() -> None:
    row, out, err = measure(
        [
            sys.executable,
            "-c",
            "import sys; x = 'x' * 50_000_000; print('hello'); sys.exit(print('oh', file=sys.stderr))",
        ]
    )
    assert (out, err, row["code"]) == ("hello\n", "oh\n", 0)
    assert row["mb"] > 50 and row["cpu"] > 0 and row["wall"] > 0


def test_a_command_that_fails_is_shown_with_what_it_said(tmp_path: Path) -> None:
    place = Place(tmp_path, 0.0)
    row = place.measured(Operation("status", "status --store {store}"), last=1)
    assert row["code"] == 2 and "there is no store" in " ".join(row["failed"])
    line = store_operations.line_of(row, None)
    assert "exit code 2" in line and "nothing was done" in line and "\n" not in line


def test_figures_of_an_earlier_run_stand_beside() -> None:
    row = {"name": "status", "wall": 1.0, "cpu": 0.5, "mb": 70.0, "code": 3}
    line = store_operations.line_of(row, {"name": "status", "wall": 62.0, "cpu": 61.0})
    assert "62.00 s" in line and "61.00 CPU s" in line and line.endswith("exit code 3")
    assert "before" not in store_operations.line_of(row, None)


def test_a_task_is_named_by_its_size() -> None:
    task = store_task.records_9()  # type: ignore[attr-defined]
    assert len(task.train) == len(task.ids) == 9
    with pytest.raises(AttributeError):
        store_task.__getattr__("records_")
