"""Ensembles: many models trained alike, in worker processes, each kept in a cache as soon as it is done."""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import joblib  # type: ignore[import-untyped]
from torch import nn
from torch.utils.data import Dataset

from efface.ensembles.cache import Cache
from efface.ensembles.keys import content_keys
from efface.ensembles.members import Member, Outcome, Work, member_seconds, train_member
from efface.ensembles.stacked import train_stacked
from efface.ensembles.workers import train_in_workers
from efface.errors import RequestError
from efface.models.init import fresh_model
from efface.models.running import device_of
from efface.models.training import Recipe
from efface.runtime.cost import Meter, PhaseCost
from efface.runtime.progress import track
from efface.task import Task
from efface.types import Indices

# a worker takes seconds to import torch, so less work than this is done sooner mask_classes any
WORTH_WORKERS_S = 10.0


@dataclass(frozen=True)
class Plan:
    """One model to train: on the records at `positions` of `dataset`, or of the task's training records if None."""

    dataset: Dataset[Any] | None
    positions: Indices
    seed: int


@dataclass(frozen=True)
class Trained:
    """The models in the order of their plans, on the original's device, and the content keys they are cached under.

    `found` of them came from the cache; `cost` is the mean cost of training one of the others, None without any.
    """

    models: list[nn.Module]
    keys: list[str]
    found: int
    cost: PhaseCost | None


def train_ensemble(
    task: Task,
    original: nn.Module,
    plans: Sequence[Plan],
    *,
    recipe: Recipe,
    use_fit: bool,
    meter: Meter,
    cache: Path | None = None,
    jobs: int | None = None,
    together: bool = False,
    progress: bool | None = None,
    title: str = "training models",
) -> Trained:
    """Train each plan's model as `efface.models.training.retrain` does: by `Task.fit` if there is one and `use_fit`.

    On a CPU the models are the same bit for bit whatever `jobs` is and whether they were cached: each is trained on
    one torch thread, by whichever process.

    cache: folder of finished models; what is found there is not trained again. See `efface.ensembles.keys` for what
        it is found by. A network that `Task.fit` replaces by one of another kind is not kept.
    jobs: processes; None takes as many as there are cores, but only on a CPU and where they save time. A task that
        cannot be sent to another process is trained in this one.
    together: train the default recipe's models as one, their weights stacked; equal up to rounding. Models that
        this cannot be done to (unequal numbers of records, batch statistics, dropout) are trained one by one.
    The meter is charged with what workers spend on training, but not on starting (some seconds of CPU time each).
    Raises RequestError or DivergedError with the name of the model whose training failed.
    """
    if jobs is not None and jobs < 1:
        raise RequestError(f"jobs: expected a number of processes, got {jobs}")
    work = _work(task, original, plans, recipe, use_fit)
    models = [fresh_model(task, original, plan.seed) for plan in plans]
    together = together and work.by_recipe
    work = content_keys(work, models, together)
    kept = Cache(cache) if cache is not None else None
    todo = [i for i, member in enumerate(work.members) if kept is None or not kept.load(member.key, models[i])]
    costs = []
    with track(title, len(todo), progress) as advance, closing(_outcomes(work, todo, jobs, together)) as outcomes:
        for i, outcome in outcomes:
            # a network made here takes over the weights, so that all ways to them end in the same model
            if outcome.whole is not None:
                models[i] = outcome.whole.to(device_of(original))
            else:
                models[i].load_state_dict(outcome.state)
                if kept is not None:
                    kept.save(work, i, models[i], outcome.cost)
            # this process's own clock has counted what was trained here
            meter.charge(replace(outcome.cost, wall_s=0.0, cpu_s=outcome.cost.cpu_s if outcome.elsewhere else 0.0))
            costs.append(outcome.cost)
            advance()
    return Trained(models, [m.key for m in work.members], len(plans) - len(todo), _mean(costs))


def _work(task: Task, original: nn.Module, plans: Sequence[Plan], recipe: Recipe, use_fit: bool) -> Work:
    if not use_fit:
        task = replace(task, fit=None)
    tasks: list[Task] = []
    place: dict[int, int] = {}
    members = []
    for number, plan in enumerate(plans):
        name = f"model {number + 1} of {len(plans)} (seed {plan.seed})"
        if not len(plan.positions):
            raise RequestError(f"{name}: there are no records to train it on")
        if id(plan.dataset) not in place:
            place[id(plan.dataset)] = len(tasks)
            own = task if plan.dataset is None else replace(task, train=plan.dataset, eval_records=None)
            tasks.append(own)
        members.append(Member(name, place[id(plan.dataset)], plan.positions, plan.seed))
    return Work(tuple(tasks), original, recipe, tuple(members), task.fit is None)


def _outcomes(work: Work, todo: list[int], jobs: int | None, together: bool) -> Generator[tuple[int, Outcome]]:
    """Each model that is to be trained, as soon as it is, in any order."""
    left = dict.fromkeys(todo)
    if together:
        for i, outcome in train_stacked(work, todo):
            del left[i]
            yield i, outcome
    if jobs is None:
        jobs = int(joblib.cpu_count()) if device_of(work.original).type == "cpu" and len(left) > 1 else 1
        if jobs > 1:
            each = member_seconds(work, next(iter(left)))
            if each is None:  # the first one's own time will tell
                i = next(iter(left))
                outcome = train_member(work, i)
                del left[i]
                yield i, outcome
                each = outcome.cost.wall_s
            jobs = jobs if each * len(left) > WORTH_WORKERS_S else 1
    if min(jobs, len(left)) > 1:
        for i, outcome in train_in_workers(work, list(left), min(jobs, len(left))):
            del left[i]
            yield i, outcome
    for i in left:
        yield i, train_member(work, i)


def _mean(costs: Sequence[PhaseCost]) -> PhaseCost | None:
    if not costs:
        return None
    total, n = sum(costs, PhaseCost()), len(costs)
    return PhaseCost(total.wall_s / n, total.cpu_s / n, round(total.forward / n), round(total.backward / n))
