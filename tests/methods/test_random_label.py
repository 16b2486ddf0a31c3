"""random_label and salun: which labels are drawn, the first step of each by hand, and the weights that do not move."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from efface import Task
from efface.methods import RandomLabel, SalUn
from efface.methods.relabelling import other_labels
from helpers.by_hand import ALL, flat, slope, small, unlearned
from helpers.tiny import FEATURES, Tiny


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_a_wrong_label_is_never_the_true_one_and_any_other_as_often(classes: int) -> None:
    n = 20_000
    targets = torch.arange(n) % classes
    drawn = torch.from_numpy(np.random.default_rng(0).random(n))
    drawn[:classes], drawn[classes : 2 * classes] = 0.0, 1 - 2**-53  # both ends of what a generator gives
    wrong = other_labels(targets, drawn, torch.ones(n, classes, dtype=torch.bool))
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


def taught(tiny: Tiny, method: RandomLabel, classes: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    """Logits after a run in which each record can be taught apart, the labels, and the forget records."""
    n, forget = 120, torch.arange(0, 120, 5)
    y = torch.arange(n) % classes
    task = Task(train=TensorDataset(torch.arange(n), y), holdout=TensorDataset(torch.arange(n), y))
    done, _ = unlearned(tiny, Lookup(n, classes), method, task=task, forget=forget.tolist(), checks=False)
    return done.model.table.weight.detach(), y, forget


def test_each_record_keeps_one_wrong_label_unless_it_is_drawn_anew(tiny: Tiny) -> None:
    options: dict[str, Any] = {"steps": 40, "lr": 5.0, "momentum": 0.0, "alpha": 0.2, "decay": 0.0}
    for anew in (False, True):
        logits, y, forget = taught(tiny, RandomLabel(**options, anew=anew))
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
    task = tiny.task(train=TensorDataset(tiny.x, y), holdout=TensorDataset(tiny.holdout_x, held))
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
