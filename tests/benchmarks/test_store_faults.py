"""The table of faults: what tests of the store put in, told by their reports."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.store_faults import FaultTable
from helpers.store_cases import child_environment

ROOT = Path(__file__).parents[2]


def report(**given: Any) -> Any:
    plain = {"when": "teardown", "failed": False, "skipped": False, "user_properties": [], "longrepr": None}
    return SimpleNamespace(**{**plain, **given})


def test_faults_at_points_are_one_line_and_others_stand_by_themselves() -> None:
    table = FaultTable()
    for point in ("run.made", "run.made", "link.synced"):
        noted = [("fault", [f"kill at {point}", "same weights", 137, 1]), ("other", 1)]
        table.pytest_runtest_logreport(report(when="call", user_properties=noted))  # seen again with the teardown
        table.pytest_runtest_logreport(report(user_properties=noted))
    table.pytest_runtest_logreport(
        report(user_properties=[("fault", ["kill at a random time", "same weights", 137, 9])])
    )
    table.pytest_runtest_logreport(report(when="setup", skipped=True, longrepr=("file", 1, "Skipped: no disk")))
    crash = SimpleNamespace(reprcrash=SimpleNamespace(message="lost\nmore"))
    table.pytest_runtest_logreport(report(when="call", failed=True, nodeid="test_x", longrepr=crash))
    lines = [" ".join(line.split()) for line in table.lines()]
    assert "kill 3 same weights 137" in lines and "at link.synced, run.made (2)" in lines
    assert "kill at a random time 9 same weights 137" in lines and "in all 12" in lines
    assert "not done here, 1 tests: no disk" in lines and "FAILED test_x: lost" in lines


def test_tests_of_the_store_note_what_they_put_in() -> None:
    words = ["-m", "benchmarks.store_faults", "tests/store/test_context.py::test_a_missing_key_retires_a_store"]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, env=child_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line.split() for line in done.stdout.splitlines() if line.startswith("missing key")]
    assert int(line[2]) > 0 and line[3:] == ["refused", "2"]
