"""Drawings of digits as text: eight points in the order of the pen, joined by lines."""

from collections.abc import Sequence
from itertools import pairwise

COLUMNS, ROWS = 14, 8
STEPS = 40  # points set on each line
LARGEST = 100  # coordinate


def picture(drawing: Sequence[int]) -> list[str]:
    """Rows of text of one drawing.

    Args:
        drawing: x and y of each point, from 0 to 100, y upwards.
    """
    points = list(zip(drawing[::2], drawing[1::2], strict=True))
    cells = [[" "] * COLUMNS for _ in range(ROWS)]
    for (x0, y0), (x1, y1) in pairwise(points):
        for step in range(STEPS + 1):
            x, y = (a + (b - a) * step / STEPS for a, b in ((x0, x1), (y0, y1)))
            cells[round((1 - y / LARGEST) * (ROWS - 1))][round(x / LARGEST * (COLUMNS - 1))] = "#"
    return ["".join(row) for row in cells]


def side_by_side(drawings: Sequence[Sequence[int]], captions: Sequence[str]) -> list[str]:
    """Rows of text of several drawings beside each other, with a line of captions below."""
    pictures = [picture(drawing) for drawing in drawings]
    rows = ["   ".join(parts).rstrip() for parts in zip(*pictures, strict=True)]
    return [*rows, "   ".join(caption.ljust(COLUMNS) for caption in captions).rstrip()]
