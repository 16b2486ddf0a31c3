"""Running a suite: what is missing or outdated is made, one JSON file a cell, in processes of joblib's choice."""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib  # type: ignore[import-untyped]
import numpy as np

from efface.bench.cell import cell_key, ground_place, make_ground, run_cell, time_epoch
from efface.bench.problems import problem
from efface.bench.requests import HALVES, RETRAINED_SEED, Asked, ask, half_models, trained
from efface.bench.suite import CONTROLS, Cell, Recipe, Setting, Suite
from efface.bench.tuning import ORIGINALS_SEED, Tuned, tune, tuned_for, tuning_key
from efface.errors import EffaceError, RequestError
from efface.runtime import threads

FOUND = 0.1  # share of its guess that a job takes at the most where all was found
TOGETHER = 4  # models that a job trains
# guesses of lengths, in epochs of training, before there is anything to go by
PASSES = {"steer": 3.0, "noop": 0.0}
USUAL = 2.0
READING = 0.2  # of a model
STARTING_S = 1.0  # CPU seconds of a job before its method starts


@dataclass(frozen=True)
class Job:
    """A piece of work for one process: `work()` gives JSON for `target`, or nothing to write."""

    name: str
    guess: float  # CPU seconds
    call: Callable[..., Any]
    arguments: tuple[Any, ...]
    target: Path | None = None


def run_suite(
    suite: Suite,
    out: Path,
    cache: Path,
    jobs: int,
    announce: Callable[[str], None],
    progress: Callable[[str, float], None],
    dry_run: bool = False,
) -> None:
    """Make every cell of `suite` that `out` lacks, or has by other code or options.

    announce: told what will be done and for how long, before it starts. progress: told each job that is done, and
    the seconds that are probably left. dry_run: end after the announcement, with nothing written. Processes are
    joblib's, so `joblib.parallel_config` chooses where they run; on other machines, `out` and `cache` must be folders
    that all of them see. A killed run goes on where it was: each file is written as soon as it is made, and whole.
    """
    cells, tunings = _plan(suite, out, cache)
    settings = dict.fromkeys(c.setting for c in cells)
    missing = [s for s in settings if not ground_place(s, cache).is_file()]
    epochs = _epoch_seconds([*settings, *(t.setting for t in tunings)])

    def seconds(setting: Setting, passes: float) -> float:
        return passes * epochs[setting.problem, setting.records]

    def guess(cell: Cell, recipe: Recipe) -> float:
        passes = float(recipe.published.get("epochs", PASSES.get(cell.method, USUAL))) + READING
        passes = problem(cell.setting.problem).epochs[cell.setting.records] if cell.method == "retrain" else passes
        return STARTING_S + seconds(cell.setting, passes * (cell.models if cell.method not in CONTROLS else 1))

    def of_cell(cell: Cell) -> Job:
        recipe = suite.recipes.get(cell.method, Recipe())
        options = options_of(suite, cell, out)
        tuning = None
        if cell.variant == "tuned" and suite.tuning is not None and options is not None:
            found = _tuned(suite, tuned_for(cell, suite.tuning), out)
            tuning = None if found is None else {"cpu_s": found["cpu_s"], "models": found["models"]}
        arguments = (cell, recipe, options, cache, tuning)
        return Job(cell.name, guess(cell, recipe), run_cell, arguments, out / f"{cell.name}.json")

    def of_tuning(tuned: Tuned) -> Job:
        recipe, tuning = suite.recipes[tuned.method], suite.tuning
        assert tuning is not None
        length = seconds(tuned.setting, USUAL * tuning.draws * tuning.models)
        return Job(tuned.name, STARTING_S + length, tune, (tuned, recipe, tuning, cache), out / f"{tuned.name}.json")

    stages: list[Callable[[], list[Job]]] = [
        lambda: _training_jobs(_halves(missing), cache, epochs),
        lambda: _training_jobs(_models(missing, tunings), cache, epochs),
        lambda: [
            Job(f"{s.name}: reading", seconds(s, READING * (s.originals + s.retrained)), make_ground, (s, cache))
            for s in missing
        ],
        lambda: [of_tuning(t) for t in tunings],
        # a tuning made anew may have come to the same options
        lambda: [of_cell(c) for c in cells if not _is_made(suite, c, out)],
    ]
    planned = [job for stage in stages for job in stage()]
    pace = _Pace(jobs, progress, sum(job.guess for job in planned))
    announce(
        f"{suite.title}: {len(suite.cells)} cells, {len(cells)} of them to do, in {len(planned)} jobs: about "
        f"{pace.left / 3600:.2f} core-hours, {_clock(pace.left / jobs)} in {jobs} process{'es' * (jobs > 1)}"
    )
    if dry_run:
        return
    out.mkdir(parents=True, exist_ok=True)
    for stage in stages:
        _do(stage(), jobs, pace)


@dataclass
class _Pace:
    """How guesses have compared with the truth so far."""

    jobs: int
    progress: Callable[[str, float], None]
    left: float
    guessed: float = 1.0  # CPU seconds of what is done
    spent: float = 1.0

    def done(self, job: Job, seconds: float) -> None:
        self.left = max(0.0, self.left - job.guess)
        if seconds > FOUND * job.guess:  # else its models were found in the cache, which says nothing of the others
            self.guessed += job.guess
            self.spent += seconds
        self.progress(f"{job.name} ({seconds:.1f} s)", self.left * self.spent / self.guessed / self.jobs)


def _do(todo: list[Job], jobs: int, pace: _Pace) -> None:
    if not todo:
        return
    # the longest first, so that no process is left alone at the end
    todo = sorted(todo, key=lambda j: -j.guess)
    work = (joblib.delayed(_work)(number, job) for number, job in enumerate(todo))
    for number, seconds in joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)(work):
        pace.done(todo[number], seconds)


def _work(number: int, job: Job) -> tuple[int, float]:
    start = time.perf_counter()
    try:
        made = job.call(*job.arguments)
    except EffaceError as error:
        raise RequestError(f"{job.name}: {error}") from error
    except Exception as error:  # of a method, or of the machine
        raise RequestError(f"{job.name}: {type(error).__name__}: {error}") from error
    if job.target is not None:
        unfinished = job.target.with_name(f".{job.target.name}.{os.getpid()}.tmp")
        unfinished.write_text(json.dumps(_plain(made), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        unfinished.replace(job.target)
    return number, time.perf_counter() - start


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity: both become null."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _plan(suite: Suite, out: Path, cache: Path) -> tuple[list[Cell], list[Tuned]]:
    """The cells and tunings that have to be made, cells that wait for a tuning among them."""
    cells, tunings = (
        [],
        dict.fromkeys(tuned_for(c, suite.tuning) for c in suite.cells if suite.tuning and c.variant == "tuned"),
    )
    stale = [t for t in tunings if _tuned(suite, t, out) is None]
    for cell in suite.cells:
        if not _is_made(suite, cell, out):
            cells.append(cell)
    return cells, stale


def _is_made(suite: Suite, cell: Cell, out: Path) -> bool:
    options = options_of(suite, cell, out)
    return options is not None and _up_to_date(out / f"{cell.name}.json", cell_key(cell, options))


def options_of(suite: Suite, cell: Cell, out: Path) -> Mapping[str, Any] | None:
    """The options that a cell's method is run with; None where its tuning is still to be done."""
    if cell.variant == "published":
        return suite.recipes[cell.method].published if cell.method in suite.recipes else {}
    if cell.variant == "tuned":
        assert suite.tuning is not None
        found = _tuned(suite, tuned_for(cell, suite.tuning), out)
        return None if found is None else found["best"]
    return {}


def _tuned(suite: Suite, tuned: Tuned, out: Path) -> dict[str, Any] | None:
    assert suite.tuning is not None
    place = out / f"{tuned.name}.json"
    if not _up_to_date(place, tuning_key(tuned, suite.recipes[tuned.method], suite.tuning)):
        return None
    found: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    return found


def _up_to_date(place: Path, key: str) -> bool:
    try:
        return bool(json.loads(place.read_text(encoding="utf-8"))["key"] == key)
    except (OSError, ValueError, KeyError, TypeError):
        return False


@dataclass(frozen=True)
class _Batch:
    """Some models to train: which of a setting's, from seed `first` on."""

    setting: Setting
    which: str  # halves, originals or retrained
    first: int
    count: int

    def identity(self) -> tuple[Any, ...]:
        """Equal for batches of the same models: a request that changes no label shares its originals."""
        s = self.setting
        request = s if self.which == "retrained" or (s.request == "flipped" and self.which == "originals") else None
        return s.problem, s.records, request, self.which, self.first, self.count


def _halves(settings: Iterable[Setting]) -> Iterator[_Batch]:
    for s in settings:
        if s.request == "memorised":
            yield _Batch(s, "halves", 0, HALVES)


def _models(settings: Iterable[Setting], tunings: Iterable[Tuned]) -> Iterator[_Batch]:
    for s in settings:
        yield from _chunks(s, "originals", 0, s.originals)
        yield from _chunks(s, "retrained", RETRAINED_SEED, s.retrained)
    for t in tunings:
        yield from _chunks(t.setting, "originals", ORIGINALS_SEED, t.setting.originals)
        yield from _chunks(t.setting, "retrained", RETRAINED_SEED, t.setting.retrained)


def _chunks(setting: Setting, which: str, first: int, count: int) -> Iterator[_Batch]:
    for start in range(0, count, TOGETHER):
        yield _Batch(setting, which, first + start, min(TOGETHER, count - start))


def _train(batch: _Batch, cache: Path) -> None:
    with threads(1):
        s = batch.setting
        # of halves alone, any request will do
        kind = "random" if batch.which == "halves" else s.request
        asked = ask(problem(s.problem), s.records, kind, s.share, s.draw, cache / "models")
        if batch.which == "halves":
            half_models(asked.problem, asked.records, cache / "models")
            return
        if not len(asked.forget):
            raise RequestError("the request has no records: take another draw")
        positions = asked.kept if batch.which == "retrained" else np.arange(asked.records)
        trained(asked, [positions] * batch.count, batch.first, cache / "models")


def _training_jobs(batches: Iterable[_Batch], cache: Path, epochs: Mapping[tuple[str, int], float]) -> list[Job]:
    jobs = {}
    for b in batches:
        s = b.setting
        share = 0.5 if b.which == "halves" else 1.0
        guess = b.count * share * problem(s.problem).epochs[s.records] * epochs[s.problem, s.records]
        name = f"{s.name}: {b.count} models ({b.which}, from seed {b.first})"
        jobs[b.identity()] = Job(name, guess, _train, (b, cache))
    return list(jobs.values())


def _epoch_seconds(settings: Iterable[Setting]) -> dict[tuple[str, int], float]:
    """CPU seconds of an epoch of each problem, timed here and now on its smallest number of records."""
    found = {}
    with threads(1):
        for key, records in sorted({(s.problem, s.records) for s in settings}):
            least = min(problem(key).sizes)
            asked = Asked(problem(key), problem(key).task(least), (np.arange(1),))
            found[key, records] = time_epoch(asked).cpu_s * records / least
    return found


def _clock(seconds: float) -> str:
    if seconds < 60:
        return "under a minute"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
