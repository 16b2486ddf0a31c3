"""The fading penalty of l1_sparse, against steps written out here."""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from efface.methods import L1Sparse
from helpers.by_hand import ALL, flat, slope, small, unlearned
from helpers.tiny import Tiny


def test_the_penalty_fades_from_the_first_step_on(tiny: Tiny) -> None:
    model = small(tiny)
    method = L1Sparse(steps=3, lr=0.05, momentum=0.5, batch=ALL, alpha=0.02, decay=0.01)
    result, read = unlearned(tiny, model, method)
    mine, speed = copy.deepcopy(model), torch.zeros_like(flat(model))
    for k in range(3):
        w = flat(mine)
        kept = slope(mine, F.cross_entropy(mine(tiny.x[read]), tiny.y[read]))
        speed = 0.5 * speed + kept + 0.02 * (1 - k / 3) * w.sign() + 0.01 * w
        nn.utils.vector_to_parameters(w - 0.05 * speed, mine.parameters())
    assert torch.allclose(flat(result.model), flat(mine), atol=1e-6)


def test_a_frozen_weight_is_in_no_penalty(tiny: Tiny) -> None:
    model = small(tiny)
    model[0].requires_grad_(False)
    result, _ = unlearned(tiny, model, L1Sparse(steps=4, alpha=1.0))
    assert torch.equal(result.model[0].weight, model[0].weight)
    assert result.model[2].weight.norm() < model[2].weight.norm()
