"""Training members in other processes: each gets the data once, and gives back one member at a time."""

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cloudpickle  # type: ignore[import-untyped]
import torch
from joblib.externals.loky import (  # type: ignore[import-untyped]
    FIRST_COMPLETED,
    BrokenProcessPool,
    ProcessPoolExecutor,
    wait,
)

from efface.ensembles.members import Outcome, StrangerError, Work, train_member
from efface.errors import DivergedError, RequestError

# libraries read these as they are imported, before torch.set_num_threads could tell them
ENVIRONMENT = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


@dataclass(frozen=True)
class _Failure:
    """What training a member raised; efface's own errors do not come through a pickle as they were."""

    problems: tuple[str, ...]
    diverged: bool


@dataclass(frozen=True)
class _Settings:
    """What a process can set for all of torch; a new process starts without."""

    dtype: torch.dtype
    deterministic: bool
    warn_only: bool
    precision: str

    @classmethod
    def now(cls) -> "_Settings":
        return cls(
            torch.get_default_dtype(),
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.get_float32_matmul_precision(),
        )

    def apply(self) -> None:
        torch.set_default_dtype(self.dtype)
        torch.use_deterministic_algorithms(self.deterministic, warn_only=self.warn_only)
        torch.set_float32_matmul_precision(self.precision)


def train_in_workers(work: Work, todo: Sequence[int], jobs: int) -> Iterator[tuple[int, Outcome]]:
    """Train members in `jobs` processes and give each as it is done; leaves out what other processes cannot train.

    That is all of them where the task cannot be pickled or its modules cannot be imported there, and what a worker
    that was killed had not given back. Raises RequestError or DivergedError once the others that are done are given.
    """
    try:
        payload = cloudpickle.dumps((_Settings.now(), _needed(work)))
    except Exception:  # a user's own objects can raise anything here
        return
    pool = ProcessPoolExecutor(jobs, initializer=_hold, initargs=(payload,), env=ENVIRONMENT)
    whole = False
    try:
        running = {pool.submit(_train, i): i for i in todo}
        while running:
            failure = None
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                number = running.pop(future)
                answer = pickle.loads(future.result())
                if isinstance(answer, Outcome):
                    yield number, answer
                failure = answer if isinstance(answer, _Failure) else failure
            if failure is not None:
                raise DivergedError(*failure.problems) if failure.diverged else RequestError(failure.problems)
        whole = True
    except BrokenProcessPool:
        return
    finally:
        pool.shutdown(wait=True, kill_workers=not whole)


def _needed(work: Work) -> Work:
    """The work without the records that no training reads."""
    tasks = []
    for task in work.tasks:
        small = replace(task, holdout=[], test=None, ids=None, perturb=None)  # type: ignore[arg-type]
        if work.by_recipe:
            small = replace(small, train=task.eval_records or task.train, eval_records=None)
        tasks.append(small)
    return replace(work, tasks=tuple(tasks))


_payload: bytes | None = None
_work: Work | None = None


def _hold(payload: bytes) -> None:
    global _payload
    _payload = payload


def _train(number: int) -> bytes:
    """In a worker: a pickled Outcome or _Failure, or None for what this process cannot train.

    Bytes, since loky's own pickling of tensors depends on what else torch has set up.
    """
    global _payload, _work
    if _work is None:
        if _payload is None:
            return pickle.dumps(None)
        try:
            settings, _work = pickle.loads(_payload)
            settings.apply()
        except Exception:  # a module that only the first process can import
            return pickle.dumps(None)
        finally:
            _payload = None
    try:
        outcome = train_member(_work, number, same_start=True)
    except RequestError as error:
        return pickle.dumps(_Failure(error.problems, False))
    except DivergedError as error:
        return pickle.dumps(_Failure((str(error),), True))
    except StrangerError:
        return pickle.dumps(None)
    try:
        state = {name: tensor.cpu() for name, tensor in outcome.state.items()}
        return bytes(cloudpickle.dumps(replace(outcome, state=state, elsewhere=True)))
    except Exception:  # a network of the user's own making
        return pickle.dumps(None)
