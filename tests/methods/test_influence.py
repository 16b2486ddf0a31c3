"""Newton steps against dense matrices, on a model small enough to have them, and against exact retraining."""

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.functional import hessian, jacobian
from torch.func import functional_call
from torch.utils.data import TensorDataset

import efface
from efface import DivergedError, Result
from efface.data.splits import make_splits
from efface.methods import Influence, Method, WoodFisher
from efface.methods.curvature import conjugate_gradients
from helpers.tiny import CLASSES, Tiny, mlp, records, weights

ALL = 100_000  # a sample that takes every retain record


def vector(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()]).double()


def logits_by_weights(model: nn.Module, x: Tensor) -> Any:
    """The logits as a function of the flat weights, in float64."""
    twin = copy.deepcopy(model).double()
    named = {k: p.detach() for k, p in twin.named_parameters()}

    def logits(flat: Tensor) -> Tensor:
        parts = flat.split([p.numel() for p in named.values()])
        shaped = {k: v.view(p.shape) for (k, p), v in zip(named.items(), parts, strict=True)}
        return functional_call(twin, shaped, (x.double(),))

    return logits


def per_record(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Gradient of each record's cross-entropy, one by one: (records, weights)."""
    found = []
    for one, target in zip(x, y, strict=True):
        # efface reads every model's logits as float32
        loss = F.cross_entropy(model(one[None]).float(), target[None])
        found.append(torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(model.parameters()))]))
    return torch.stack(found).double()


def gauss_newton(model: nn.Module, x: Tensor) -> Tensor:
    """The Gauss-Newton matrix of the mean cross-entropy, from the whole Jacobian."""
    logits = logits_by_weights(model, x)
    slopes = jacobian(logits, vector(model))
    p = logits(vector(model)).softmax(1)
    bend = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    return torch.einsum("ncp,ncd,ndq->pq", slopes, bend, slopes) / len(x)


def unlearned(tiny: Tiny, model: nn.Module, method: Method, **data: Any) -> tuple[Result, Tensor, Tensor]:
    """A run without evaluations, how far it moved the weights, and the retain records that it may read."""
    result = efface.unlearn(
        model,
        forget=tiny.forget,
        task=tiny.task(**data),
        method=method,
        options=efface.UnlearnOptions(evaluate=False, checks=False),
    )
    read = np.setdiff1d(result.splits.retain, result.splits.audit_reference)
    return result, vector(result.model) - vector(model), torch.from_numpy(read)


def small() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return mlp(6).eval()


def test_influence_is_the_dense_gauss_newton_step(tiny: Tiny) -> None:
    model = small()
    method = Influence(damping=0.03, iterations=200, sample=ALL, scale=2.0, rounds=3)
    result, moved, read = unlearned(tiny, model, method)
    f = list(tiny.forget)
    ascent = per_record(model, tiny.x[f], tiny.y[f]).sum(0)
    dense = gauss_newton(model, tiny.x[read]) + 0.03 * torch.eye(len(ascent))
    wanted = 2.0 / len(result.splits.retain) * torch.linalg.solve(dense, ascent)
    assert (moved - wanted).norm() < 1e-4 * wanted.norm()


def test_woodfisher_is_the_dense_inverse_of_the_empirical_fisher(tiny: Tiny) -> None:
    model, x = small().double(), tiny.x.double()
    data = {"train": TensorDataset(x, tiny.y), "holdout": TensorDataset(tiny.holdout_x.double(), tiny.holdout_y)}
    result, moved, read = unlearned(tiny, model, WoodFisher(damping=0.03, sample=ALL, scale=2.0), **data)
    f = list(tiny.forget)
    g = per_record(model, x[read], tiny.y[read])
    dense = 0.03 * torch.eye(g.shape[1]) + g.T @ g / len(g)
    ascent = per_record(model, x[f], tiny.y[f]).sum(0)
    wanted = 2.0 / len(result.splits.retain) * torch.linalg.solve(dense, ascent)
    assert (moved - wanted).norm() < 1e-6 * wanted.norm()


@pytest.mark.parametrize("method", [Influence(rounds=4), WoodFisher(rounds=4, sample=32)])
def test_the_parts_lie_on_one_line_and_each_may_be_judged(method: Any, tiny: Tiny) -> None:
    whole = unlearned(tiny, tiny.model, method)[1]
    half = unlearned(tiny, tiny.model, type(method)(rounds=2, scale=method.scale / 2, sample=method.sample))[1]
    assert torch.allclose(half, whole / 2, atol=1e-6)
    assert method.max_evaluations == method.length == 4


def optimum(x: Tensor, y: Tensor, ridge: float) -> nn.Module:
    """The one minimum of mean cross-entropy + ridge / 2 |w|^2, by Newton's method in float64."""
    model = nn.Linear(x.shape[1], CLASSES).double()
    logits = logits_by_weights(model, x)

    def objective(w: Tensor) -> Tensor:
        return F.cross_entropy(logits(w), y) + ridge / 2 * w.square().sum()

    w = torch.zeros(CLASSES * (x.shape[1] + 1), dtype=torch.float64)
    for _ in range(12):
        w = w - torch.linalg.solve(hessian(objective, w), jacobian(objective, w))
    nn.utils.vector_to_parameters(w, model.parameters())
    return model


@pytest.mark.parametrize("key", ["influence", "woodfisher"])
def test_it_goes_towards_an_exactly_retrained_model(key: str, tiny: Tiny) -> None:
    """A logistic regression with a ridge has one optimum, and the ridge is its damping."""
    (x, y), (held_x, held_y) = records(600, seed=3), records(300, seed=4)
    x, held_x, ridge = x.double(), held_x.double(), 0.02
    forget = list(range(0, 120, 4))
    keep = np.setdiff1d(np.arange(600), forget)
    original, wanted = optimum(x, y, ridge), optimum(x[keep], y[keep], ridge)
    method = efface.methods.get(key, {"damping": str(ridge), "sample": "100000"})
    data = {"train": TensorDataset(x, y), "holdout": TensorDataset(held_x, held_y)}
    # no record kept from it for an audit, so that all of the curvature is known
    splits = make_splits(np.array(forget), 600, 300, seed=0)
    splits = dataclasses.replace(splits, audit_reference=splits.audit_reference[:0])
    ours = efface.unlearn(
        original, forget=forget, method=method, options=efface.UnlearnOptions(evaluate=False, splits=splits), **data
    ).model
    before, after = ((vector(m) - vector(wanted)).norm() for m in (original, ours))
    # the empirical Fisher matrix is not the Hessian: about the way, not the length
    assert after < {"influence": 0.1, "woodfisher": 0.5}[key] * before


def test_conjugate_gradients_solve_and_may_stop_early() -> None:
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(30, 40, generator=generator, dtype=torch.float64)
    matrix = root @ root.T / 40 + 0.1 * torch.eye(30)
    wanted, calls = torch.randn(30, generator=generator, dtype=torch.float64), []

    def product(v: Tensor) -> Tensor:
        calls.append(v)
        return matrix @ v

    exact = torch.linalg.solve(matrix, wanted)
    assert (conjugate_gradients(product, wanted, 100) - exact).norm() < 1e-4 * exact.norm()
    assert len(calls) < 40
    calls.clear()
    conjugate_gradients(product, wanted, 5)
    assert len(calls) == 5
    assert conjugate_gradients(product, torch.zeros(30, dtype=torch.float64), 5).norm() == 0


class Steep(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x**9


@pytest.mark.parametrize("key", ["influence", "woodfisher"])
def test_a_move_too_far_is_reported(key: str, tiny: Tiny) -> None:
    far = efface.methods.get(key, {"scale": "1e9"})
    model = nn.Sequential(small(), Steep())
    with pytest.raises(DivergedError, match="smaller scale or more damping"):
        efface.unlearn(
            model,
            forget=tiny.forget,
            task=tiny.task(),
            method=far,
            options=efface.UnlearnOptions(evaluate=False, checks=False),
        )


def test_the_order_of_the_request_does_not_matter(tiny: Tiny) -> None:
    one, other = (
        efface.unlearn(
            tiny.model,
            forget=f,
            task=tiny.task(),
            method=Influence(rounds=1, iterations=3),
            options=efface.UnlearnOptions(evaluate=False, checks=False),
        )
        for f in (tiny.forget, tiny.forget[::-1])
    )
    assert weights(one.model) == weights(other.model)
