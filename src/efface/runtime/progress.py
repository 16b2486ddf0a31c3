"""Progress bars: on a terminal by default, silent elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


@contextmanager
def track(description: str, total: int, show: bool | None = None) -> Iterator[Callable[[], None]]:
    """A bar on standard error that the yielded function moves on by one; `show=None` shows it on a terminal only."""
    if total <= 0 or not (sys.stderr.isatty() if show is None else show):
        yield lambda: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=total)
        yield lambda: bar.advance(task)
