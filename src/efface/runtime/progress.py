"""Progress bars: on a terminal by default, silent elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def track(description: str, total: int, show: bool | None = None) -> Iterator[Callable[[], None]]:
    """Show a progress bar on standard error while the block runs.

    Args:
        description: what is being done, in a few words.
        total: number of steps; no bar is shown for 0.
        show: whether to show the bar; None shows it on a terminal only.

    Yields:
        A function that advances the bar by one step.
    """
    if total <= 0 or not (sys.stderr.isatty() if show is None else show):
        yield lambda: None
        return

    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

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
