"""Training of one model of an ensemble."""

import threading
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

# random numbers are a process's own: where workers are threads of one process, they take turns
TURN = threading.RLock()


@dataclass(frozen=True)
class ModelJob:
    """One model to train.

    Args:
        name: Its name in messages.
        task: The task, with its training records.
        positions: Which of the training records to train on.
        seed: Seed of the initial weights and of the training.
        start: Digest of the untrained network's weights.
    """

    name: str
    task: Task
    positions: Indices
    seed: int
    start: str


@dataclass(frozen=True)
class Workload:
    """Everything that is needed to train an ensemble.

    Args:
        original: The model whose architecture the networks have.
        recipe: Recipe for tasks without `Task.fit`.
        jobs: The models to train; their tasks differ in the training records only.
    """

    original: nn.Module
    recipe: Recipe
    jobs: tuple[ModelJob, ...]


@dataclass(frozen=True)
class TrainedModel:
    """The result of a job.

    Args:
        model: The trained model.
        cost: Cost of its training.
        elsewhere: Whether another process trained it.
    """

    model: nn.Module
    cost: PhaseCost
    elsewhere: bool = False


def train_one(load: Workload, number: int) -> TrainedModel:
    """Train a model in this process, on one torch thread, since the number of threads affects rounding.

    Args:
        load: The workload.
        number: Which of its jobs, from 0.

    Raises:
        RequestError: No network can be made, or training failed; the message begins with the job's name.
        DivergedError: Weights became NaN or infinite; the message begins with the job's name.
    """
    job, own = load.jobs[number], Meter()
    with TURN, threads(1), unchanged_globals(), _naming(job.name), own.phase("model"):
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
