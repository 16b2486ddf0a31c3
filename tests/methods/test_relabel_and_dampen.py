"""Relabelling, saliency, ascent, the L1 penalty and dampening, each against arithmetic written out here."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import efface
from efface.methods import SSD, GradientAscent, L1Sparse, RandomLabel, SalUn
from efface.methods.random_label import other_labels
from helpers.tiny import FEATURES, Tiny, weights
from helpers.unlearning_by_hand import ALL, flat, slope, small, unlearned


@pytest.mark.parametrize("clip", [0.05, 1e6])
def test_ascent_is_a_step_up_of_at_most_the_clip(clip: float, tiny: Tiny) -> None:
    model, f = small(tiny), list(tiny.forget)
    up = slope(model, F.cross_entropy(model(tiny.x[f]), tiny.y[f]))
    assert up.norm() > 0.1, "the smaller clip must bind"
    result, _ = unlearned(tiny, model, GradientAscent(steps=1, lr=0.1, clip=clip))
    wanted = 0.1 * up * min(1.0, clip / float(up.norm()))
    assert torch.allclose(flat(result.model) - flat(model), wanted, atol=1e-6)


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


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_a_wrong_label_is_never_the_true_one_and_any_other_as_often(classes: int) -> None:
    n = 20_000
    targets = torch.arange(n) % classes
    drawn = torch.from_numpy(np.random.default_rng(0).random(n))
    drawn[:classes], drawn[classes : 2 * classes] = 0.0, 1 - 2**-53  # both ends of what a generator gives
    wrong = other_labels(targets, drawn, classes)
    counts = torch.zeros(classes, classes).index_put_((targets, wrong), torch.ones(n), accumulate=True)
    assert not counts.diagonal().any()
    others = counts[~torch.eye(classes, dtype=torch.bool)] / (n / classes)
    assert (others - 1 / (classes - 1)).abs().max() < 0.05


class Lookup(nn.Module):
    """Logits of its own for each record, which has one input: its number."""

    def __init__(self, records: int, classes: int) -> None:
        super().__init__()
        self.table = nn.Embedding(records, classes)
        nn.init.zeros_(self.table.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.table(x)


def taught(method: RandomLabel, classes: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    """Logits after a run in which each record can be taught apart, the labels, and the forget records."""
    n, forget = 120, torch.arange(0, 120, 5)
    y = torch.arange(n) % classes
    data = {
        "train": torch.utils.data.TensorDataset(torch.arange(n), y),
        "holdout": torch.utils.data.TensorDataset(torch.arange(n), y),
    }
    model = Lookup(n, classes)
    done = efface.unlearn(
        model,
        forget=forget.tolist(),
        method=method,
        options=efface.UnlearnOptions(evaluate=False, checks=False),
        **data,
    )
    return done.model.table.weight.detach(), y, forget


def test_each_record_keeps_one_wrong_label_unless_it_is_drawn_anew() -> None:
    options: dict[str, Any] = {"steps": 40, "lr": 5.0, "momentum": 0.0, "alpha": 0.2, "decay": 0.0}
    for anew in (False, True):
        logits, y, forget = taught(RandomLabel(**options, anew=anew))
        # what was taught rises; a softmax row sums to one, so what was not has gone down
        risen = logits[forget] > 0
        if not anew:
            assert (risen.sum(1) == 1).all()
            assert len(set((logits[forget].argmax(1) - y[forget]).remainder(6).tolist())) > 2
        else:
            assert (risen.sum(1) >= 3).all()
        assert not risen[torch.arange(len(forget)), y[forget]].any()


def test_relabelling_weighs_both_kinds_by_their_numbers(tiny: Tiny) -> None:
    """Two classes leave but one wrong label, so the step can be written down."""
    y, held = tiny.y.clamp(max=1), tiny.holdout_y.clamp(max=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(FEATURES, 5), nn.Tanh(), nn.Linear(5, 2))
    task = tiny.task(
        train=torch.utils.data.TensorDataset(tiny.x, y), holdout=torch.utils.data.TensorDataset(tiny.holdout_x, held)
    )
    f = list(tiny.forget)
    for method in (RandomLabel, SalUn):
        options: dict[str, Any] = {"steps": 1, "lr": 0.3, "batch": ALL, "alpha": 0.5, "decay": 0.1}
        if method is SalUn:
            options["share"] = 1.0
        result, read = unlearned(tiny, model, method(**options), task=task)
        sums = [F.cross_entropy(model(tiny.x[at]), to, reduction="sum") for at, to in ((f, 1 - y[f]), (read, y[read]))]
        down = slope(model, (sums[0] + 0.5 * sums[1]) / (len(f) + 0.5 * len(read))) + 0.1 * flat(model)
        assert torch.allclose(flat(result.model), flat(model) - 0.3 * down, atol=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5])
def test_masked_weights_do_not_move_at_all(share: float, tiny: Tiny) -> None:
    """Momentum and weight decay move weights that have no gradient; a mask of gradients would let them."""
    model, f = small(tiny), list(tiny.forget)
    size = slope(model, F.cross_entropy(model(tiny.x[f]), tiny.y[f])).abs()
    allowed = torch.zeros(len(size), dtype=torch.bool)
    allowed[size.argsort(descending=True)[: max(1, round(share * len(size)))]] = True
    result, _ = unlearned(tiny, model, SalUn(steps=6, share=share, decay=0.1))
    moved = flat(result.model) != flat(model)
    assert not moved[~allowed].any()
    assert moved[allowed].float().mean() > 0.9


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
    whole = (n * forget + r * kept) / (n + r)
    wanted, chosen = flat(model), forget > select * whole
    assert 0 < chosen.sum() < len(chosen)
    for i in range(len(wanted)):
        if chosen[i]:
            wanted[i] *= min(dampen * float(whole[i] / forget[i]), 1.0)
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
    whole = share * forget + (1 - share) * kept
    factor = torch.where(forget > 0, (whole / forget).clamp(max=1.0), 1.0)
    assert (forget == 0).sum() >= FEATURES + 1
    assert torch.allclose(flat(result.model), flat(model) * factor, rtol=1e-3, atol=1e-6)


def test_a_sample_bounds_the_retain_records_that_are_read(tiny: Tiny) -> None:
    model = small(tiny)
    few, all_of_them = (unlearned(tiny, model, SSD(select=0.5, sample=n))[0] for n in (20, ALL))
    assert weights(few.model) != weights(all_of_them.model)
    # each forget and retain record once forward and backward, and the forget set once more
    assert few.cost.phases["steps"].backward == len(tiny.forget) + 20
    assert few.cost.phases["steps"].forward == 2 * len(tiny.forget) + 20
