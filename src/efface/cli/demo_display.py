"""What `efface demo` prints: what was asked, done and found, what it means, and doing nothing beside it."""

from collections.abc import Mapping, Sequence
from typing import TextIO

from rich.table import Table
from rich.text import Text
from torch import Tensor

from efface.auditing.report.wording import VERDICTS
from efface.cli.demo import DemoRun
from efface.cli.display import (
    COLOURS,
    begin_end,
    make_console,
    say,
    say_meaning,
    say_next,
    say_result,
    show_files,
)
from efface.cli.pen_picture import side_by_side
from efface.numerics.logits import margin
from efface.runtime.printing import duration

SHOWN = 5  # forgotten drawings


def show_demo(run: DemoRun, files: Mapping[str, str], stdout: TextIO) -> None:
    """Print a demo.

    Args:
        run: the demo of drawings of digits.
        files: paths of the files that were written, by kind.
        stdout: where to print.
    """
    out = make_console(stdout)
    result, report = run.result, run.report
    forget = result.splits.forget.tolist()
    x, y = run.setting.task.train[forget[:SHOWN]]
    records = len(run.setting.task.train)
    say(out, Text(run.setting.title, style="bold"))
    out.print()
    say(out, f"Asked: {len(forget)} of the {records:,} drawings that a network learned from are to be forgotten, as if")
    say(out, "those who made them had withdrawn. Some of them, each with its label:")
    out.print()
    for line in side_by_side(x.tolist(), [f"label {label}" for label in y.tolist()]):
        out.print(f"  {line}")
    out.print()
    retraining = report.retrain_cost
    beside = f"; training anew without them takes {duration(retraining.cpu_s)}" if retraining is not None else ""
    say(
        out,
        f"Done: the weights were changed by {result.method.key} in {duration(result.cost.cpu_s)} of CPU time{beside}.",
    )
    out.print()
    out.print(_knowledge(run))
    out.print()
    verdicts = Table(title="Found by the same audit", title_justify="left")
    for name in ("", "verdict", "why"):
        verdicts.add_column(name, overflow="fold")
    for name, audited in (("doing nothing", run.doing_nothing), ("unlearned", report)):
        status = audited.verdict.status
        word = Text(str(status), style=f"bold {COLOURS[status]}")
        verdicts.add_row(name, word, f"{VERDICTS[status]}. {audited.verdict.sentence}")
    out.print(verdicts)
    found = str(report.verdict.status)
    begin_end(out, COLOURS[found])
    say_result(out, VERDICTS[found], found, "")  # the table says why
    say_meaning(out, _meaning(run))
    say_next(out, report.verdict.next_steps)
    show_files(files, out)


def _knowledge(run: DemoRun) -> Table:
    """How well each network knows the forgotten drawings, beside drawings that none of them saw."""
    scores = run.report.table.scores
    title = "What each network knows of them, beside drawings that no network saw"
    table = Table(title=title, title_justify="left")
    for name in ("network", "forgotten: label right", "never seen", "forgotten: median margin", "never seen"):
        table.add_column(name, justify="left" if name == "network" else "right")
    rows = [("before", scores.original), ("after unlearning", scores.unlearned)]
    rows += [("trained without them", model) for model in scores.retrained[:1]]
    for name, outputs in rows:
        sets = (outputs.forget, outputs.nonmembers)
        right = [f"{float((s.logits.argmax(1) == s.targets).double().mean()):.1%}" for s in sets]
        margins = [f"{_median(s.logits, s.targets):+.2f}" for s in sets]
        table.add_row(name, right[0], right[1], margins[0], margins[1])
    return table


def _median(logits: Tensor, targets: Tensor) -> float:
    return float(margin(logits, targets).median())


def _meaning(run: DemoRun) -> tuple[str, ...]:
    """What the two verdicts mean together."""
    mine, nothing = (str(r.verdict.status) for r in (run.report, run.doing_nothing))
    if (mine, nothing) == ("verified", "not_verified"):
        return (
            "The audit sees that the network before knew the drawings.",
            "It cannot distinguish the network after from one that never saw them, within the margins that the report "
            "states.",
            "It is evidence, not proof.",
        )
    return (
        f"The audit calls the unlearned network {mine} and the network before {nothing}.",
        "Some seeds end so; report.html says which tests decided.",
    )


def verdict_of_nothing(run: DemoRun) -> Mapping[str, str | Sequence[str]]:
    """The verdict on doing nothing, for `--json`."""
    verdict = run.doing_nothing.verdict
    return {"status": str(verdict.status), "reasons": list(verdict.reasons)}
