"""The benchmark's command line: run a suite, collect what it found, and show it."""

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from benchmarks.progress import show_progress
from efface.cli.failures import Code, CommandGroup, done, guarded
from efface.cli.output import check_folder
from efface.errors import RequestError, collect_errors
from efface.models.ensembles.cache import check_cache
from efface.runtime.printing import duration

if TYPE_CHECKING:  # what the benchmark imports takes time, which --help need not
    from benchmarks.harness.problems import Problem
    from benchmarks.harness.suite import Suite

CACHE = Path(".cache/bench")
ROOT = Path(__file__).resolve().parent.parent
RESULTS, RAW = ROOT / "benchmarks" / "results", ROOT / "benchmarks" / "raw"

app = typer.Typer(
    cls=CommandGroup,
    help="The benchmark: methods of unlearning against models retrained without the records.",
    epilog="Example:\n\npython -m benchmarks run benchmarks/suites/smoke.toml",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Results = Annotated[
    Path,
    typer.Argument(metavar="PATH", help="A folder that run wrote to, or a committed table.", show_default=False),
]
SuiteFile = Annotated[
    Path, typer.Argument(metavar="SUITE", help="A TOML file of settings and methods.", show_default=False)
]
Tables = Annotated[Path, typer.Option(metavar="FOLDER", help="Committed tables.", show_default="benchmarks/results")]


@app.callback(invoke_without_command=True)
def root(context: typer.Context) -> None:
    """Show the help where no command is named."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(
    epilog="Example:\n\npython -m benchmarks run benchmarks/suites/smoke.toml --dry-run\n\n"
    "python -m benchmarks run benchmarks/suites/smoke.toml",
)
def run(
    suite: SuiteFile,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where results go, one JSON file a cell; those there are kept. benchmarks/raw/SUITE by default.",
            show_default=False,
        ),
    ] = None,
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
            "folders under the same paths, and have been started in a checkout.",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METHOD",
            help="Of the methods this one, with the controls; may be given several times. collect keeps all others.",
            show_default=False,
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Make every cell, those that the committed table has, too.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done and for how long, and end.")] = (
        False
    ),
) -> None:
    """Make the results of a suite that are missing, or were made by other options or versions of the code."""
    with guarded(False) as stdout:
        from benchmarks.harness.made import Folders
        from benchmarks.harness.runner import Messages, run_suite

        problems: list[str] = []
        read = collect_errors(problems, _suite, suite, only or ())
        target = out or RAW / suite.stem
        collect_errors(problems, check_folder, target, True)
        collect_errors(problems, check_cache, cache)
        if jobs is not None and dask is not None:
            problems.append("--jobs is for processes of this machine, and --dask takes all workers: leave one out")
        if problems or read is None:
            raise RequestError(problems)

        def announce(words: str) -> None:
            print(words, file=stdout, flush=True)

        # workers of a cluster stand in other folders
        folders = Folders(target.absolute(), cache.absolute(), None if every else RESULTS)
        with _processes(jobs, dask) as count, show_progress() as progress:
            run_suite(read, folders, count, Messages(announce, progress), dry_run)
        if not dry_run:
            done(Code.VERIFIED, f"the results are in {target}")
            print(f"Results in {target}; see python -m benchmarks table {target}", file=stdout)


@app.command(epilog="Example:\n\npython -m benchmarks collect benchmarks/suites/tier1.toml")
def collect(
    suite: SuiteFile,
    raw: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="What run wrote; benchmarks/raw/SUITE by default.", show_default=False),
    ] = None,
    results: Tables = RESULTS,
) -> None:
    """Make the committed table of a suite from the results of a run, keeping the cells that it did not make."""
    with guarded(False) as stdout:
        from benchmarks.harness.collect import collect as make_table

        try:
            made = list(make_table(_suite(suite), raw or RAW / suite.stem, results))
        except OSError as error:
            raise RequestError(f"{results}: cannot be written: {error.strerror} (--results)") from error
        _wrote(made, stdout)


@app.command(epilog="Example:\n\npython -m benchmarks table benchmarks/results/tier1.csv --out tier1.md")
def table(
    results: Results,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write; standard output without it.")
    ] = None,
) -> None:
    """Show a suite's results as tables in Markdown."""
    with guarded(False) as stdout:
        from benchmarks.harness.files import write_whole
        from benchmarks.harness.tables.overview import render

        text = render(_existing(results))
        if out is None:
            print(text.rstrip("\n"), file=stdout)
            return
        try:
            write_whole(out, text)
        except OSError as error:
            raise RequestError(f"{out}: cannot be written: {error.strerror} (--out)") from error
        _wrote([out], stdout)


@app.command(epilog="Example:\n\npython -m benchmarks plot benchmarks/results/tier1.csv --out figures")
def plot(
    results: Results,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the figures go.", show_default=False)],
) -> None:
    """Draw a suite's results."""
    with guarded(False) as stdout:
        from benchmarks.harness.plots import draw

        problems: list[str] = []
        collect_errors(problems, _existing, results)
        collect_errors(problems, check_folder, out, True)
        if problems:
            raise RequestError(problems)
        _wrote(draw(results, out), stdout)


@app.command(epilog="Example:\n\npython -m benchmarks docs")
def docs(
    root: Annotated[
        Path, typer.Option(metavar="FOLDER", help="The checkout.", show_default="the one of this package")
    ] = ROOT,
) -> None:
    """Fill the generated blocks of README.md and docs/*.md from the committed tables, and draw their figures."""
    with guarded(False) as stdout:
        from benchmarks.harness.docs import update

        _wrote(update(root), stdout)


@app.command(epilog="Example:\n\npython -m benchmarks demo --out fashion-run")
def demo(
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where to write; must be absent or empty.", show_default=False)
    ],
    seed: Annotated[int, typer.Option(help="Seed of everything drawn at random.")] = 0,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda or cuda:N.")] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Write into a folder that is not empty.")] = False,
) -> None:
    """Do what `efface demo` does on all 60,000 records of Fashion-MNIST, in some ten minutes."""
    with guarded(False) as stdout:
        from benchmarks.fashion_demo import fashion_setting
        from efface.cli.demo import run_demo
        from efface.cli.endings import finish
        from efface.runtime.devices import resolve_device

        problems: list[str] = []
        collect_errors(problems, resolve_device, device)
        collect_errors(problems, check_folder, out, force)
        if problems:
            raise RequestError(problems)
        made = run_demo(fashion_setting, seed, device)
        finish(out, made.result, made.report, False, stdout)


@app.command(epilog="Example:\n\npython -m benchmarks lengths noisy-digits --max-epochs 100")
def lengths(
    problems: Annotated[
        list[str] | None,
        typer.Argument(metavar="PROBLEM", help="Problems of the benchmark; all whose data is there by default."),
    ] = None,
    records: Annotated[
        int | None, typer.Option(min=1, help="Number of training records; each problem's usual one by default.")
    ] = None,
    max_epochs: Annotated[int, typer.Option(min=1, help="Epochs after which to give up.")] = 200,
) -> None:
    """Find how long to train: until a model knows its records, or its training loss has stopped falling."""
    with guarded(False) as stdout:
        from benchmarks.harness.problems import PROBLEMS
        from benchmarks.harness.training_length import choose, train_and_watch
        from efface.runtime.devices import threads

        refused: list[str] = []
        ready = [p for key in problems or PROBLEMS if (p := collect_errors(refused, _ready, key, records)) is not None]
        if refused and (problems or not ready):
            raise RequestError(refused)
        for words in refused:
            print(f"left out: {words}", file=sys.stderr)
        for p in ready:
            size = records or p.usual
            print(f"{p.key}, {size} records\nepoch     loss  own records  holdout   CPU time", file=stdout)
            epochs = []
            with threads(1):
                for e in train_and_watch(p, size, max_epochs):
                    epochs.append(e)
                    line = f"{e.number:5} {e.loss:8.4f} {e.known:12.2%} {e.held:8.2%}   {duration(e.cpu_s)}"
                    print(line, file=stdout, flush=True)
            print(f"{p.key}: {choose(epochs, p.rules.has_classes)}\n", file=stdout)


def _wrote(paths: Iterable[Path], stdout: TextIO) -> None:
    """Name the files that were written."""
    every = list(paths)
    done(Code.VERIFIED, f"the files are {', '.join(map(str, every))}")
    for path in every:
        print(f"Wrote {path}", file=stdout)


def _ready(key: str, records: int | None) -> "Problem":
    """A problem whose data is there, and that comes in so many records."""
    from benchmarks.harness.problems import problem

    found = problem(key)
    if records is not None and records not in found.sizes:
        raise RequestError(f"{key} comes in {', '.join(map(str, found.sizes))} records, not {records}")
    found.load()
    return found


@contextlib.contextmanager
def _processes(jobs: int | None, dask: str | None) -> Iterator[int]:
    """Where joblib's work goes, and how many processes that is."""
    if dask is None:
        yield jobs or os.cpu_count() or 1
        return
    from benchmarks.harness.backend import dask_workers

    with dask_workers(dask) as count:
        yield count


def _existing(path: Path) -> Path:
    if not path.exists():
        raise RequestError(f"{path}: there is no such folder or table")
    return path


def _suite(path: Path, only: Sequence[str] = ()) -> "Suite":
    from benchmarks.harness.suite import limited, read_suite

    return limited(read_suite(path), only) if only else read_suite(path)
