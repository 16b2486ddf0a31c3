"""Ensembles: many models trained alike, in several processes, each kept in a cache as soon as it is done."""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import joblib  # type: ignore[import-untyped]
from torch import nn

from efface.ensembles.cache import ModelCache
from efface.ensembles.hashing import same_structure
from efface.ensembles.keys import model_keys
from efface.ensembles.training import ModelJob, TrainedModel, Workload, train_one
from efface.ensembles.workers import train_in_workers
from efface.errors import RequestError
from efface.models.checkpoint import weights_digest
from efface.models.init import fresh_model
from efface.models.running import device_of
from efface.models.training import Recipe
from efface.runtime.cost import Meter, PhaseCost
from efface.runtime.progress import track
from efface.task import Task
from efface.types import Indices, SizedDataset

# a worker takes seconds to import torch, so less work than this is done sooner mask_classes any
WORTH_WORKERS_S = 10.0


@dataclass(frozen=True)
class Training:
    """How ensembles are trained and kept.

    recipe: the default recipe, for a task without `Task.fit`.
    cache: folder of finished models; what is found there is not trained again. See `efface.ensembles.keys` for what
        a model is found by.
    jobs: processes; None takes as many as there are cores, but only on a CPU and where they save time.
    progress: whether to show a bar; None shows one on a terminal only.
    """

    recipe: Recipe = field(default_factory=Recipe)
    cache: Path | None = None
    jobs: int | None = None
    progress: bool | None = None


@dataclass(frozen=True)
class ModelSpec:
    """One model to train: on the records at `positions` of `dataset`, or of the task's training records if None."""

    dataset: SizedDataset | None
    positions: Indices
    seed: int


@dataclass(frozen=True)
class TrainedEnsemble:
    """The models in the order of their specifications, on the original's device.

    `found` of them came from the cache; `cost` is the mean cost of training one of the others, None without any.
    """

    models: list[nn.Module]
    found: int
    cost: PhaseCost | None


def train_ensemble(
    task: Task,
    original: nn.Module,
    specs: Sequence[ModelSpec],
    training: Training,
    meter: Meter,
    title: str = "training models",
) -> TrainedEnsemble:
    """Train each model that is specified as `efface.models.training.retrain` does.

    On a CPU the models are the same bit for bit whatever `Training.jobs` is and whether they were cached: each is
    trained on one torch thread, by whichever process. Work goes where `joblib.parallel_config` says, such as to a
    Dask cluster; by default to processes of this machine.

    Args:
        task: Its `fit` trains the models where there is one. A task that cannot be sent to another process is
            trained in this one, and a network that `fit` replaces by one of another kind is not kept.
        original: The model whose untrained likes are trained.
        specs: The models to train.
        training: How they are trained and kept.
        meter: Charged with what workers spend on training, but not on starting (some seconds of CPU time each).
        title: Of the progress bar.

    Raises:
        RequestError, DivergedError: With the number and seed of the model whose training failed.
    """
    if training.jobs is not None and training.jobs < 1:
        raise RequestError(f"jobs: expected a number of processes, got {training.jobs}")
    load, models = _workload(task, original, specs, training.recipe)
    cache = None if training.cache is None else ModelCache(training.cache)
    keys = [None] * len(specs) if cache is None else model_keys(load, models)
    todo = [i for i, key in enumerate(keys) if cache is None or key is None or not cache.load(key, models[i])]
    costs = []
    with (
        track(title, len(todo), training.progress) as advance,
        closing(_train(load, todo, training.jobs)) as trained,
    ):
        for i, one in trained:
            # the network made here takes over the weights, so that all ways to them end in the same model
            if same_structure(models[i], one.model):
                models[i].load_state_dict(one.model.state_dict())
                if cache is not None and (key := keys[i]) is not None:
                    cache.save(key, models[i])
            else:
                models[i] = one.model.to(device_of(original))
            # this process's own clock has counted what was trained here
            meter.charge(replace(one.cost, wall_s=0.0, cpu_s=one.cost.cpu_s if one.elsewhere else 0.0))
            costs.append(one.cost)
            advance()
    return TrainedEnsemble(models, len(specs) - len(todo), _mean(costs))


def _workload(
    task: Task, original: nn.Module, specs: Sequence[ModelSpec], recipe: Recipe
) -> tuple[Workload, list[nn.Module]]:
    """What is to be trained, and the untrained networks."""
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


def _train(load: Workload, todo: Sequence[int], jobs: int | None) -> Generator[tuple[int, TrainedModel]]:
    """Each model that is to be trained, as soon as it is, in any order."""
    left = dict.fromkeys(todo)
    if jobs is None:
        on_cpu = device_of(load.original).type == "cpu"
        jobs = int(joblib.effective_n_jobs(-1)) if on_cpu and len(left) > 1 else 1
        if jobs > 1:  # the first one's time tells whether workers are worth their start
            first = train_one(load, todo[0])
            del left[todo[0]]
            yield todo[0], first
            jobs = jobs if first.cost.wall_s * len(left) > WORTH_WORKERS_S else 1
    if min(jobs, len(left)) > 1:
        for i, one in train_in_workers(load, list(left), min(jobs, len(left))):
            del left[i]
            yield i, one
    for i in left:
        yield i, train_one(load, i)


def _mean(costs: Sequence[PhaseCost]) -> PhaseCost | None:
    if not costs:
        return None
    total, n = sum(costs, PhaseCost()), len(costs)
    return PhaseCost(total.wall_s / n, total.cpu_s / n, round(total.forward / n), round(total.backward / n))
