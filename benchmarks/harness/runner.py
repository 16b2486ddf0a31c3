"""Running a suite: what is missing or outdated is made, one JSON file a cell, in processes of joblib's choice."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.harness import jobs as work
from benchmarks.harness.cell import HowRun, run_cell
from benchmarks.harness.jobs import Job, Pace
from benchmarks.harness.made import Folders, Made
from benchmarks.harness.problems import problem
from benchmarks.harness.readings import make_readings, readings_place
from benchmarks.harness.suite import CONTROLS, Cell, Setting, Suite
from benchmarks.harness.training_jobs import epoch_seconds, halves_of, models_of, training_jobs
from benchmarks.harness.tuning import Tuned, tune, tunings_of

# guesses of lengths, in epochs of training, before there is anything to go by
PASSES = {"steer": 3.0, "noop": 0.0}
USUAL = 2.0
READING = 0.2  # of a model
STARTING_S = 1.0  # CPU seconds of a job before its method starts


@dataclass(frozen=True)
class Messages:
    """Where a run reports: what it will do, and each job that is done with the seconds that are probably left."""

    announce: Callable[[str], None]
    progress: Callable[[str, float], None]


def run_suite(suite: Suite, folders: Folders, processes: int, messages: Messages, dry_run: bool = False) -> None:
    """Make every cell of a suite that is missing, or is there by other options or versions of the code.

    A killed run goes on where it was: each file is written as soon as it is made, and whole.

    Args:
        suite: what to run.
        folders: where results go and models are kept; on several machines, all of them must see these folders.
        processes: how many. They are joblib's, so `joblib.parallel_config` chooses where they run.
        messages: where the run reports.
        dry_run: end after the announcement, with nothing written.
    """
    made = Made(suite, folders)
    cells = [c for c in suite.cells if not made.is_made(c)]
    tunings = [t for t in tunings_of(suite) if made.tuned(t) is None]
    settings = dict.fromkeys(c.setting for c in cells)
    unread = [s for s in settings if not readings_place(s, folders.cache).is_file()]
    guesses = _Guesses(epoch_seconds([*settings, *(t.setting for t in tunings)]))
    stages: list[Callable[[], list[Job]]] = [
        lambda: training_jobs(halves_of(unread), folders.cache, guesses.epochs),
        lambda: training_jobs(models_of(unread, tunings), folders.cache, guesses.epochs),
        lambda: [Job(f"{s.name}: reading", guesses.of_reading(s), make_readings, (s, folders.cache)) for s in unread],
        lambda: [_tuning_job(t, suite, folders, guesses) for t in tunings],
        # a tuning made anew may have come to the same options
        lambda: [_cell_job(c, made, guesses) for c in suite.cells if not made.is_made(c)],
    ]
    planned = [job for stage in stages for job in stage()]
    pace = Pace(processes, messages.progress, sum(job.guess for job in planned))
    messages.announce(
        f"{suite.title}: {len(suite.cells)} cells, {len(cells)} of them to do, in {len(planned)} jobs: about "
        f"{pace.left / 3600:.2f} core-hours, {_clock(pace.left / processes)} in "
        f"{processes} process{'es' * (processes > 1)}"
    )
    if dry_run:
        return
    folders.out.mkdir(parents=True, exist_ok=True)
    for stage in stages:
        work.do(stage(), processes, pace)


@dataclass(frozen=True)
class _Guesses:
    """CPU seconds that jobs will probably take, by the seconds of an epoch of a problem and number of records."""

    epochs: dict[tuple[str, int], float]

    def of_passes(self, setting: Setting, passes: float) -> float:
        return passes * self.epochs[setting.problem, setting.records]

    def of_reading(self, setting: Setting) -> float:
        return self.of_passes(setting, READING * (setting.originals + setting.retrained))

    def of_cell(self, cell: Cell, made: Made) -> float:
        passes = float(made.recipe_of(cell.method).published.get("epochs", PASSES.get(cell.method, USUAL))) + READING
        passes = problem(cell.setting.problem).epochs[cell.setting.records] if cell.method == "retrain" else passes
        models = 1 if cell.method in CONTROLS else cell.models
        return STARTING_S + self.of_passes(cell.setting, passes * models)


def _cell_job(cell: Cell, made: Made, guesses: _Guesses) -> Job:
    options, tuning = made.options_of(cell), None
    if cell.variant == "tuned" and (found := made.tuning_of(cell)) is not None:
        setting = found["tuned"]["setting"]
        tuning = {"cpu_s": found["cpu_s"], "models": {k: setting[k] for k in ("originals", "retrained")}}
    # a cell that waits for its tuning is planned without options, and made with them
    how = HowRun(made.recipe_of(cell.method), options or {}, tuning)
    target = made.folders.out / f"{cell.name}.json"
    return Job(cell.name, guesses.of_cell(cell, made), run_cell, (cell, how, made.folders.cache), target)


def _tuning_job(tuned: Tuned, suite: Suite, folders: Folders, guesses: _Guesses) -> Job:
    recipe, tuning = suite.recipes[tuned.method], suite.tuning
    if tuning is None:
        raise ValueError(f"{suite.name} tunes nothing")
    length = guesses.of_passes(tuned.setting, USUAL * tuning.draws * tuning.models)
    target = folders.out / f"{tuned.name}.json"
    return Job(tuned.name, STARTING_S + length, tune, (tuned, recipe, tuning, folders.cache), target)


def _clock(seconds: float) -> str:
    if seconds < 60:
        return "under a minute"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
