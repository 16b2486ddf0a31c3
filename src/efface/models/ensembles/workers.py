"""Training models by joblib, in processes of this machine or wherever `joblib.parallel_config` says."""

import pickle
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

from efface.errors import DivergedError, EffaceError, RequestError, describe_error
from efface.models.checkpoint import weights_digest
from efface.models.ensembles.training import TURN, TrainedModel, Workload, train_one
from efface.models.init import fresh_model
from efface.runtime.processes import worker_settings

# global settings of torch, which a new process does not inherit
SETTINGS: tuple[tuple[Any, Any], ...] = (
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
)


def train_in_workers(load: Workload, todo: Sequence[int], jobs: int) -> Generator[tuple[int, TrainedModel | str]]:
    """Train models in workers, and yield each with its number as soon as it is trained.

    Where workers cannot train a model, the reason takes its place and comes last: the task cannot be sent to them or
    read there, the training failed there, or a worker was killed. This process may still be able to.

    Args:
        load: The workload.
        todo: Numbers of the jobs to do.
        jobs: Number of workers.

    Raises:
        DivergedError: Weights became NaN or infinite.
    """
    settings = [current() for current, _ in SETTINGS]
    try:
        payload = cloudpickle.dumps((settings, _needed(load)))
    except Exception as error:  # a user's own objects can raise anything here
        yield todo[0], f"the task cannot be sent to other processes ({describe_error(error)})"
        return
    # as an array, which joblib hands over once and not with every job
    shared = np.frombuffer(payload, dtype=np.uint8)
    failed: dict[int, EffaceError | str] = {}
    work = (joblib.delayed(_train_apart)(shared, number) for number in todo if not failed)
    # once one failed no more are begun, but what others have begun is not lost
    parallel = joblib.Parallel(
        n_jobs=jobs, return_as="generator_unordered", batch_size=1, pre_dispatch=jobs, **worker_settings()
    )
    left = dict.fromkeys(todo)
    try:
        with _closing(parallel(work)) as answers:
            for number, packed in answers:
                answer = packed if isinstance(packed, str) else pickle.loads(packed)
                if isinstance(answer, TrainedModel):
                    del left[number]
                    yield number, answer
                else:
                    failed[number] = answer
    except BrokenProcessPool:
        failed[next(iter(left))] = "a worker process was killed, by the system if memory was short"
    for number, reason in failed.items():
        if isinstance(reason, EffaceError):
            raise reason
        yield number, reason


def _needed(load: Workload) -> Workload:
    """The jobs without the records that no training reads."""
    small = {id(job.task): job.task for job in load.jobs}
    for key, task in small.items():
        small[key] = replace(task, holdout=[], test=None, ids=None, perturb=None, describe=None)
        small[key] = replace(small[key], groups=None, holdout_groups=None, test_groups=None)
        if task.fit is None:
            small[key] = replace(small[key], train=task.eval_records or task.train, eval_records=None)
    return replace(load, jobs=tuple(replace(job, task=small[id(job.task)]) for job in load.jobs))


def _train_apart(payload: NDArray[np.uint8], number: int) -> tuple[int, bytes | str]:
    """In a worker: a pickled TrainedModel or DivergedError, or the reason why this process cannot train the model.

    Bytes, since joblib's own pickling of tensors depends on what else torch has set up.
    """
    try:
        settings, load = pickle.loads(payload.data)
    except Exception as error:  # a module that only the first process can import
        return number, f"the task cannot be read in other processes ({describe_error(error)})"
    answer: TrainedModel | DivergedError
    with TURN, _set(settings):
        try:
            fresh = fresh_model(load.jobs[number].task, load.original, load.jobs[number].seed)
            if weights_digest(fresh) != load.jobs[number].start:
                return number, "the untrained network of a seed is another one in another process"
            one = train_one(load, number)
            answer = replace(one, model=one.model.cpu(), elsewhere=True)
        except DivergedError as error:
            answer = error
        except RequestError as error:
            return number, f"in another process, {'; '.join(error.problems)}"
    try:
        return number, cloudpickle.dumps(answer)
    except Exception as error:  # a network of the user's own making
        return number, f"the trained model cannot be sent back from other processes ({describe_error(error)})"


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
