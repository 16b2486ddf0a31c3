"""Colours and style of all figures, and the conversion of a matplotlib figure to SVG."""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from markupsafe import escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which people with any common form of colour blindness can distinguish
BLUE, SKY, GREEN, ORANGE, VERMILION = "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00"
INK, FAINT, BAND = "#333333", "#7a7a7a", "#e3e6ea"
MODEL_NAMES = ("original", "unlearned", "retrained")
# each model has the same colour and line style in all figures; the line styles differ in print without colour, too
COLOURS = dict(zip(MODEL_NAMES, (VERMILION, BLUE, GREEN), strict=True))
LINES: dict[str, Any] = dict(zip(MODEL_NAMES, ("--", "-", (0, (1, 1.3))), strict=True))
WIDTH = 9.0  # inches; the page scales the figure to its column
SIZE = 9.5
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "efface",
    "text.parse_math": False,  # a dollar sign in the name of a phase does not begin a formula
    "font.size": SIZE,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "savefig.transparent": True,
}


@contextmanager
def new_figure(height: float) -> Iterator["Figure"]:
    """Open a new figure in the report's style, WIDTH inches wide and `height` inches high."""
    # the default style comes first, so that the caller's matplotlibrc has no effect
    from matplotlib import rc_context, style
    from matplotlib.figure import Figure

    with style.context("default"), rc_context(_STYLE):
        yield Figure(figsize=(WIDTH, height), layout="constrained")


def short(text: str, max_length: int = 40) -> str:
    """Shorten a text to one line of at most `max_length` characters, and replace lone surrogates, which fonts lack."""
    line = " ".join(text.encode("utf-8", "replace").decode("utf-8").split())
    return line if len(line) <= max_length else f"{line[: max_length - 1]}\N{HORIZONTAL ELLIPSIS}"


def in_order(axes: "Axes", order: tuple[int, ...]) -> tuple[list[Any], list[Any]]:
    """Handles and labels of a legend in a given order: `order` holds their positions in the order of drawing."""
    handles, labels = axes.get_legend_handles_labels()
    return [handles[i] for i in order], [labels[i] for i in order]


def svg(figure: "Figure", name: str, label: str) -> str:
    """Convert a figure to inline SVG.

    Args:
        figure: The figure.
        name: Prefix of all ids in the SVG, unique on the page.
        label: Description of the figure for screen readers.
    """
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # the text is drawn with the page's fonts, so glyphs missing here do not matter
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    body = buffer.getvalue()
    body = body[body.index("<svg") :]
    # several figures share a page, so their ids must differ
    body = re.sub(r'\b(id="|href="#)', rf"\g<1>{name}-", body)
    body = body.replace("url(#", f"url(#{name}-")
    opening, rest = body.split(">", 1)
    opening = re.sub(r'\s(?:width|height|version)="[^"]*"', "", opening)
    said = escape(label)
    return f'{opening} role="img" aria-label="{said}"><title>{said}</title>{rest}'
