"""Ensembles: the same models however they are trained, each one kept once it is done, and never a stale one."""

import dataclasses
import functools
import multiprocessing
import os
import random
import re
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from efface import DivergedError, RequestError, Task
from efface.ensembles import ModelSpec, TrainedEnsemble
from efface.models.checkpoint import save_weights
from efface.models.training import retrain
from efface.runtime.cost import Meter
from helpers import recipes
from helpers.recipes import (
    MOST,
    SHORT,
    Decorated,
    Doubler,
    Fitter,
    Scaled,
    bias_fit,
    by_a_helper,
    found_in,
    scaled,
    specs,
    trained,
    with_default,
)
from helpers.tiny import CLASSES, FEATURES, Tiny, mlp, records, weights


def all_weights(found: TrainedEnsemble) -> list[dict[str, bytes]]:
    return [weights(model) for model in found.models]


def noting(place: Path, fail: int | None = None) -> Callable[..., None]:
    """The same, with a line in a file for each model: its seed and the process."""

    def fit(model: nn.Module, dataset: Any, seed: int) -> None:
        with place.open("a") as notes:
            notes.write(f"{seed} {os.getpid()}\n")
        if seed == fail:
            raise ValueError("out of\npatience")
        bias_fit(model, dataset, seed)

    return fit


def noted(place: Path) -> list[int]:
    return [int(line.split()[0]) for line in place.read_text().splitlines()]


def drawing() -> nn.Module:
    """A network that draws at random and keeps statistics."""
    return nn.Sequential(nn.BatchNorm1d(FEATURES), nn.Dropout(0.2), mlp())


def test_models_are_the_same_whatever_trains_or_keeps_them(tiny: Tiny, tmp_path: Path) -> None:
    task, original = tiny.task(), drawing()
    other = TensorDataset(*records(120, seed=7))
    wanted = [*specs(), ModelSpec(other, np.arange(100), 0), ModelSpec(None, MOST[::-1].copy(), 0)]
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    meter, far = Meter(), Meter()
    with meter.phase("ensemble"):
        here = trained(task, original, wanted, meter)
    with far.phase("ensemble"):
        elsewhere = trained(task, original, wanted, far, jobs=2, cache=tmp_path / "a")
    kept = trained(task, original, wanted, cache=tmp_path / "b")
    again = [trained(task, original, wanted, cache=tmp_path / c) for c in "ab"]
    for found in (elsewhere, kept, *again):
        assert all_weights(found) == all_weights(here)
    assert [found.found for found in (elsewhere, kept, *again)] == [0, 0, len(wanted), len(wanted)]
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1] and np.random.get_state()[1].tolist() == states[2]

    alone = [
        retrain(tiny.task(train=s.dataset or task.train), original, s.positions, s.seed, Meter(), SHORT) for s in wanted
    ]
    assert [weights(m) for m in alone] == all_weights(here)

    # what the workers spent, which this process's clock does not show, is charged
    spent, own = far.cost().phases["ensemble"], meter.cost().phases["ensemble"]
    assert (spent.forward, spent.backward) == (own.forward, own.backward) and own.forward > 0
    assert elsewhere.cost is not None and spent.cpu_s >= len(wanted) * elsewhere.cost.cpu_s > 0


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


def test_what_is_found_is_not_trained_again(tiny: Tiny, tmp_path: Path) -> None:
    task, cache = tiny.task(fit=noting(tmp_path / "notes")), tmp_path / "cache"
    first = trained(task, tiny.model, cache=cache)
    assert (first.found, noted(tmp_path / "notes")) == (0, [0, 1, 2]) and first.cost is not None
    more = trained(task, tiny.model, specs(4), cache=cache)
    assert (more.found, noted(tmp_path / "notes")) == (3, [0, 1, 2, 3])
    assert all_weights(more)[:3] == all_weights(first)
    assert trained(task, tiny.model, cache=cache).cost is None
    assert {p.suffix for p in cache.iterdir()} == {".safetensors"}


def test_what_was_done_before_a_failure_is_kept(tiny: Tiny, tmp_path: Path) -> None:
    failing, cache = tiny.task(fit=noting(tmp_path / "notes", fail=2)), tmp_path / "cache"
    with pytest.raises(RequestError) as caught:
        trained(failing, tiny.model, specs(4), cache=cache)
    assert caught.value.problems == (
        "model 3 of 4 (seed 2): Task.fit raised ValueError: out of patience (2 of 4 models were done, of which the "
        f"cache {cache} keeps 2 for the next call)",
    )
    assert trained(failing, tiny.model, specs(2), cache=cache).found == 2
    assert noted(tmp_path / "notes") == [0, 1, 2]


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
        assert re.fullmatch(r"[01] of 3 models were done, and none is kept, since there is no cache\)", count)
        seen.append((caught.type, text))
    assert seen[0] == seen[1] and "model 2 of 3 (seed 1): " in seen[0][1]


def test_divergence_and_errors_of_hooks_name_the_model(tiny: Tiny) -> None:
    with pytest.raises(DivergedError, match=r"^model 1 of 3 \(seed 0\): training by the default recipe diverged"):
        trained(tiny.task(train=TensorDataset(tiny.x * float("inf"), tiny.y)), tiny.model)

    def forward(model: nn.Module, inputs: Tensor) -> Tensor:
        raise KeyError("mask")

    with pytest.raises(RequestError, match=r"model 1 of 3 \(seed 0\): training raised KeyError"):
        trained(tiny.task(forward=forward), tiny.model, jobs=None)


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


def test_what_makes_no_sense_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="jobs: expected a number of processes, got 0"):
        trained(tiny.task(), tiny.model, jobs=0)
    with pytest.raises(RequestError, match=r"model 1 of 1 \(seed 0\): there are no records"):
        trained(tiny.task(), tiny.model, specs(1, np.arange(0)))
    (tmp_path / "file").touch()
    for folder, reason in (
        ("file", "is not a folder"),
        ("file/below", r"cannot be made in .*file"),
        ("x" * 300, "cannot be made: File name too long"),
        ("a\0b", "cannot be made: embedded null byte"),
    ):
        with pytest.raises(RequestError, match=reason):
            trained(tiny.task(), tiny.model, cache=tmp_path / folder)
    assert trained(tiny.task(), tiny.model, []).models == []


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def replace_by_another(file: Path) -> None:
    save_weights(mlp(), file)


def flip_a_bit(file: Path) -> None:
    held = bytearray(file.read_bytes())
    held[-1] ^= 1
    file.write_bytes(held)


@pytest.mark.parametrize("damage", [truncate, replace_by_another, flip_a_bit])
def test_damaged_files_are_made_anew(damage: Callable[[Path], None], tiny: Tiny, tmp_path: Path) -> None:
    task = tiny.task(fit=bias_fit)
    first = trained(task, tiny.model, cache=tmp_path)
    damage(next(tmp_path.iterdir()))
    again = trained(task, tiny.model, cache=tmp_path)
    assert again.found == 2 and all_weights(again) == all_weights(first)
    assert trained(task, tiny.model, cache=tmp_path).found == 3


def test_the_folder_is_closed_to_others_where_it_is_made(tiny: Tiny, tmp_path: Path) -> None:
    made, found = tmp_path / "new" / "cache", tmp_path / "old"
    before = os.umask(0)
    try:
        found.mkdir(0o755)
        for folder in (made, found):
            trained(tiny.task(fit=bias_fit), tiny.model, specs(1), cache=folder)
    finally:
        os.umask(before)
    assert [folder.stat().st_mode & 0o777 for folder in (made, found)] == [0o700, 0o755]


def test_models_of_other_data_recipes_seeds_and_networks_are_not_mixed_up(tiny: Tiny, tmp_path: Path) -> None:
    def forward(model: nn.Module, inputs: Tensor) -> Tensor:
        return model(2 * inputs)  # type: ignore[no-any-return]

    moved, unseen = tiny.x.clone(), tiny.x.clone()
    moved[MOST[0], 0] += 1
    unseen[0, 0] += 1
    same, model = tiny.task(), tiny.model
    each: list[tuple[Any, ...]] = [
        (same, model),
        (tiny.task(train=TensorDataset(moved, tiny.y)), model),
        (tiny.task(train=TensorDataset(tiny.x, tiny.y.flip(0))), model),
        (same, model, ModelSpec(None, MOST[1:], 0)),
        (same, model, ModelSpec(None, MOST[::-1].copy(), 0)),
        (same, model, ModelSpec(None, MOST, 1)),
        (tiny.task(forward=forward), model),
        (same, nn.Sequential(nn.Linear(FEATURES, 48), nn.Tanh(), nn.Linear(48, CLASSES))),
        (same, mlp(40)),
        (same, nn.Sequential(mlp(), nn.Dropout(0.1))),
        (same, nn.Sequential(mlp(), nn.Dropout(0.2))),
        (same, Scaled(1.0)),
        (same, Scaled(2.0)),
        (tiny.task(fit=bias_fit), model),
        (tiny.task(fit=bias_fit, eval_records=same.train), model),
    ]
    assert [found_in(tmp_path, *one) for one in each] == [False] * len(each)
    assert not found_in(tmp_path, same, model, recipe=dataclasses.replace(SHORT, lr=2e-2))
    assert [found_in(tmp_path, *one) for one in each] == [True] * len(each)
    # what no training sees does not count: other records, the original's weights
    assert found_in(tmp_path, tiny.task(train=TensorDataset(unseen, tiny.y)), mlp())


def bound_once(by: float, model: nn.Module, dataset: Any, seed: int) -> None:
    scaled(by)(model, dataset, seed)


def bound_twice(by: float, model: nn.Module, dataset: Any, seed: int) -> None:
    scaled(2 * by)(model, dataset, seed)


def fits() -> Iterator[Callable[..., Any]]:
    """Fits that differ in what they do."""
    yield from (
        bias_fit,
        with_default,
        by_a_helper,
        functools.partial(with_default, by=2.0),
        torch.no_grad()(scaled(3)),
    )
    yield from (Decorated(with_default, 1), Decorated(with_default, 2))
    yield from (types.MethodType(call, 1.0) for call in (bound_once, bound_twice))
    for by in (1.0, 2.0, torch.tensor(1.0), torch.tensor(2.0), np.array(1.0)):
        yield from (scaled(by), Fitter(by), Fitter(by).__call__, Doubler(by))


def test_models_of_other_fits_are_not_mixed_up(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(fit: Callable[..., Any]) -> bool:
        return found_in(tmp_path, tiny.task(fit=fit), tiny.model)

    assert not any([found(fit) for fit in fits()])
    assert all(found(fit) for fit in fits())
    monkeypatch.setattr(with_default, "__defaults__", (3.0,))
    assert not found(with_default)
    monkeypatch.setattr(recipes, "SCALE", 0.5)
    assert not found(bias_fit), "a constant that it names"
    monkeypatch.setattr(recipes, "remembered", functools.lru_cache(lambda by: 2 * by))
    assert not found(by_a_helper), "a helper that it calls"
    monkeypatch.setattr(Fitter, "__call__", Doubler.__call__)
    assert not found(Fitter(1.0)), "a method of its class"


def test_a_changed_module_that_a_fit_imports_as_it_runs_counts(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(model: nn.Module, dataset: Any, seed: int) -> None:
        import own_steps  # type: ignore[import-not-found]

        scaled(own_steps.size())(model, dataset, seed)

    monkeypatch.syspath_prepend(tmp_path)
    seen = []
    for size in ("1", "1", "22"):
        (tmp_path / "own_steps.py").write_text(f"def size():\n    return {size}\n")
        monkeypatch.delitem(sys.modules, "own_steps", raising=False)
        seen.append(found_in(tmp_path / "cache", tiny.task(fit=fit), tiny.model))
    monkeypatch.delitem(sys.modules, "own_steps")
    assert seen == [False, True, False]


def test_another_process_finds_the_models(tiny: Tiny, tmp_path: Path) -> None:
    steps = (bias_fit, by_a_helper, Doubler(torch.tensor(2.0)))
    for fit in steps:
        assert not found_in(tmp_path, tiny.task(fit=fit), Scaled(1.0))
    code = (
        "import sys, torch; from pathlib import Path; from helpers.recipes import *\n"
        "from helpers.tiny import make_tiny\n"
        "for fit in (bias_fit, by_a_helper, Doubler(torch.tensor(2.0))):\n"
        "    print(found_in(Path(sys.argv[1]), make_tiny().task(fit=fit), Scaled(1.0)))"
    )
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["True"] * len(steps)


def test_what_has_no_hash_is_trained_again_and_said(tiny: Tiny, tmp_path: Path) -> None:
    lock = threading.Lock()

    def fit(model: nn.Module, dataset: Any, seed: int) -> None:
        with lock:
            bias_fit(model, dataset, seed)

    for _ in range(2):
        with pytest.warns(UserWarning, match="the models are not kept but .* cannot pickle '_thread.lock' object"):
            assert not found_in(tmp_path, tiny.task(fit=fit), tiny.model)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("make", [drawing, lambda: Recurrent(), lambda: Hooked()])
def test_networks_of_many_kinds_are_kept(make: Callable[[], nn.Module], tiny: Tiny, tmp_path: Path) -> None:
    first = trained(tiny.task(), make(), specs(1), cache=tmp_path)
    again = trained(tiny.task(), make(), specs(1), cache=tmp_path)
    assert again.found == 1 and all_weights(again) == all_weights(first)


class Recurrent(nn.Module):
    """Holds its weights under names and in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.last = nn.LSTM(4, 8, batch_first=True), nn.Linear(8, CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(self.inner(inputs.unflatten(1, (4, 4)))[0][:, -1])  # type: ignore[no-any-return]


class Hooked(Scaled):
    """Has hooks, one of which holds the network itself."""

    def __init__(self) -> None:
        super().__init__(1.0)
        self.register_forward_pre_hook(lambda module, given: None)
        self.register_forward_hook(self.pass_on)

    def pass_on(self, module: nn.Module, given: Any, made: Tensor) -> Tensor:
        return made


def test_a_network_of_another_kind_is_given_back_but_not_kept(tiny: Tiny, tmp_path: Path) -> None:
    def fit(model: nn.Module, dataset: Any, seed: int) -> nn.Module:
        return nn.Sequential(model, nn.Softplus())

    with pytest.warns(UserWarning, match="cache: Task.fit returns networks of another structure") as warned:
        found = trained(tiny.task(fit=fit), tiny.model, cache=tmp_path)
    assert len(warned) == 1 == len(found.notes)
    assert all(isinstance(m[1], nn.Softplus) for m in found.models)
    assert not list(tmp_path.iterdir())


class Weighted(Dataset[Any]):
    """Records with a weight each, which a fit may read though no hook does."""

    def __init__(self, x: Tensor, y: Tensor, weights: Tensor, slope: float = 1.0) -> None:
        self.x, self.y, self.weights, self.slope = x, y, weights, slope

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, at: int) -> dict[str, Any]:
        return {"x": self.x[at], "y": self.y[at], "weight": self.weights[at]}


def test_what_a_fit_reads_beside_inputs_and_targets_counts(tiny: Tiny, tmp_path: Path) -> None:
    def unpack(batch: Any) -> Any:
        return batch["x"], batch["y"]

    def of(data: Dataset[Any], **changes: Any) -> Task:
        return tiny.task(train=data, unpack=unpack, fit=bias_fit, **changes)

    even, other = torch.ones(len(tiny.y)), torch.ones(len(tiny.y))
    other[MOST[3]] = 2
    rows = [{"x": x, "y": y, "weight": w} for x, y, w in zip(tiny.x, tiny.y, other, strict=True)]
    weighted = [Weighted(tiny.x, tiny.y, w) for w in (even, other)]
    steeper = Weighted(tiny.x, tiny.y, even, slope=2.0)
    tasks = [of(weighted[0]), of(weighted[1]), of(steeper), of(rows), of(weighted[1], eval_records=weighted[0])]
    for known in (False, True):
        assert [found_in(tmp_path, task, tiny.model) for task in tasks] == [known] * len(tasks)


def test_each_dataset_is_hashed_once(tiny: Tiny, tmp_path: Path) -> None:
    reads = []

    class Counted(TensorDataset):
        def __getitem__(self, at: Any) -> Any:
            reads.append(at)
            return super().__getitem__(at)

    trained(tiny.task(train=Counted(tiny.x, tiny.y), fit=bias_fit), tiny.model, specs(8), cache=tmp_path)
    assert len(reads) == len(MOST)
