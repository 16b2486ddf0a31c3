"""Long tables on the terminal: drawn as Rich draws them, and take a thousandth of the time for each row."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import HEAVY_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

MIN_WIDTH = 10  # columns of the terminal that the last column of a table has at least


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        name: its title.
        right: whether its cells stand at its right side.
    """

    name: str
    right: bool = False


def print_table(out: Console, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print a table whose last column is folded where it is wider than the terminal.

    Args:
        out: where to print.
        columns: its columns.
        rows: the cells of each row, one for each column; only the last of them may have several lines.
    """
    shape = HEAVY_HEAD.substitute(out.options, safe=out.safe_box)
    widths = [max(_width(c.name), *(_width(row[at]) for row in rows)) for at, c in enumerate(columns)]
    # two blanks and a line for each column, and a line at the end
    widths[-1] = min(widths[-1], max(out.width - sum(widths[:-1]) - 3 * len(widths) - 1, MIN_WIDTH))
    drawn = [width + 2 for width in widths]

    def line(cells: Sequence[str], left: str, between: str, right: str) -> str:
        padded = [
            f" {cell:>{n}} " if column.right else f" {cell}{' ' * (n - _width(cell))} "
            for cell, n, column in zip(cells, widths, columns, strict=True)
        ]
        return left + between.join(padded) + right

    lines = [shape.get_top(drawn)]
    lines.append(line([c.name for c in columns], shape.head_left, shape.head_vertical, shape.head_right))
    lines.append(shape.get_row(drawn, "head"))
    for row in rows:
        for at, part in enumerate(_fold(out, row[-1], widths[-1])):
            cells = [*row[:-1], part] if at == 0 else [*([""] * (len(columns) - 1)), part]
            lines.append(line(cells, shape.mid_left, shape.mid_vertical, shape.mid_right))
    lines.append(shape.get_bottom(drawn))
    out.file.write("\n".join([*lines, ""]))


def _width(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if "\n" in text:
        return max(map(_width, text.split("\n")))
    return len(text) if text.isascii() else cell_len(text)


def _fold(out: Console, text: str, width: int) -> list[str]:
    if "\n" not in text and _width(text) <= width:
        return [text]
    return [str(part).rstrip() for part in Text(text).wrap(out, width)] or [""]
