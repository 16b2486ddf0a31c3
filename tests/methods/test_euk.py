"""euk: its fresh last layers and its first step on them, by hand; what else it does is tested beside cfk and msg."""

import pytest
import torch
import torch.nn.functional as F

from efface.methods import EUK
from efface.models.init import fresh_model
from efface.runtime.seeds import derive_seed
from helpers.tiny import Tiny
from helpers.unlearning_by_hand import ALL, close, flat, in_double, slope, unlearned


@pytest.mark.parametrize("k", [1, 2])
def test_the_first_update_by_hand(k: int, tiny: Tiny) -> None:
    tiny = in_double(tiny)
    result, read = unlearned(tiny, tiny.model, EUK(steps=1, batch=ALL, lr=0.3, k=k))
    fresh = fresh_model(tiny.task(), tiny.model, derive_seed(0, "euk", "fresh"))
    start, moves = tiny.fresh(), torch.zeros(len(flat(tiny.model)), dtype=torch.bool)
    last = [0, 2][-k:]
    for at in last:
        start[at].load_state_dict(fresh[at].state_dict())
    sizes = [p.numel() for p in start.parameters()]
    for at, part in zip((0, 0, 2, 2), moves.split(sizes), strict=True):
        part.fill_(at in last)
    down = slope(start, F.cross_entropy(start(tiny.x[read]), tiny.y[read])) * moves
    assert close(flat(result.model) - flat(start), -0.3 * down)
    assert torch.equal(flat(result.model)[~moves], flat(tiny.model)[~moves])
