"""The benchmark's command line, run in this process, and its smoke suite."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from benchmarks.commands import app
from benchmarks.harness.stored import read_json

SUITES = Path(__file__).parents[2] / "benchmarks" / "suites"
SMOKE = SUITES / "smoke.toml"
SETTING = "noisy-digits-200-random-0.1"


@dataclass(frozen=True)
class Done:
    """The folders of a suite that was run, and what the command said."""

    out: Path
    cache: Path
    stdout: str
    stderr: str

    def cell(self, name: str) -> Any:
        """The JSON of a cell, by method and variant."""
        return read_json(self.out / f"{SETTING}-1-{name}.json")


def bench(*words: str) -> Result:
    """One command, on a wide terminal without colours."""
    environment = {"COLUMNS": "160", "LINES": "50", "TERM": "dumb", "EFFACE_TRACEBACK": ""}
    return CliRunner().invoke(app, list(words), env=environment)


def run_suite(suite: Path, out: Path, cache: Path, *words: str) -> Done:
    """Run a suite that must not be refused."""
    result = bench("run", str(suite), "--out", str(out), "--cache", str(cache), *words)
    assert result.exit_code == 0, result.output
    return Done(out, cache, result.stdout, result.stderr)
