"""The command line's `efface bench`: run a suite, and show what it found."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from efface.cli.failures import guarded
from efface.cli.output import check_folder
from efface.ensembles.cache import check_cache
from efface.errors import RequestError, attempt
from efface.report.words import duration

if TYPE_CHECKING:  # what the benchmark imports takes time, which other commands need not
    from efface.bench.lengths import Epoch
    from efface.bench.problems import Problem

CACHE = Path(".cache/bench")

app = typer.Typer(
    help="Run the benchmark: methods of unlearning against models retrained without the records.",
    epilog="Example:\n\nefface bench run benchmarks/smoke.toml --out smoke-run",
    rich_markup_mode="rich",
)

Results = Annotated[
    Path, typer.Argument(metavar="DIR", help="A folder that efface bench run wrote to.", show_default=False)
]


@app.callback(invoke_without_command=True)
def root(context: typer.Context) -> None:
    """Show the help where no command is named."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(
    epilog="Example:\n\nefface bench run benchmarks/smoke.toml --out smoke-run\n\n"
    "efface bench run benchmarks/smoke.toml --out smoke-run --dry-run",
)
def run(
    suite: Annotated[
        Path,
        typer.Argument(metavar="SUITE", help="A TOML file of settings and methods.", show_default=False),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="Where results go, one JSON file a cell; those there are kept.", show_default=False
        ),
    ],
    cache: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Keeps trained models, for all suites; a second run finds them there."),
    ] = CACHE,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; all cores by default.")] = None,
    dask: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Scheduler of a Dask cluster, whose workers do the work, one thread each; they must see the same "
            "folders under the same paths.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be done and for how long, and end.")] = (
        False
    ),
) -> None:
    """Make the results of a suite that are missing or were made by other code or options."""
    with guarded(False) as stdout:
        from efface.bench.runner import run_suite
        from efface.bench.suite import read_suite

        problems: list[str] = []
        read = attempt(problems, read_suite, suite)
        attempt(problems, check_folder, out, True)
        attempt(problems, check_cache, cache)
        if jobs is not None and dask is not None:
            problems.append("--jobs is for processes of this machine, and --dask takes all workers: leave one out")
        if problems or read is None:
            raise RequestError(problems)

        def announce(words: str) -> None:
            print(words, file=stdout, flush=True)

        # workers of a cluster stand in other folders
        places = out.absolute(), cache.absolute()
        with _processes(jobs, dask) as count, _progress() as progress:
            run_suite(read, *places, count, announce, progress, dry_run)
        if not dry_run:
            print(f"Results in {out}; see efface bench table {out}", file=stdout)


@app.command(epilog="Example:\n\nefface bench table smoke-run --out results.md")
def table(
    results: Results,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write; standard output without it.")
    ] = None,
) -> None:
    """Show a suite's results as tables in Markdown."""
    with guarded(False) as stdout:
        from efface.bench.plots import write
        from efface.bench.tables import render

        text = render(_existing(results))
        if out is None:
            print(text.rstrip("\n"), file=stdout)
            return
        try:
            print(f"Wrote {write(out, text)}", file=stdout)
        except OSError as error:
            raise RequestError(f"{out}: cannot be written: {error.strerror} (--out)") from error


@app.command(epilog="Example:\n\nefface bench plot smoke-run --out figures")
def plot(
    results: Results,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the figures go.", show_default=False)],
) -> None:
    """Draw a suite's results."""
    with guarded(False) as stdout:
        from efface.bench.plots import draw

        problems: list[str] = []
        attempt(problems, _existing, results)
        attempt(problems, check_folder, out, True)
        if problems:
            raise RequestError(problems)
        for path in draw(results, out):
            print(f"Wrote {path}", file=stdout)


@app.command(epilog="Example:\n\nefface bench lengths noisy-digits --most 100")
def lengths(
    problems: Annotated[
        list[str] | None,
        typer.Argument(metavar="PROBLEM", help="Problems of the benchmark; all whose data is there by default."),
    ] = None,
    records: Annotated[
        int | None, typer.Option(min=1, help="Number of training records; each problem's usual one by default.")
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="Epochs after which to give up.")] = 200,
) -> None:
    """Find how long to train: until a model knows its records, or its training loss has stopped falling."""
    with guarded(False) as stdout:
        from efface.bench.lengths import lengths as train
        from efface.bench.problems import PROBLEMS
        from efface.runtime import threads

        refused: list[str] = []
        ready = [p for key in problems or PROBLEMS if (p := attempt(refused, _ready, key, records)) is not None]
        if refused and (problems or not ready):
            raise RequestError(refused)
        for words in refused:
            print(f"left out: {words}", file=sys.stderr)
        for p in ready:
            size = records or p.usual
            print(f"{p.key}, {size} records\nepoch     loss  own records  holdout   CPU time", file=stdout)
            told = []
            with threads(1):
                for e in train(p, size, most):
                    told.append(e)
                    line = f"{e.number:5} {e.loss:8.4f} {e.known:12.2%} {e.held:8.2%}   {duration(e.cpu_s)}"
                    print(line, file=stdout, flush=True)
            print(f"{p.key}: {_chosen(told)}\n", file=stdout)


def _ready(key: str, records: int | None) -> "Problem":
    """A problem whose data is there, and that comes in so many records."""
    from efface.bench.problems import problem

    found = problem(key)
    if records is not None and records not in found.sizes:
        raise RequestError(f"{key} comes in {', '.join(map(str, found.sizes))} records, not {records}")
    found.load()
    return found


def _chosen(told: "list[Epoch]") -> str:
    from efface.bench.lengths import STILL
    from efface.bench.problems import KNOWN

    last, lowest = told[-1], min(told, key=lambda e: e.loss)
    if last.known >= KNOWN:
        length, why = last.number, f"train for {last.number} epochs, which teach {KNOWN:.0%} of its records"
    elif last.number - lowest.number >= STILL:
        length, why = lowest.number, f"train for {lowest.number} epochs, after which the training loss falls no more"
    else:
        length, why = last.number, f"not settled after {last.number} epochs: give a larger --most"
    best = max(told[:length], key=lambda e: e.held)
    return f"{why}; best accuracy on the holdout after {best.number}"


@contextlib.contextmanager
def _processes(jobs: int | None, dask: str | None) -> Iterator[int]:
    """Where joblib's work goes, and how many processes that is."""
    if dask is None:
        yield jobs or os.cpu_count() or 1
        return
    from efface.bench.backend import dask_workers

    with dask_workers(dask) as count:
        yield count


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, float], None]]:
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


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise RequestError(f"{folder}: there is no such folder")
    return folder
