"""The noise of fisher against a Fisher diagonal from whole Jacobians."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd.functional import jacobian
from torch.func import functional_call
from torch.utils.data import TensorDataset

import efface
from efface import DivergedError
from efface.methods import Fisher
from efface.runtime.seeds import derive_seed
from helpers.tiny import CLASSES, Tiny, mlp

ALL = 100_000  # a sample that takes every retain record


def vector(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()]).double()


def small() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = mlp(6).double()
    with torch.no_grad():
        model[0].weight[0], model[0].bias[0] = 0.0, -1.0  # a dead unit, of which F says nothing
    return model


def diagonal(model: nn.Module, x: Tensor) -> Tensor:
    """Mean over records of sum over y of p(y) (J' (e_y - p))^2, from each record's Jacobian."""
    named = {k: p.detach() for k, p in model.named_parameters()}
    total = torch.zeros(len(vector(model)), dtype=torch.float64)
    for one in x:

        def logits(flat: Tensor, one: Tensor = one) -> Tensor:
            parts = flat.split([p.numel() for p in named.values()])
            shaped = {k: v.view(p.shape) for (k, p), v in zip(named.items(), parts, strict=True)}
            return functional_call(model, shaped, (one[None],))[0]

        slopes, p = jacobian(logits, vector(model)), logits(vector(model)).softmax(0)
        for y in range(CLASSES):
            total += p[y] * (slopes.T @ (torch.eye(CLASSES)[y] - p)).square()
    return total / len(x)


def noise(model: nn.Module) -> Tensor:
    generator = torch.Generator().manual_seed(derive_seed(0, "fisher", "noise"))
    drawn = [torch.randn(p.shape, generator=generator).reshape(-1) for p in model.parameters()]
    return torch.cat(drawn).double()


def run(tiny: Tiny, model: nn.Module, method: Fisher) -> Any:
    data = {"train": TensorDataset(tiny.x.double(), tiny.y)}
    data["holdout"] = TensorDataset(tiny.holdout_x.double(), tiny.holdout_y)
    return efface.unlearn(
        model,
        forget=tiny.forget,
        task=tiny.task(**data),
        method=method,
        options=efface.UnlearnOptions(evaluate=False, checks=False),
    )


@pytest.mark.parametrize("power", [0.25, 0.5])
def test_noise_is_scaled_by_the_expected_fisher_diagonal(power: float, tiny: Tiny) -> None:
    model = small()
    result = run(tiny, model, Fisher(alpha=1e-4, power=power, cap=50.0, sample=ALL))
    read = np.setdiff1d(result.splits.retain, result.splits.audit_reference)
    variance = 1 / (diagonal(model, tiny.x[torch.from_numpy(read)].double()) + 1e-8) ** (2 * power)
    assert (variance > 50).any() and (variance < 50).any()
    wanted = (1e-4 * variance.clamp(max=50)).sqrt() * noise(model)
    moved = vector(result.model) - vector(model)
    assert (moved - wanted).abs().max() < 1e-5 * wanted.abs().max()


def test_weights_that_the_retain_set_says_nothing_of_move_by_the_cap(tiny: Tiny) -> None:
    model = small()
    result = run(tiny, model, Fisher(alpha=1e-4, cap=9.0, sample=8))
    moved = result.model[0].weight[0] - model[0].weight[0]
    assert torch.allclose(moved, 0.03 * noise(model)[: len(moved)], atol=1e-12)


def test_alpha_is_a_variance(tiny: Tiny) -> None:
    one, other = (vector(run(tiny, small(), Fisher(alpha=a, sample=8)).model) - vector(small()) for a in (1e-6, 4e-6))
    assert torch.allclose(2 * one, other, atol=1e-12)
    assert one.abs().max() > 0


def test_every_pass_is_counted(tiny: Tiny) -> None:
    cost = run(tiny, small(), Fisher(sample=10)).cost.phases["steps"]
    assert (cost.forward, cost.backward) == (10 + len(tiny.forget), 10 * CLASSES)


class Steep(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x**99


def test_noise_too_large_is_reported(tiny: Tiny) -> None:
    model = nn.Sequential(nn.Linear(tiny.x.shape[1], CLASSES), Steep())
    with torch.no_grad():
        model[0].weight.mul_(0.1)
    with pytest.raises(DivergedError, match="smaller alpha"):
        efface.unlearn(
            model,
            forget=tiny.forget,
            task=tiny.task(),
            method=Fisher(alpha=1e3),
            options=efface.UnlearnOptions(evaluate=False, checks=False),
        )
