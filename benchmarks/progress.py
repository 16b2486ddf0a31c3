"""What a run shows on standard error while it works."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from efface.runtime.printing import duration


@contextlib.contextmanager
def show_progress() -> Iterator[Callable[[str, float], None]]:
    """Show each job that is done and how long the rest will take: one line on a terminal, a line a job elsewhere."""
    if not sys.stderr.isatty():
        yield lambda name, left: print(f"{name}; {_left(left)}", file=sys.stderr, flush=True)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    text = [TextColumn(f"{{task.{name}}}", markup=False) for name in ("description", "fields[left]")]
    with Progress(text[0], BarColumn(), text[1], TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        task, start = bar.add_task("starting", total=None, left=""), time.monotonic()

        def done(name: str, left: float) -> None:
            spent = time.monotonic() - start
            bar.update(task, description=name, completed=spent, total=spent + left, left=_left(left))

        yield done


def _left(seconds: float) -> str:
    return f"about {duration(seconds)} left"
