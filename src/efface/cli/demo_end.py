"""How `efface demo` runs and ends: with files, and with an answer that has doing nothing beside it."""

from pathlib import Path
from typing import NoReturn, TextIO

import typer

from efface.cli.demo import DemoRun, run_demo
from efface.cli.demo_display import show_demo, verdict_of_nothing
from efface.cli.failures import Code, done
from efface.cli.output import print_json, save, summary
from efface.cli.pen_demo import pen_setting


def run_pen_demo(seed: int, device: str) -> DemoRun:
    """Run the demo of drawings of digits."""
    return run_demo(pen_setting, seed=seed, device=device)


def finish_demo(out: Path, run: DemoRun, as_json: bool, stdout: TextIO) -> NoReturn:
    """Write the files, print the answer, and end with the code of the verdict on the unlearned model.

    Args:
        out: the folder to write.
        run: the demo.
        as_json: whether the answer is one JSON document.
        stdout: where to print.
    """
    files = save(out, run.result, run.report)
    code = Code.of(run.report.verdict.status)
    done(code, f"the files in {out} hold it")
    if as_json:
        print_json({**summary(run.result, run.report, files), "doing_nothing": verdict_of_nothing(run)}, stdout)
    else:
        show_demo(run, files, stdout)
    raise typer.Exit(code)
