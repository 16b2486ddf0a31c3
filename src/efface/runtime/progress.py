"""Progress bars: on a terminal by default, silent elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def waiting(description: str, show: bool | None = None) -> Iterator[None]:
    """Show on standard error how long the block has run, for work whose steps cannot be counted.

    Args:
        description: what is being done, in a few words.
        show: whether to show it; None shows it on a terminal only.
    """
    if not _shows(show):
        yield
        return

    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    with Progress(SpinnerColumn(), TextColumn(description), TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        bar.add_task(description, total=None)
        yield


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
    if total <= 0 or not _shows(show):
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


def _shows(show: bool | None) -> bool:
    return sys.stderr.isatty() if show is None else show
