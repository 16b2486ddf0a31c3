"""One model of an ensemble: what it is trained from, its training, and what comes of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import nn

from efface.errors import DivergedError, RequestError, describe_error
from efface.models.training import Recipe, retrain
from efface.runtime.cost import Meter, PhaseCost
from efface.runtime.devices import threads
from efface.runtime.seeds import unchanged_globals
from efface.task import Task
from efface.types import Indices


@dataclass(frozen=True)
class ModelJob:
    """One model to train, on the records at `positions` of the task's; `start` is its untrained network's digest."""

    name: str
    task: Task
    positions: Indices
    seed: int
    start: str


@dataclass(frozen=True)
class Workload:
    """All that training an ensemble takes; the tasks of its jobs differ in their training records alone."""

    original: nn.Module
    recipe: Recipe
    jobs: tuple[ModelJob, ...]


@dataclass(frozen=True)
class TrainedModel:
    """What came of a job, and its cost; `elsewhere` says that another process bore the cost."""

    model: nn.Module
    cost: PhaseCost
    elsewhere: bool = False


def train_one(load: Workload, number: int) -> TrainedModel:
    """Train a model in this process, on one torch thread, since their number changes how sums are rounded.

    Raises RequestError or DivergedError with the job's name in front.
    """
    job, own = load.jobs[number], Meter()
    with threads(1), unchanged_globals(), _naming(job.name), own.phase("model"):
        model = retrain(job.task, load.original, job.positions, job.seed, own, load.recipe)
    return TrainedModel(model, own.cost().total)


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Put a job's name before what its training raises, which becomes one of efface's own errors."""
    try:
        yield
    except DivergedError as error:
        raise DivergedError(f"{name}: {error}") from error
    except RequestError as error:
        raise RequestError([f"{name}: {problem}" for problem in error.problems]) from error
    except Exception as error:  # the user's own code
        raise RequestError(f"{name}: training raised {describe_error(error)}") from error
