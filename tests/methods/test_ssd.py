"""What ssd dampens and how much, against loops over records and weights."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efface.methods import SSD
from helpers.by_hand import ALL, flat, slope, small, unlearned
from helpers.tiny import FEATURES, Tiny, weights


def per_record_squares(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Mean over records of the squared gradient, by a loop."""
    total = torch.zeros_like(flat(model))
    for one, target in zip(x, y, strict=True):
        total += slope(model, F.cross_entropy(model(one[None]), target[None])) ** 2
    return total / len(x)


@pytest.mark.parametrize(("select", "dampen"), [(2.0, 1.0), (0.7, 1.0), (0.7, 0.1)])
def test_what_is_dampened_and_how_much(select: float, dampen: float, tiny: Tiny) -> None:
    model, f = small(tiny), list(tiny.forget)
    result, read = unlearned(tiny, model, SSD(select=select, dampen=dampen))
    forget = per_record_squares(model, tiny.x[f], tiny.y[f])
    kept = per_record_squares(model, tiny.x[read], tiny.y[read])
    n, r = len(f), len(result.splits.retain)
    overall = (n * forget + r * kept) / (n + r)
    wanted, chosen = flat(model), forget > select * overall
    assert 0 < chosen.sum() < len(chosen)
    for i in range(len(wanted)):
        if chosen[i]:
            wanted[i] *= min(dampen * float(overall[i] / forget[i]), 1.0)
    assert torch.allclose(flat(result.model), wanted, rtol=1e-4, atol=1e-7)
    assert torch.equal(flat(result.model)[~chosen], flat(model)[~chosen])
    assert (result.method.length, result.method.max_evaluations) == (1, 1)


def test_groups_square_mean_gradients_and_weights_without_gradient_stay(tiny: Tiny) -> None:
    """With all records of a kind in a group, F is the square of their mean gradient; 0 is not above 0."""
    model, f = small(tiny), list(tiny.forget)
    with torch.no_grad():
        model[0].bias[0] = -100.0  # a unit that no record lights: its weights have no gradient at all
    result, read = unlearned(tiny, model, SSD(select=0.0, group=ALL))
    forget, kept = (slope(model, F.cross_entropy(model(tiny.x[at]), tiny.y[at])) ** 2 for at in (f, read))
    share = len(f) / (len(f) + len(result.splits.retain))
    overall = share * forget + (1 - share) * kept
    factor = torch.where(forget > 0, (overall / forget).clamp(max=1.0), 1.0)
    assert (forget == 0).sum() >= FEATURES + 1
    assert torch.allclose(flat(result.model), flat(model) * factor, rtol=1e-3, atol=1e-6)


def test_a_sample_bounds_the_retain_records_that_are_read(tiny: Tiny) -> None:
    model = small(tiny)
    sampled, everything = (unlearned(tiny, model, SSD(select=0.5, sample=n))[0] for n in (20, ALL))
    assert weights(sampled.model) != weights(everything.model)
    # each forget and retain record once forward and backward, and the forget set once more
    assert sampled.cost.phases["steps"].backward == len(tiny.forget) + 20
    assert sampled.cost.phases["steps"].forward == 2 * len(tiny.forget) + 20
