"""Training models by joblib, in processes of this machine or wherever `joblib.parallel_config` says."""

import pickle
import threading
import warnings
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import joblib  # type: ignore[import-untyped]
import numpy as np
import torch
from numpy.typing import NDArray

from efface.ensembles.training import TrainedModel, Workload, train_one
from efface.errors import EffaceError
from efface.models.checkpoint import weights_digest
from efface.models.init import fresh_model

# global settings of torch, which a new process does not inherit
SETTINGS: tuple[tuple[Any, Any], ...] = (
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
)

# random numbers are a process's own: where workers are threads of one process, they take turns
_TURN = threading.Lock()


def train_in_workers(load: Workload, todo: Sequence[int], jobs: int) -> Iterator[tuple[int, TrainedModel]]:
    """Train models in workers, and yield each with its number as soon as it is trained.

    Models that workers cannot train are left out: all of them if the task cannot be pickled or its modules cannot be
    imported in a worker, and the rest if a worker is killed.

    Args:
        load: The workload.
        todo: Numbers of the jobs to do.
        jobs: Number of workers.

    Raises:
        RequestError: A training failed.
        DivergedError: Weights became NaN or infinite.
    """
    settings = [current() for current, _ in SETTINGS]
    try:
        payload = cloudpickle.dumps((settings, _needed(load)))
    except Exception:  # a user's own objects can raise anything here
        return
    # as an array, which joblib hands over once and not with every job
    shared = np.frombuffer(payload, dtype=np.uint8)
    work = (joblib.delayed(_train_apart)(shared, number) for number in todo)
    parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)
    try:
        with _closing(parallel(work)) as answers:
            for number, packed in answers:
                answer = None if packed is None else pickle.loads(packed)
                if isinstance(answer, EffaceError):
                    raise answer
                if answer is not None:
                    yield number, answer
    except BrokenProcessPool:  # a worker was killed
        return


def _needed(load: Workload) -> Workload:
    """The jobs without the records that no training reads."""
    small = {id(job.task): job.task for job in load.jobs}
    for key, task in small.items():
        small[key] = replace(task, holdout=[], test=None, ids=None, perturb=None, describe=None)
        small[key] = replace(small[key], groups=None, holdout_groups=None, test_groups=None)
        if task.fit is None:
            small[key] = replace(small[key], train=task.eval_records or task.train, eval_records=None)
    return replace(load, jobs=tuple(replace(job, task=small[id(job.task)]) for job in load.jobs))


def _train_apart(payload: NDArray[np.uint8], number: int) -> tuple[int, bytes | None]:
    """In a worker: a pickled TrainedModel or EffaceError, or None for what this process cannot train.

    Bytes, since joblib's own pickling of tensors depends on what else torch has set up.
    """
    try:
        settings, load = pickle.loads(payload.data)
    except Exception:  # a module that only the first process can import
        return number, None
    answer: TrainedModel | EffaceError
    with _TURN, _set(settings):
        try:
            fresh = fresh_model(load.jobs[number].task, load.original, load.jobs[number].seed)
            if weights_digest(fresh) != load.jobs[number].start:  # another network than the one asked for
                return number, None
            one = train_one(load, number)
            answer = replace(one, model=one.model.cpu(), elsewhere=True)
        except EffaceError as error:
            answer = error
    try:
        return number, cloudpickle.dumps(answer)
    except Exception:  # a network of the user's own making
        return number, None


@contextmanager
def _closing(answers: Generator[Any]) -> Iterator[Generator[Any]]:
    try:
        yield answers
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # joblib warns of work that it gives up, as it is meant to
            answers.close()


@contextmanager
def _set(settings: Sequence[Any]) -> Iterator[None]:
    before = [current() for current, _ in SETTINGS]
    try:
        for (_, change), value in zip(SETTINGS, settings, strict=True):
            change(value)
        yield
    finally:
        for (_, change), value in zip(SETTINGS, before, strict=True):
            change(value)
