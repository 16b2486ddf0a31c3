"""Long tables look like those of Rich and fold their last column."""

import io

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from efface.cli.tables import Column, print_table

NAMES = ("request", "due", "note")
ROWS = [("1", "2999-01-01", "by letter"), ("12", "", ""), ("3", "", "漢字 ü"), ("4", "", "one\ntwo, later")]


def drawn(rows: list[tuple[str, str, str]], width: int, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding=encoding, newline="") as file:
        print_table(Console(file=file, width=width), [Column(n, right=n == "request") for n in NAMES], rows)
        file.flush()
        return raw.getvalue().decode(encoding)


def by_rich(rows: list[tuple[str, str, str]], width: int, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding=encoding, newline="") as file:
        table = Table()
        for name in NAMES:
            table.add_column(name, justify="right" if name == "request" else "left", overflow="fold")
        for row in rows:
            table.add_row(*map(Text, row))
        Console(file=file, width=width, markup=False).print(table)
        file.flush()
        return raw.getvalue().decode(encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("width", [200, 50])
def test_a_table_looks_as_that_of_rich(width: int, encoding: str) -> None:
    rows = [*ROWS, ("5", "", "a long note of many words, which no terminal shows in one line " * 2)]
    if encoding == "ascii":
        rows = [row for row in rows if "".join(row).isascii()]
    assert drawn(rows, width, encoding) == by_rich(rows, width, encoding)


def test_a_narrow_terminal_keeps_ten_columns_for_notes() -> None:
    lines = drawn([("1", "2999-01-01", "abcdefghij" * 3)], 12).splitlines()
    assert sum("abcdefghij │" in line for line in lines) == 3
