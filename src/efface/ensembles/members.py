"""One model of an ensemble: what it is trained from, its training, and what comes of it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from efface.data.records import Records
from efface.ensembles.identity import structure
from efface.errors import DivergedError, EffaceError, RequestError, describe_error
from efface.models.checkpoint import weights_digest
from efface.models.init import fresh_model
from efface.models.training import Recipe, retrain, train
from efface.runtime.cost import Meter, PhaseCost
from efface.runtime.devices import threads
from efface.runtime.seeds import unchanged_globals
from efface.task import Task
from efface.types import Indices

PROBE_STEPS = 3


@dataclass(frozen=True)
class Member:
    """One model to train: on the records at `positions` of the training set of task number `task`.

    `start` is the digest of its untrained network, `key` what it is cached under.
    """

    name: str
    task: int
    positions: Indices
    seed: int
    start: str = ""
    key: str = ""


@dataclass(frozen=True)
class Work:
    """All that training an ensemble's members takes; `tasks` differ in their training records alone."""

    tasks: tuple[Task, ...]
    original: nn.Module
    recipe: Recipe
    members: tuple[Member, ...]
    by_recipe: bool


@dataclass(frozen=True)
class Outcome:
    """A trained model: its state, or the `whole` network where the state does not fit a fresh one, and its cost.

    `elsewhere` says that another process bore the cost.
    """

    state: dict[str, Tensor]
    whole: nn.Module | None
    cost: PhaseCost
    elsewhere: bool = False


class StrangerError(Exception):
    """This process makes another untrained network from the same seed than the one that asked for it."""


def records_of(work: Work, member: Member) -> Records:
    """The records that a member is trained on by the default recipe, and known by in either case."""
    task = work.tasks[member.task]
    return Records(task.eval_records or task.train, task)


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread, since the number of threads changes how sums are rounded; and the globals given back."""
    with threads(1), unchanged_globals():
        yield


def train_member(work: Work, number: int, same_start: bool = False) -> Outcome:
    """Train a member in this process; raises RequestError or DivergedError with its name in front.

    With `same_start`, raises StrangerError where its untrained network is not the one that its key was made from.
    """
    member = work.members[number]
    task = work.tasks[member.task]
    own = Meter()
    with one_thread():
        fresh = fresh_model(task, work.original, member.seed)
        if same_start and weights_digest(fresh) != member.start:
            raise StrangerError
        with naming(member.name), own.phase("member"):
            model = retrain(task, work.original, member.positions, member.seed, own, work.recipe)
        fits = _fits(model, fresh)
    state = {name: tensor.detach() for name, tensor in model.state_dict().items()} if fits else {}
    return Outcome(state, None if fits else model, own.cost().total)


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Put a member's name before what its training raises, which becomes one of efface's own errors."""
    try:
        yield
    except DivergedError as error:
        raise DivergedError(f"{name}: {error}") from error
    except RequestError as error:
        raise RequestError([f"{name}: {problem}" for problem in error.problems]) from error
    except EffaceError:
        raise
    except Exception as error:  # the user's own code
        raise RequestError(f"{name}: training raised {describe_error(error)}") from error


def member_seconds(work: Work, number: int) -> float | None:
    """About how long training a member by the default recipe takes; None for `Task.fit`, which cannot be tried."""
    if not work.by_recipe:
        return None
    member, recipe = work.members[number], work.recipe
    task, rows = work.tasks[member.task], member.positions[: PROBE_STEPS * recipe.batch]
    short = replace(recipe, epochs=1, least_steps=PROBE_STEPS)
    taken = []
    try:
        with one_thread():
            for _ in range(2):  # the first steps of a process are slow
                model = fresh_model(task, work.original, member.seed)
                started = time.perf_counter()
                train(task, model, records_of(work, member), rows, short, member.seed, Meter())
                taken.append(time.perf_counter() - started)
    except Exception:  # training proper meets it again, and reports it
        return 0.0
    return min(taken) / short.steps(len(rows)) * recipe.steps(len(member.positions))


def _fits(model: nn.Module, fresh: nn.Module) -> bool:
    """Whether a fresh network that takes over the state of `model` is the same as it in all that training sets."""
    ours, theirs = model.state_dict(), fresh.state_dict()
    if structure(model) != structure(fresh) or list(ours) != list(theirs):
        return False
    if not all(isinstance(t, Tensor) for t in ours.values()):
        return False
    if any((ours[n].shape, ours[n].dtype) != (theirs[n].shape, theirs[n].dtype) for n in ours):
        return False
    kept, made = dict(model.named_buffers()), dict(fresh.named_buffers())
    return kept.keys() == made.keys() and all(
        # buffers that no state dict holds stay as they were made
        n in ours or (b.shape == made[n].shape and torch.equal(b.to(made[n]), made[n]))
        for n, b in kept.items()
    )
