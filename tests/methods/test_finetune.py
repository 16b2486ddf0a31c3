"""finetune: its first steps by hand."""

import copy

import torch
import torch.nn.functional as F

from efface.methods import Finetune
from helpers.by_hand import ALL, close, flat, in_double, placed, slope, unlearned
from helpers.tiny import Tiny


def test_the_first_updates_by_hand(tiny: Tiny) -> None:
    tiny = in_double(tiny)
    result, read = unlearned(tiny, tiny.model, Finetune(steps=2, batch=ALL, lr=0.05, momentum=0.5))
    mine, speed = copy.deepcopy(tiny.model), torch.zeros_like(flat(tiny.model))
    for _ in range(2):
        speed = 0.5 * speed + slope(mine, F.cross_entropy(mine(tiny.x[read]), tiny.y[read]))
        mine = placed(mine, flat(mine) - 0.05 * speed)
    assert close(flat(result.model) - flat(tiny.model), flat(mine) - flat(tiny.model))
