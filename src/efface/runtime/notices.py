"""Warnings for the caller: emitted once, at the line of the user's code that called efface."""

import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from efface.errors import EffaceWarning

_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


@contextmanager
def quietly() -> Iterator[None]:
    """Emit no warning within the block, whose caller shows or emits them itself; other threads are not affected."""
    before = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(before)


def warn_caller(lines: Iterable[str]) -> None:
    """Emit each line once as an EffaceWarning, at the line of the nearest caller outside of efface.

    Args:
        lines: The warnings.
    """
    if _quiet.get():
        return
    level = _levels_to_the_caller()
    for line in dict.fromkeys(lines):
        warnings.warn(line, EffaceWarning, stacklevel=level)


def _levels_to_the_caller() -> int:
    """The `stacklevel` for `warnings.warn` in the function that calls this one."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] == "efface":
        frame, level = frame.f_back, level + 1
    return level
