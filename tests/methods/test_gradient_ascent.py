"""Ascent against its gradient, written out here."""

import pytest
import torch
import torch.nn.functional as F

from efface.methods import GradientAscent
from helpers.by_hand import flat, slope, small, unlearned
from helpers.tiny import Tiny


@pytest.mark.parametrize("clip", [0.05, 1e6])
def test_ascent_is_a_step_up_of_at_most_the_clip(clip: float, tiny: Tiny) -> None:
    model, f = small(tiny), list(tiny.forget)
    up = slope(model, F.cross_entropy(model(tiny.x[f]), tiny.y[f]))
    assert up.norm() > 0.1, "the smaller clip must bind"
    result, _ = unlearned(tiny, model, GradientAscent(steps=1, lr=0.1, clip=clip))
    wanted = 0.1 * up * min(1.0, clip / float(up.norm()))
    assert torch.allclose(flat(result.model) - flat(model), wanted, atol=1e-6)
