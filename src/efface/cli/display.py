"""Output of commands on the terminal: the table of metrics, the verdict, the cost, and the methods."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from efface.auditing.report.meanings import MEANINGS
from efface.auditing.report.wording import OUTCOMES, STATES, VERDICTS, number, ratio
from efface.cli.output import NOT_AUDITED
from efface.errors import shorten
from efface.runtime.printing import by_number, how_many

if TYPE_CHECKING:  # a store is shown without torch
    from efface.auditing.readings import Reading
    from efface.auditing.report.build import Report
    from efface.auditing.verdict import Verdict
    from efface.runtime.cost import Cost
    from efface.unlearning.nothing import NothingUnlearnedError
    from efface.unlearning.plan import Plan
    from efface.unlearning.result import Result

PIPED_WIDTH = 120  # columns of output that does not go to a terminal
NARROW = 100
SHOWN_RECORDS = 5
COLOURS = {
    "verified": "green",
    "verified_by_rehearsal": "green",
    "no_trace_found": "cyan",
    "not_verified": "red",
    "undecided": "yellow",
    "nothing_unlearned": "red",
}


def make_console(stdout: TextIO) -> Console:
    """Make a console that shows text unchanged: without markup, emoji or highlighting."""
    width = None if stdout.isatty() or "COLUMNS" in os.environ else PIPED_WIDTH
    return Console(file=stdout, width=width, markup=False, emoji=False, highlight=False)


def cell(text: str, out: Console) -> Text:
    """Text of a user for a table: what the terminal cannot show is escaped before the table measures it."""
    return Text(text.encode(out.encoding, "backslashreplace").decode(out.encoding))


def show_report(report: "Report", files: Mapping[str, str], stdout: TextIO) -> None:
    """Print a report: first the tables, notes and cost, then what a reader looks for, at the end.

    Args:
        report: the report.
        files: paths of the files that were written, by kind.
        stdout: where to print.
    """
    from efface.auditing.report.first_screen import first_screen  # needs torch

    out = make_console(stdout)
    table, footnotes = _metrics(report, out.width < NARROW)
    out.print(table)
    for line in footnotes:
        say(out, Text(f"not measured: {line}", style="dim"))
    if report.tests:
        out.print()
        out.print(_tests(report))
    out.print()
    if report.result is not None:
        say(out, _stopped(report.result))
        if report.inputs.options.show_ids:
            say(out, _erased(report.result))
    for note in report.document["notes"]:
        say(out, f"Note: {note}")
    result, retraining = report.result, report.retrain_cost
    spent = ([_spent("unlearning", result.cost)] if result is not None else []) + [_spent("audit", report.cost)]
    say(out, f"Cost: {'; '.join(spent)}.")
    if result is not None and retraining is not None and retraining.cpu_s:
        say(out, f"Unlearning took {ratio(result.cost.cpu_s / retraining.cpu_s)} one retraining.")
    screen = first_screen(report.document)
    begin_end(out, COLOURS[str(report.verdict.status)])
    say_verdict(out, report.verdict)
    for line in _worst(report):
        say(out, line)
    say_meaning(out, screen.meaning)
    say_next(out, report.verdict.next_steps or screen.next)
    show_files(files, out)


def _tests(report: "Report") -> Table:
    """A table of the tests that decide the verdict."""
    title = f"Tests that decide (level {report.level}; 0: as if never seen; p adjusted for all of them)"
    table = Table(title=title, title_justify="left")
    for name, side in (("test", "left"), ("doing nothing", "right"), ("unlearned", "right"), ("p", "right")):
        table.add_column(name, justify="left" if side == "left" else "right", overflow="fold")
    table.add_column("outcome")
    for test in report.tests:
        e = test.unlearned
        shown = f"{number(e.value)} [{number(e.low)}, {number(e.high)}]"
        p = "<0.0001" if test.p_adjusted < 1e-4 else f"{test.p_adjusted:.2g}"
        table.add_row(test.title, number(test.original.value), shown, p, OUTCOMES[test.outcome].word)
    return table


def _worst(report: "Report") -> list[str]:
    """The records that can still be recognised, by id (or hash)."""
    flagged = sorted((r for r in report.document["records"] if r["flagged"]), key=lambda r: r["p_unlearned"])
    if not flagged:
        return []
    names = shorten([r["record"] if r["id"] is None else r["id"] for r in flagged], SHOWN_RECORDS, str)
    by_one = by_number(len(flagged), "by itself", "one by one")
    return [f"{how_many(len(flagged), 'record')} can still be recognised {by_one}: {names}"]


def show_unjudged(result: "Result", files: Mapping[str, str], stdout: TextIO) -> None:
    """Print the outcome of a run without an audit: why it ended, notes, cost and files.

    Args:
        result: the result of the run.
        files: paths of the files that were written, by kind.
        stdout: where to print.
    """
    out = make_console(stdout)
    say(out, _stopped(result))
    say(out, _erased(result))
    for note in result.warnings:
        say(out, f"Note: {note}")
    say(out, f"Cost: {_spent('unlearning', result.cost)}.")
    begin_end(out, COLOURS["undecided"])
    say_result(out, "Not audited", "undecided", f"{NOT_AUDITED[0].upper()}{NOT_AUDITED[1:]}.")
    say_meaning(out, MEANINGS["not_audited"])
    say_next(out, result.next_steps)
    show_files(files, out)


def show_plan(plan: "Plan", show_ids: bool, stdout: TextIO) -> None:
    """Print which records would go; without `show_ids` they and the warnings, which may name them, are only counted."""
    out = make_console(stdout)
    warned = how_many(len(plan.warnings), "warning")
    also = f", with {warned} that may name them" if plan.warnings else ""
    hidden = f"{plan.summary} Ids are hidden{also}."
    for line in str(plan).splitlines() if show_ids else [hidden]:
        say(out, line)


def show_nothing(error: "NothingUnlearnedError", stdout: TextIO) -> None:
    """Print that a run unlearned nothing: why, what to do next, notes and cost."""
    out = make_console(stdout)
    for note in error.warnings:
        say(out, f"Note: {note}")
    say(out, f"Cost: {_spent(f'unlearning by {error.method.key}', error.cost)}.")
    begin_end(out, COLOURS["nothing_unlearned"])
    head = f"Nothing may count as erased, and no weights were written: {error.reason}."
    say_result(out, "Nothing unlearned", "nothing_unlearned", head)
    say_meaning(out, MEANINGS["nothing_unlearned"])
    say_next(out, error.next_steps)


def _stopped(result: "Result") -> str:
    """Why the run ended, and which weights were kept."""
    evidence = result.evidence
    outcome = evidence.outcome.replace("_", " ")
    shown = f"{outcome}, by the run's own measure, which is not the audit's" if evidence.evaluations else outcome
    return f"Stopped, {shown}: {evidence.reason}; weights of step {evidence.chosen_step} kept."


def _erased(result: "Result") -> str:
    """The erased records, by id and position."""
    shown = shorten(result.records, SHOWN_RECORDS, lambda r: f"{r.id!r} (position {r.position}, label {r.label})")
    return f"Records: {shown}."


def _metrics(report: "Report", narrow: bool) -> tuple[Table, list[str]]:
    """The table, and why some of its cells are empty, each reason once."""
    names = ["original", "unlearned"]
    if any(m.retrained.state == "measured" for m in report.metrics):
        names.append("retrained")
    table = Table(title=report.title, title_justify="left")
    table.add_column("metric", overflow="fold")
    for name in names:
        table.add_column(name, justify="right")
    footnotes: dict[str, None] = {}
    kind = None
    # tests that were made are shown in another table
    for metric in (m for m in report.metrics if not m.decisive or m.unlearned.estimate is None):
        if kind not in (None, metric.kind):
            table.add_section()
        kind = metric.kind
        readings: list[Reading] = [getattr(metric, name) for name in names]
        footnotes |= dict.fromkeys(r.why for r in readings if r.estimate is None and r.why)
        about = "" if metric.records == "all" else f" ({metric.records})"
        title = f"{metric.title}{about}"
        table.add_row(Text(title), *(_cell(r, narrow) for r in readings))
    return table, list(footnotes)


def _cell(reading: "Reading", narrow: bool) -> Text:
    words = "" if reading.state == "measured" else STATES[reading.state]
    e = reading.estimate
    if e is None or not math.isfinite(e.value):
        return Text(words or "\N{EN DASH}", style="dim")
    text = number(e.value)
    if math.isfinite(e.low) and math.isfinite(e.high):
        gap = "\n" if narrow else " "
        text += f"{gap}[{number(e.low)}, {number(e.high)}]"
    return Text(f"{words} ({text})" if words else text)


def _spent(what: str, cost: "Cost") -> str:
    from efface.runtime.cost import spent  # needs torch

    return f"{what} {spent(cost)}"


def say(out: Console, line: str | Text) -> None:
    """Print a line of text."""
    out.print(line, soft_wrap=True)  # the terminal wraps it, so that copying a path or a sentence adds no line breaks


def begin_end(out: Console, colour: str) -> None:
    """Set off the end of an answer, which says the result, what it means, what to do next, and what was written."""
    if out.is_terminal:
        out.print(Rule(style=colour))
    else:
        out.print()


def say_result(out: Console, conclusion: str, status: str, sentence: str, label: str = "Result") -> None:
    """Print how a command came out, with the conclusion in the colour of its status."""
    style = f"bold {COLOURS.get(status, '')}".strip()
    say(out, Text.assemble((f"{label}: ", "bold"), (f"{conclusion}.", style), f" {sentence}" if sentence else ""))


def say_verdict(out: Console, verdict: "Verdict", label: str = "Result") -> None:
    """Print the conclusion of an audit and its reasons."""
    status = str(verdict.status)
    say_result(out, VERDICTS[status], status, verdict.sentence, label)
    for reason in verdict.reasons:
        say(out, f"  - {reason}")


def say_meaning(out: Console, sentences: Sequence[str]) -> None:
    """Print what a conclusion means and what it does not."""
    say(out, Text.assemble(("Meaning: ", "bold"), " ".join(sentences)))


def say_next(out: Console, steps: Sequence[str]) -> None:
    """Print what to do next, one line each."""
    for step in steps:
        say(out, Text.assemble(("Next: ", "bold"), f"{step.removesuffix('.')}."))


def show_files(files: Mapping[str, str], out: Console) -> None:
    """Print the paths of the files that were written."""
    for path in files.values():
        say(out, Text.assemble(("File: ", "bold"), path))
