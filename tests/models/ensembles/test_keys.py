"""Keys of cached models: never a model of other data, of another recipe or network."""

import dataclasses
import functools
import os
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from efface import Task
from efface.models.ensembles import ModelSpec
from helpers import recipes
from helpers.recipes import (
    MOST,
    SHORT,
    Decorated,
    Doubler,
    Fitter,
    Scaled,
    all_weights,
    bias_fit,
    by_a_helper,
    drawing,
    found_in,
    scaled,
    specs,
    trained,
    with_default,
)
from helpers.tiny import CLASSES, FEATURES, Tiny, mlp


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
        "tiny = make_tiny()\n"
        "for fit in (bias_fit, by_a_helper, Doubler(torch.tensor(2.0))):\n"
        "    print(found_in(Path(sys.argv[1]), tiny.task(fit=fit), Scaled(1.0)))"
    )
    path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1"},
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
