"""What `efface doctor` prints: whether a request could start, the problems, what was seen, and what is missing."""

from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from efface.auditing.doctor.examination import SECTIONS, Examination, texts_of
from efface.cli.display import cell, make_console, say


def show_examination(found: Examination, stdout: TextIO) -> None:
    """Print an examination.

    Args:
        found: the examination.
        stdout: where to print.
    """
    out = make_console(stdout)
    say(out, Text(found.summary, style="bold green" if found.can_start else "bold red"))
    _list(out, "Problems", found.problems)
    out.print()
    table = Table(title="What efface sees", title_justify="left")
    table.add_column("about")
    table.add_column("seen", overflow="fold")
    for name in SECTIONS:
        if texts := texts_of(found.facts, name):
            table.add_row(name, cell("\n".join(texts), out))
    out.print(table)
    _list(out, "Notes of the checks", found.warnings)
    _list(out, "Missing, and what to give", found.missing)


def _list(out: Console, title: str, lines: Sequence[str]) -> None:
    if lines:
        out.print()
        say(out, Text(title, style="bold"))
    for line in lines:
        say(out, f"  - {line}")
