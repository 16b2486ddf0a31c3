"""Training of ensembles: many models, in several processes, each cached as soon as it is trained."""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import nn

from efface.errors import EffaceError, RequestError
from efface.models.checkpoint import weights_digest
from efface.models.ensembles.cache import ModelCache
from efface.models.ensembles.training import ModelJob, TrainedModel, Workload, train_one
from efface.models.init import fresh_model
from efface.models.running import device_of
from efface.models.training import Recipe
from efface.runtime.cost import Meter, PhaseCost
from efface.runtime.notices import warn_caller
from efface.runtime.options import clear_calls
from efface.runtime.progress import track
from efface.task import Task
from efface.types import Indices, SizedDataset

# a worker takes seconds to import torch, so less work than this is faster without workers
WORTH_WORKERS_S = 10.0
OTHER = "cache: Task.fit returns networks of another structure than the original's, which are not kept"


@clear_calls(recipe=Recipe)
@dataclass(frozen=True)
class Training:
    """How ensembles are trained and cached.

    Args:
        recipe: Recipe for a task without `Task.fit`.
        cache: Folder of trained models; models that are found there are not trained anew.
            `efface.models.ensembles.keys` says by what a model is found.
        jobs: Number of processes. None uses as many as there are cores, but only on a CPU and if that saves time.
        progress: Whether to show a progress bar; None shows one on a terminal only.
    """

    recipe: Recipe = field(default_factory=Recipe)
    cache: Path | None = None
    jobs: int | None = None
    progress: bool | None = None


@dataclass(frozen=True)
class ModelSpec:
    """One model to train.

    Args:
        dataset: The training records; None for those of the task.
        positions: Which of them to train on.
        seed: Seed of the initial weights and of the training.
    """

    dataset: SizedDataset | None
    positions: Indices
    seed: int


@dataclass(frozen=True)
class TrainedEnsemble:
    """The trained models.

    Args:
        models: The models in the order of their specifications, on the original's device.
        found: How many came from the cache.
        cost: Mean cost of training one of the others; None if all came from the cache.
        notes: Why models were not kept, or not trained in several processes; each was a warning too.
    """

    models: list[nn.Module]
    found: int
    cost: PhaseCost | None
    notes: tuple[str, ...] = ()


def train_ensemble(
    task: Task,
    original: nn.Module,
    specs: Sequence[ModelSpec],
    training: Training,
    meter: Meter,
    title: str = "training models",
) -> TrainedEnsemble:
    """Train the specified models by `efface.models.training.retrain`.

    On a CPU the models are bit for bit the same for any `Training.jobs`, cached or not, since each is trained on one
    torch thread. Work is done where `joblib.parallel_config` says, for example on a Dask cluster; by default in
    processes of this machine.

    Args:
        task: The task; its `fit` trains the models if there is one. What other processes cannot train is trained in
            this one, with a warning. If `fit` returns a network of another structure, that model is not cached.
        original: The model whose architecture the networks have.
        specs: The models to train.
        training: How they are trained and cached.
        meter: Charged with the training in workers, but not with their start (a few seconds of CPU time each).
        title: Title of the progress bar.

    Raises:
        RequestError, DivergedError: With the number and seed of the model whose training failed, and how many were
            done before it. What a worker fails at is tried again in this process first.
    """
    # joblib is slow to import
    from efface.models.ensembles.hashing import UnhashableError, same_structure
    from efface.models.ensembles.keys import model_keys

    if training.jobs is not None and training.jobs < 1:
        raise RequestError(f"jobs: expected a number of processes, got {training.jobs}")
    load, models = _workload(task, original, specs, training.recipe)
    cache = None if training.cache is None else ModelCache(training.cache)
    keys, notes = list[str | None]([None] * len(specs)), list[str]()
    try:
        keys = keys if cache is None else [*model_keys(load, models)]
    except UnhashableError as error:
        why = f"something that they come from cannot be compared with what it was ({error})"
        _tell(notes, f"cache: the models are not kept but trained again each time, since {why}")
    todo = [i for i, key in enumerate(keys) if cache is None or key is None or not cache.load(key, models[i])]
    costs, kept = list[PhaseCost](), len(specs) - len(todo)
    with (
        track(title, len(todo), training.progress) as advance,
        closing(_train(load, todo, training.jobs, notes)) as trained,
    ):
        try:
            for i, one in trained:
                # the weights are loaded into the network made here, so that all models are made in the same way
                if same_structure(models[i], one.model):
                    models[i].load_state_dict(one.model.state_dict())
                    if cache is not None and (key := keys[i]) is not None:
                        cache.save(key, models[i])
                        kept += 1
                else:
                    models[i] = one.model.to(device_of(original))
                    if cache is not None and OTHER not in notes:
                        _tell(notes, OTHER)
                # time spent in this process is measured by the meter already
                meter.charge(replace(one.cost, wall_s=0.0, cpu_s=one.cost.cpu_s if one.elsewhere else 0.0))
                costs.append(one.cost)
                advance()
        except EffaceError as error:
            done = len(specs) - len(todo) + len(costs)
            raise _with_count(
                error, f"{done} of {len(specs)} models were done, {_where(kept, training.cache)}"
            ) from error
    return TrainedEnsemble(models, len(specs) - len(todo), _mean(costs), tuple(notes))


def _tell(notes: list[str], line: str) -> None:
    notes.append(line)
    warn_caller([line])


def _where(kept: int, cache: Path | None) -> str:
    """What is left of the models that were done before a failure."""
    if cache is None:
        return "and none is kept, since there is no cache"
    return f"of which the cache {cache} keeps {kept} for the next call"


def _with_count(error: EffaceError, count: str) -> EffaceError:
    if isinstance(error, RequestError):
        return RequestError([*error.problems[:-1], f"{error.problems[-1]} ({count})"])
    return type(error)(f"{error} ({count})")


def _workload(
    task: Task, original: nn.Module, specs: Sequence[ModelSpec], recipe: Recipe
) -> tuple[Workload, list[nn.Module]]:
    """The workload of an ensemble, and its untrained networks."""
    tasks: dict[int, Task] = {}
    models, jobs = [], []
    for number, spec in enumerate(specs):
        name = f"model {number + 1} of {len(specs)} (seed {spec.seed})"
        if not len(spec.positions):
            raise RequestError(f"{name}: there are no records to train it on")
        if id(spec.dataset) not in tasks:
            own = task if spec.dataset is None else replace(task, train=spec.dataset, eval_records=None)
            tasks[id(spec.dataset)] = own
        models.append(fresh_model(task, original, spec.seed))
        start = weights_digest(models[-1])
        jobs.append(ModelJob(name, tasks[id(spec.dataset)], spec.positions, spec.seed, start))
    return Workload(original, recipe, tuple(jobs)), models


def _train(
    load: Workload, todo: Sequence[int], jobs: int | None, notes: list[str]
) -> Generator[tuple[int, TrainedModel]]:
    """Train models, and yield each with its number as soon as it is trained, in any order."""
    import joblib  # type: ignore[import-untyped]

    from efface.models.ensembles.workers import train_in_workers

    left = dict.fromkeys(todo)
    if jobs is None:
        on_cpu = device_of(load.original).type == "cpu"
        jobs = int(joblib.effective_n_jobs(-1)) if on_cpu and len(left) > 1 else 1
        if jobs > 1:  # the time of the first model shows whether workers save time
            first = train_one(load, todo[0])
            del left[todo[0]]
            yield todo[0], first
            jobs = jobs if first.cost.wall_s * len(left) > WORTH_WORKERS_S else 1
    reason = ""
    if min(jobs, len(left)) > 1:
        with closing(train_in_workers(load, list(left), min(jobs, len(left)))) as answers:
            for i, one in answers:
                del left[i]
                if isinstance(one, str):
                    left, reason = {i: None, **left}, one
                    break
                yield i, one
    for i in left:
        yield i, train_one(load, i)
        if reason:  # said once this process has done what others could not
            _tell(notes, f"models were trained one after the other, in this process: {reason}")
            reason = ""


def _mean(costs: Sequence[PhaseCost]) -> PhaseCost | None:
    if not costs:
        return None
    total, n = sum(costs, PhaseCost()), len(costs)
    return PhaseCost(total.wall_s / n, total.cpu_s / n, round(total.forward / n), round(total.backward / n))
