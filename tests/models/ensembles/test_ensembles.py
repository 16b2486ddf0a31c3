"""Ensembles: the same models however they are trained, each one kept once it is done."""

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from efface import DivergedError, RequestError
from efface.models.checkpoint import save_weights
from efface.models.ensembles import ModelSpec
from efface.models.training import retrain
from efface.runtime.cost import Meter
from helpers.recipes import (
    MOST,
    SHORT,
    all_weights,
    bias_fit,
    drawing,
    noted,
    noting,
    specs,
    trained,
)
from helpers.tiny import Tiny, mlp, records, weights


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


def test_divergence_and_errors_of_hooks_name_the_model(tiny: Tiny) -> None:
    with pytest.raises(DivergedError, match=r"^model 1 of 3 \(seed 0\): training by the default recipe diverged"):
        trained(tiny.task(train=TensorDataset(tiny.x * float("inf"), tiny.y)), tiny.model)

    def forward(model: nn.Module, inputs: Tensor) -> Tensor:
        raise KeyError("mask")

    with pytest.raises(RequestError, match=r"model 1 of 3 \(seed 0\): training raised KeyError"):
        trained(tiny.task(forward=forward), tiny.model, jobs=None)


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


def test_a_network_of_another_kind_is_given_back_but_not_kept(tiny: Tiny, tmp_path: Path) -> None:
    def fit(model: nn.Module, dataset: Any, seed: int) -> nn.Module:
        return nn.Sequential(model, nn.Softplus())

    with pytest.warns(UserWarning, match="cache: Task.fit returns networks of another structure") as warned:
        found = trained(tiny.task(fit=fit), tiny.model, cache=tmp_path)
    assert len(warned) == 1 == len(found.notes)
    assert all(isinstance(m[1], nn.Softplus) for m in found.models)
    assert not list(tmp_path.iterdir())
