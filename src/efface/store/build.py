"""Making the new model of a run, by one process or by several that were launched together."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from safetensors import SafetensorError
from torch import Tensor, nn

from efface.errors import CheckpointError, DivergedError, EffaceError, RequestError
from efface.models.checkpoint import load_weights, save_weights
from efface.models.training import Recipe, retrain
from efface.parallel import share, unlearn
from efface.runtime.cost import Meter
from efface.store.context import StoreContext
from efface.store.errors import BusyError, DamagedError, StorageError, StoreError
from efface.store.failpoints import armed, reach
from efface.store.plan import Outcome, Plan
from efface.store.task_view import Remaining, named, subset_task
from efface.task import Task, missing_build_model
from efface.types import Indices

# as which the other processes raise what the main one raised
KINDS = {k.__name__: k for k in (DivergedError, RequestError, StoreError, DamagedError, BusyError, StorageError)}


@dataclass(frozen=True)
class Work:
    """What every process has to know to unlearn the same records from the same model.

    version, file: number and hash of the checkpoint to start from. positions, mark: see `Remaining`. leaving: the tag
    of each record to forget, by position.
    """

    version: int
    file: str
    positions: Sequence[int]
    mark: str
    leaving: Mapping[int, str]
    plan: Plan


@dataclass(frozen=True)
class End:
    """How the main process ended a run: with an outcome, or with an error of a kind and its lines."""

    outcome: Outcome | None
    kind: str = ""
    problems: tuple[str, ...] = ()


def load(task: Task, path: Any, device: torch.device) -> nn.Module:
    """The network of a checkpoint."""
    if task.build_model is None:
        raise RequestError(missing_build_model())
    model = task.build_model()
    load_weights(model, path)
    return model.to(device).eval()


def save(model: nn.Module, path: Any) -> None:
    """Write a checkpoint; StorageError where the disk does not take it."""
    try:
        save_weights(model, path)
    except CheckpointError as error:
        if not isinstance(error.__cause__, OSError | SafetensorError):
            raise  # weights of a kind that no file takes
        raise StorageError(error.problems) from error  # the request was fine: it is the disk that is not


def make(
    core: StoreContext,
    left: Remaining,
    leaving: Mapping[int, str],
    plan: Plan,
    device: torch.device,
    progress: bool | None,
) -> tuple[nn.Module, dict[str, Any]]:
    """The new model, and what is to be noted of how it was made; the other processes are told to take part."""
    if plan.retrain:
        stay: Indices = np.flatnonzero(~np.isin(np.asarray(left.positions), list(leaving)))
        task = to_forget(left, leaving)
        assert task.build_model is not None  # see check_plan
        with _waiting("training anew by Task.fit", progress):
            made = retrain(task, task.build_model().to(device), stay, plan.seed, Meter(), Recipe())
        reach("run.unlearned")
        return made, {"reference": None, "cpu_s": None, "warnings": []}
    serving = core.history().serving
    work = Work(serving.number, serving.file, left.positions, left.mark, leaving, plan)
    share(work)
    return _unlearned(core, left, work, device, progress)


def follow(core: StoreContext, task: Task, device: torch.device) -> Outcome:
    """The part of a process that is not the main one: it works as told, and ends as the main one does."""
    order: object = share(None)
    while isinstance(order, Work):
        with suppress(EffaceError):  # the main process raises it too, and tells what becomes of the run
            _unlearned(core, subset_task(task, order.positions, order.mark), order, device, False)
        order = share(None)
    if not isinstance(order, End) or order.outcome is None:
        kind, problems = (order.kind, order.problems) if isinstance(order, End) else ("", ())
        raise KINDS.get(kind, EffaceError)(problems or f"the main process failed: {kind}")
    return order.outcome


def ended(outcome: Outcome | None, error: BaseException | None = None) -> None:
    """Tell the other processes how the run ended."""
    own = (str(error),) if isinstance(error, EffaceError) else ()
    share(End(outcome, "" if error is None else type(error).__name__, tuple(getattr(error, "problems", own))))


def to_forget(left: Remaining, leaving: Mapping[int, str]) -> Task:
    """The task of a run, in which records that are to be forgotten have tags for ids."""
    task = named(left, leaving)
    return _watched(task) if armed() else task


def _unlearned(
    core: StoreContext, left: Remaining, work: Work, device: torch.device, progress: bool | None
) -> tuple[nn.Module, dict[str, Any]]:
    task, plan = to_forget(left, work.leaving), work.plan
    original = load(task, core.folder.checked("checkpoints", work.file, f"version {work.version}"), device)
    reach("run.checkpoint-read")
    forget, method = sorted(work.leaving.values()), plan.chosen()
    result = unlearn(original, forget=forget, task=task, method=method, seed=plan.seed, progress=progress)
    reach("run.unlearned")
    return result.model, {
        "reference": result.reference,
        "cpu_s": round(result.cost.cpu_s, 3),
        "warnings": list(result.warnings),
    }


@contextmanager
def _waiting(what: str, show: bool | None) -> Iterator[None]:
    """How long something takes whose steps nobody counts, on a terminal."""
    if not (sys.stderr.isatty() if show is None else show):
        yield
        return
    with Progress(SpinnerColumn(), TextColumn(what), TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        bar.add_task(what, total=None)
        yield


def _watched(task: Task) -> Task:
    def forward(model: nn.Module, inputs: Any) -> Tensor:
        reach("unlearn.forward")
        return task.forward(model, inputs)

    return replace(task, forward=forward)
