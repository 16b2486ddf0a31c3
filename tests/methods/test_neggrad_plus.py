"""neggrad_plus: its first step and its momentum, by hand."""

import copy

import pytest
import torch
import torch.nn.functional as F

from efface.methods import Finetune, NegGradPlus
from helpers.by_hand import ALL, close, flat, in_double, placed, slope, unlearned
from helpers.tiny import Tiny, weights


@pytest.mark.parametrize("alpha", [0.0, 0.7, 0.95])
def test_the_first_updates_by_hand(alpha: float, tiny: Tiny) -> None:
    tiny, f = in_double(tiny), list(tiny.forget)
    method = NegGradPlus(steps=2, batch=ALL, lr=0.05, momentum=0.5, alpha=alpha)
    result, read = unlearned(tiny, tiny.model, method)
    mine, speed = copy.deepcopy(tiny.model), torch.zeros_like(flat(tiny.model))
    for _ in range(2):
        retain, forget = (F.cross_entropy(mine(tiny.x[at]), tiny.y[at]) for at in (read, f))
        speed = 0.5 * speed + slope(mine, alpha * retain - (1 - alpha) * forget)
        mine = placed(mine, flat(mine) - 0.05 * speed)
    assert close(flat(result.model) - flat(tiny.model), flat(mine) - flat(tiny.model))


def test_with_all_weight_on_the_retain_set_it_is_finetune(tiny: Tiny) -> None:
    tiny = in_double(tiny)
    one, other = (
        unlearned(tiny, tiny.model, m)[0].model
        for m in (NegGradPlus(steps=4, alpha=1.0, batch=ALL), Finetune(steps=4, batch=ALL))
    )
    assert weights(one) != weights(tiny.model)
    assert close(flat(one) - flat(tiny.model), flat(other) - flat(tiny.model))
