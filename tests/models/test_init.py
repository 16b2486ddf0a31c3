"""Untrained networks: none that the caller holds, none that keeps what was trained, each in its original's dtypes."""

import numpy as np
import pytest
import torch
from torch import nn

from efface import Recipe, RequestError
from efface.models.init import fresh_model, try_fresh
from efface.models.training import retrain
from efface.runtime.cost import Meter
from helpers.refused import Adapted
from helpers.tiny import CLASSES, FEATURES, Tiny, bits, mlp, weights


def test_a_network_that_the_caller_holds_is_not_trained(tiny: Tiny) -> None:
    held = mlp()
    before = bits(held)
    fresh = fresh_model(tiny.task(build_model=lambda: held), tiny.model, 0)
    assert not {id(p) for p in fresh.parameters()} & {id(p) for p in held.parameters()}
    retrain(tiny.task(build_model=lambda: held), tiny.model, np.arange(100), 0, Meter(), Recipe(least_steps=3))
    assert bits(held) == before


def test_a_frozen_network_is_let_move_and_a_partly_frozen_one_stays_so(tiny: Tiny) -> None:
    fresh = fresh_model(tiny.task(build_model=lambda: mlp().requires_grad_(False)), tiny.model, 0)
    assert all(p.requires_grad for p in fresh.parameters())

    def partly() -> nn.Module:
        made = mlp()
        made[0].requires_grad_(False)
        return made

    fresh = fresh_model(tiny.task(build_model=partly), tiny.model, 0)
    assert [p.requires_grad for p in fresh.parameters()] == [False, False, True, True]


def test_each_parameter_gets_its_own_dtype(tiny: Tiny) -> None:
    original = mlp()
    original[2].double()
    fresh = fresh_model(tiny.task(build_model=mlp), original, 0)
    assert [p.dtype for p in fresh.parameters()] == [torch.float32, torch.float32, torch.float64, torch.float64]
    other = fresh_model(tiny.task(build_model=lambda: nn.Sequential(nn.Identity(), mlp())), original, 0)
    assert {p.dtype for p in other.parameters()} == {torch.float32}
    assert {p.dtype for p in fresh_model(tiny.task(build_model=mlp), mlp().bfloat16(), 0).parameters()} == {
        torch.bfloat16
    }


def test_a_fresh_network_keeps_nothing_of_an_adapter(tiny: Tiny) -> None:
    original = nn.Sequential(Adapted(), nn.ReLU(), nn.Linear(8, CLASSES))
    (line,) = try_fresh(tiny.task(), original)[1]
    assert line.startswith("no module resets 0.down, 0.up by") and line.endswith("give Task.build_model")
    with pytest.raises(RequestError, match=r"0\.down, 0\.up"):
        fresh_model(tiny.task(), original, 0)


def test_tied_weights_start_afresh_and_stay_tied(tiny: Tiny) -> None:
    original = nn.Sequential(nn.Linear(FEATURES, FEATURES), nn.Linear(FEATURES, FEATURES), nn.Linear(FEATURES, 3))
    original[1].weight = original[0].weight
    fresh = fresh_model(tiny.task(), original, 0)
    assert fresh[1].weight is fresh[0].weight and fresh[0].weight.isfinite().all()
    assert not torch.equal(fresh[0].weight, original[0].weight)


def test_an_integer_parameter_cannot_be_made_to_move(tiny: Tiny) -> None:
    original = mlp()
    original.register_parameter("count", nn.Parameter(torch.tensor(3), requires_grad=False))
    fresh = fresh_model(tiny.task(), original, 0)
    assert fresh.count == 3 and not fresh.count.requires_grad and fresh[0].weight.requires_grad


def test_a_fresh_network_is_like_the_original_and_knows_nothing_of_it(tiny: Tiny) -> None:
    original = nn.Sequential(tiny.fresh(), nn.BatchNorm1d(CLASSES)).double().requires_grad_(False)
    original.train()(tiny.x.double())  # moves the running statistics
    before = bits(original)
    for task in (tiny.task(), tiny.task(build_model=lambda: nn.Sequential(mlp(), nn.BatchNorm1d(CLASSES)))):
        fresh, again, other = (fresh_model(task, original, seed) for seed in (0, 0, 1))
        assert weights(fresh) == weights(again) != weights(other)
        assert next(fresh.parameters()).dtype == torch.float64
        assert all(p.requires_grad for p in fresh.parameters())
        assert fresh[1].running_mean.eq(0).all() and fresh[1].num_batches_tracked == 0
    assert bits(original) == before


def test_parameters_that_no_module_resets_are_listed(tiny: Tiny) -> None:
    original = nn.Sequential(mlp(), nn.ParameterList([torch.ones(1) for _ in range(5)]))
    with pytest.raises(RequestError, match=r"no module resets 1\.0, 1\.1, 1\.2 and 2 more"):
        fresh_model(tiny.task(), original, 0)
