"""Pieces of work in processes of joblib's choice, and how long the rest of them will take."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib  # type: ignore[import-untyped]
import numpy as np

from benchmarks.harness.files import write_whole
from efface.errors import EffaceError, RequestError
from efface.runtime.processes import worker_settings

FOUND = 0.1  # share of its guess that a job takes at the most where all was found


@dataclass(frozen=True)
class Job:
    """A piece of work for one process: `work()` gives JSON for `target`, or nothing to write."""

    name: str
    guess: float  # CPU seconds
    call: Callable[..., Any]
    arguments: tuple[Any, ...]
    target: Path | None = None


@dataclass
class Pace:
    """How guesses have compared with the truth so far."""

    jobs: int
    progress: Callable[[str, float], None]
    left: float
    guessed: float = 1.0  # CPU seconds of what is done
    spent: float = 1.0

    def done(self, job: Job, seconds: float) -> None:
        """Note that a job is done, and report it with the time that is probably left."""
        self.left = max(0.0, self.left - job.guess)
        if seconds > FOUND * job.guess:  # else its models were found in the cache, which says nothing of the others
            self.guessed += job.guess
            self.spent += seconds
        self.progress(f"{job.name} ({seconds:.1f} s)", self.left * self.spent / self.guessed / self.jobs)


def do(todo: list[Job], jobs: int, pace: Pace) -> None:
    """Do all jobs in so many processes, each file written as soon as it is made."""
    if not todo:
        return
    # the longest first, so that no process is left alone at the end
    todo = sorted(todo, key=lambda j: -j.guess)
    work = (joblib.delayed(_work)(number, job) for number, job in enumerate(todo))
    parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1, **worker_settings())
    for number, seconds in parallel(work):
        pace.done(todo[number], seconds)


def _work(number: int, job: Job) -> tuple[int, float]:
    start = time.perf_counter()
    try:
        made = job.call(*job.arguments)
    except EffaceError as error:
        raise RequestError(f"{job.name}: {error}") from error
    except Exception as error:  # of a method, or of the machine
        raise RequestError(f"{job.name}: {type(error).__name__}: {error}") from error
    if job.target is not None:
        write_whole(job.target, json.dumps(_without_nan(made), indent=1, allow_nan=False) + "\n")
    return number, time.perf_counter() - start


def _without_nan(value: Any) -> Any:
    """JSON has no NaN and no infinity: both become null."""
    if isinstance(value, Mapping):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
