"""Workers train the same models, and what they cannot train is trained in this process."""

import multiprocessing
import os
import re
import sys
import threading
import types
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import joblib
import pytest
from torch import nn
from torch.utils.data import DataLoader

from efface import DivergedError, RequestError
from helpers.recipes import (
    all_weights,
    bias_fit,
    noted,
    noting,
    specs,
    trained,
)
from helpers.tiny import Tiny, mlp


def test_workers_are_other_processes(tiny: Tiny, tmp_path: Path) -> None:
    there = trained(tiny.task(fit=noting(tmp_path / "notes")), tiny.model, jobs=2)
    assert sorted(noted(tmp_path / "notes")) == [0, 1, 2]
    assert str(os.getpid()) not in (tmp_path / "notes").read_text().split()
    assert all_weights(there) == all_weights(trained(tiny.task(fit=bias_fit), tiny.model))


def test_dask_workers_train_the_same_models(tiny: Tiny, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")

    def fit(model: nn.Module, dataset: Any, seed: int) -> None:
        if threading.current_thread() is threading.main_thread():
            raise ValueError("not by a worker")
        bias_fit(model, dataset, seed)

    # workers in threads of this process start at once, and their trainings must take turns
    quiet = {"dashboard_address": ":0", "local_directory": str(tmp_path), "processes": False}
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=2, **quiet) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        there = trained(tiny.task(fit=fit), tiny.model, specs(6), jobs=4)
    assert all_weights(there) == all_weights(trained(tiny.task(fit=bias_fit), tiny.model, specs(6)))


@pytest.mark.parametrize("error", [ValueError("out of\npatience"), RequestError(["one", "two"]), DivergedError("far")])
def test_a_failure_in_a_worker_reads_as_one_here(error: Exception, tiny: Tiny) -> None:
    def fit(model: nn.Module, dataset: Any, seed: int) -> None:
        if seed == 1:
            raise error

    seen = []
    for jobs in (1, 2):
        with joblib.parallel_config(backend="threading"), pytest.raises((RequestError, DivergedError)) as caught:
            trained(tiny.task(fit=fit), tiny.model, jobs=jobs)
        text, count = str(caught.value).rsplit(" (", 1)
        assert re.fullmatch(r"[012] of 3 models were done, and none is kept, since there is no cache\)", count)
        seen.append((caught.type, text))
    assert seen[0] == seen[1] and "model 2 of 3 (seed 1): " in seen[0][1]


WHY = {
    "cannot be sent": r"the task cannot be sent to other processes \(TypeError: cannot pickle '_thread.lock' object",
    "cannot be read": r"the task cannot be read in other processes \(ModuleNotFoundError: .*typed_at_a_prompt",
    "starts otherwise": "the untrained network of a seed is another one in another process",
    "fails there": r"in another process, model \d of 3 \(seed \d\): Task.fit raised OSError: not here",
    "worker dies": "a worker process was killed",
}


@pytest.mark.parametrize("reason", WHY)
def test_what_workers_cannot_train_is_trained_here(
    reason: str, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, held, widths = os.getpid(), {}, iter(range(40, 60))
    if reason == "cannot be sent":
        held["lock"] = threading.Lock()
    if reason == "cannot be read":  # a module that no other process can import
        module = types.ModuleType("typed_at_a_prompt")
        exec("class Odd: pass", module.__dict__)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        held["odd"] = module.Odd()

    def fit(model: nn.Module, dataset: Any, seed: int) -> None:
        assert held is not None
        if os.getpid() != here and reason == "fails there":
            raise OSError("not here")
        if os.getpid() != here:
            os._exit(1)
        inner(model, dataset, seed)

    inner = noting(tmp_path / "notes")
    build = (lambda: mlp(next(widths))) if reason == "starts otherwise" else None
    with pytest.warns(UserWarning, match=f"one after the other, in this process: {WHY[reason]}") as warned:
        found = trained(tiny.task(fit=fit, build_model=build), tiny.model, jobs=2)
    assert [str(w.message) for w in warned] == list(found.notes) and len(found.notes) == 1
    lines = (tmp_path / "notes").read_text().splitlines()
    assert sorted(lines) == [f"{seed} {here}" for seed in range(3)] and len(found.models) == 3


def by_a_loader(model: nn.Module, dataset: Any, seed: int) -> None:
    for persistent in (False, True):
        loader = DataLoader(dataset, batch_size=64, num_workers=2, persistent_workers=persistent)
        assert sum(len(targets) for _, targets in [*loader, *loader]) == 2 * len(dataset)
    bias_fit(model, dataset, seed)


def by_a_pool(model: nn.Module, dataset: Any, seed: int) -> None:
    with multiprocessing.Pool(2) as pool, ProcessPoolExecutor(1) as executor:
        assert pool.map(abs, [-1, -2]) == [1, 2] == list(executor.map(abs, [-1, -2]))
    bias_fit(model, dataset, seed)


@pytest.mark.parametrize("fit", [by_a_loader, by_a_pool])
def test_a_fit_may_start_processes_whatever_the_number_of_jobs(fit: Callable[..., None], tiny: Tiny) -> None:
    method = multiprocessing.get_start_method(allow_none=True)
    found = [trained(tiny.task(fit=fit), tiny.model, jobs=jobs) for jobs in (1, 2)]
    assert all_weights(found[0]) == all_weights(found[1]) and not found[1].notes, "workers trained them"
    assert multiprocessing.get_start_method(allow_none=True) == method


def test_little_work_is_done_without_workers(tiny: Tiny, tmp_path: Path) -> None:
    trained(tiny.task(fit=noting(tmp_path / "notes")), tiny.model, jobs=None)
    lines = (tmp_path / "notes").read_text().splitlines()
    assert lines == [f"{seed} {os.getpid()}" for seed in range(3)]
