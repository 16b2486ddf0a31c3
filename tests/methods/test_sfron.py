"""sfron: its weights of records, its mask, its two kinds of steps by hand, and how it ends where nothing bounds it."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import vector_to_parameters

from efface import DivergedError
from efface.methods import SFRon
from efface.methods.sfron import evened
from helpers.by_hand import ALL, flat, slope, small, unlearned
from helpers.tiny import Tiny


def test_records_with_a_large_loss_weigh_less() -> None:
    losses = torch.tensor([0.25, 4.0, 9.0, 0.0], requires_grad=True)
    # weights 2, 1/2, 1/3; a loss of zero gets nearly all of it
    assert evened(losses[:3], 0.5).item() == pytest.approx((0.5 + 2 + 3) / (2 + 1 / 2 + 1 / 3), rel=1e-6)
    assert evened(losses[:3], 0.0).item() == pytest.approx(13.25 / 3, rel=1e-6)
    assert evened(losses, 0.5).item() == pytest.approx(0.0, abs=1e-6)
    (gradient,) = torch.autograd.grad(evened(losses[:3], 0.5), losses)
    assert torch.allclose(gradient[:3], torch.tensor([2, 1 / 2, 1 / 3]) / (2 + 1 / 2 + 1 / 3))


def by_hand(model: nn.Module, tiny: Tiny, read: Tensor, method: SFRon) -> Tensor:
    """Weights after the steps, each of all records."""
    mine, f = copy.deepcopy(model), list(tiny.forget)
    whole = [slope(mine, F.cross_entropy(mine(tiny.x[at]), tiny.y[at])) ** 2 for at in (f, read)]
    mask = (whole[0] >= method.select * whole[1]).double().to(whole[0].dtype)
    assert 0.1 < mask.mean() < 0.9
    speed, w = torch.zeros_like(mask), flat(mine)
    for k in range(method.steps):
        fallen = (1 + math.cos(math.pi * k / method.steps)) / 2
        ups = [True, False] if k % method.apart == 0 else [False]
        for up in ups:
            vector_to_parameters(w, mine.parameters())
            at = f if up else read
            losses = F.cross_entropy(mine(tiny.x[at]), tiny.y[at], reduction="none")
            if up:
                share = losses.detach() ** -method.even
                g = -mask * slope(mine, method.alpha * fallen * (losses * share / share.sum()).sum())
                g = g * min(1.0, method.clip / float(g.norm()))
            else:
                g = slope(mine, losses.mean())
            speed = method.momentum * speed + g + method.decay * w
            w = w - method.lr * fallen * speed
    return w


@pytest.mark.parametrize("clip", [0.02, 1e6])
def test_the_steps_of_sfron(clip: float, tiny: Tiny) -> None:
    model = small(tiny)
    options = {"lr": 0.05, "momentum": 0.5, "batch": ALL, "alpha": 0.7, "even": 0.4, "select": 2.0, "decay": 0.01}
    method = SFRon(steps=3, apart=2, clip=clip, **options)  # type: ignore[arg-type]
    result, read = unlearned(tiny, model, method)
    wanted = by_hand(model, tiny, read, method)
    moved = flat(result.model) - flat(model)
    assert (moved - (wanted - flat(model))).norm() < 1e-3 * moved.norm()


def test_it_forgets_and_keeps_the_rest(tiny: Tiny) -> None:
    f = list(tiny.forget)
    result, read = unlearned(tiny, tiny.model, SFRon(steps=60, lr=0.05, alpha=500.0))
    with torch.no_grad():
        known, after = ((m(tiny.x[f]).argmax(1) == tiny.y[f]).float().mean() for m in (tiny.model, result.model))
        right = (result.model(tiny.x[read]).argmax(1) == tiny.y[read]).float().mean()
    assert after < known - 0.3
    assert right > 0.85


def test_an_ascent_without_bound_is_reported(tiny: Tiny) -> None:
    with pytest.raises(DivergedError, match=r"smaller learning rate|NaN"):
        unlearned(tiny, tiny.model, SFRon(steps=400, lr=10.0, clip=1e9, alpha=1e6))
