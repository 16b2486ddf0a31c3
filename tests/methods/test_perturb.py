"""perturb: its noise and its first step, by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efface.methods import Perturb
from efface.runtime.seeds import derive_seed
from helpers.by_hand import ALL, close, flat, in_double, placed, slope, unlearned
from helpers.tiny import Tiny, weights


def noise(model: nn.Module, share: float) -> Tensor:
    """For each tensor, standard normal draws times a share of its root mean square."""
    generator = torch.Generator().manual_seed(derive_seed(0, "perturb", "noise"))
    drawn = [torch.randn(p.shape, generator=generator).double() for p in model.parameters()]
    return torch.cat(
        [
            (share * p.detach().square().mean().sqrt() * d).reshape(-1)
            for p, d in zip(model.parameters(), drawn, strict=True)
        ]
    )


def test_the_first_update_by_hand(tiny: Tiny) -> None:
    tiny = in_double(tiny)
    result, read = unlearned(tiny, tiny.model, Perturb(steps=1, batch=ALL, lr=0.3, noise=0.4))
    shaken = placed(tiny.model, flat(tiny.model) + noise(tiny.model, 0.4))
    down = slope(shaken, F.cross_entropy(shaken(tiny.x[read]), tiny.y[read]))
    assert (0.3 * down).norm() > 0.05 * noise(tiny.model, 0.4).norm(), "both parts of the update must show"
    assert close(flat(result.model) - flat(tiny.model), noise(tiny.model, 0.4) - 0.3 * down)


def test_the_norm_of_the_noise_is_a_share_of_the_tensors_own(tiny: Tiny) -> None:
    model = nn.Sequential(nn.Linear(16, 2000), nn.ReLU(), nn.Linear(2000, 3))
    result, _ = unlearned(tiny, model, Perturb(steps=1, lr=1e-8, noise=0.2))
    for at in (0, 2):
        before, after = model[at].weight.detach(), result.model[at].weight.detach()
        # the norm of 6,000 draws or more errs by a hundredth
        assert float((after - before).norm() / before.norm()) == pytest.approx(0.2, rel=0.05)


def test_a_frozen_tensor_gets_no_noise(tiny: Tiny) -> None:
    model = tiny.fresh()
    model[0].requires_grad_(False)
    result, _ = unlearned(tiny, model, Perturb(steps=1))
    assert weights(result.model[0]) == weights(model[0]) and weights(result.model[2]) != weights(model[2])
