"""The three losses of fcs, their order, and one step of each by hand."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import efface
from efface import Result
from efface.methods import FCS
from efface.methods.fcs import contrast
from helpers.tiny import CLASSES, Tiny


def run(tiny: Tiny, method: FCS) -> Result:
    return efface.unlearn(
        tiny.model, forget=tiny.forget, task=tiny.task(), method=method, options=efface.UnlearnOptions(evaluate=False)
    )


def test_contrast_against_a_double_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    forget, beside = torch.randn(4, 3, generator=generator), torch.randn(5, 3, generator=generator)
    total = 0.0
    for z in forget.tolist():
        likeness = [sum(a * b for a, b in zip(z, r, strict=True)) / 1.5 for r in beside.tolist()]
        total -= sum(s - math.log(sum(map(math.exp, likeness))) for s in likeness)
    assert contrast(forget, beside, 1.5).item() == pytest.approx(total / 20, rel=1e-5)


def test_contrast_pushes_a_record_off_those_that_it_is_most_like() -> None:
    beside = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    forget = torch.tensor([[2.0, 0.0]], requires_grad=True)
    before = (forget @ beside.T).softmax(1)[0, 0].item()
    contrast(forget, beside, 1.0).backward()
    assert forget.grad is not None
    assert ((forget - 0.1 * forget.grad) @ beside.T).softmax(1)[0, 0].item() < before


def stepped(model: nn.Module, loss: Tensor, lr: float, decay: float = 0.0) -> nn.Module:
    after = copy.deepcopy(model)
    slopes = torch.autograd.grad(loss, list(model.parameters()))
    with torch.no_grad():
        for w, g in zip(after.parameters(), slopes, strict=True):
            w.sub_(lr * (g + decay * w))
    return after


def test_a_round_of_one_step_by_hand(tiny: Tiny) -> None:
    """A batch takes all records, so its order does not matter."""
    method = FCS(steps=1, rounds=1, batch=100_000, lr=0.02, lr_flat=0.05, lr_push=0.03, temperature=2.0, decay=0.1)
    result = run(tiny, method)
    f = list(tiny.forget)
    r = torch.from_numpy(np.setdiff1d(result.splits.retain, result.splits.audit_reference))
    x_f, x_r, y_r = tiny.x[f], tiny.x[r], tiny.y[r]
    # KL(uniform || p) = -log C - mean over classes of log p
    model = stepped(tiny.model, (-math.log(CLASSES) - tiny.model(x_f).log_softmax(1).mean(1)).mean(), 0.05)
    fixed = model(x_r).detach()
    likeness = model(x_f) @ fixed.T / 2.0
    model = stepped(model, (likeness.logsumexp(1, keepdim=True) - likeness).mean(), 0.03)
    model = stepped(model, F.cross_entropy(model(x_r), y_r), 0.02, decay=0.1)
    for ours, by_hand, before in zip(
        result.model.parameters(), model.parameters(), tiny.model.parameters(), strict=True
    ):
        assert (ours - by_hand).abs().max() < 1e-4 * (by_hand - before).abs().max()


def test_the_first_pass_flattens(tiny: Tiny) -> None:
    method = FCS(steps=1, lr=1e-8, lr_flat=0.1, lr_push=0.0, batch=4, decay=0.0)
    f = list(tiny.forget)
    sure, after = (m(tiny.x[f]).softmax(1).max(1).values.mean().item() for m in (tiny.model, run(tiny, method).model))
    assert after < sure - 0.05


@pytest.mark.parametrize(("steps", "rounds", "passes"), [(6, 3, 3), (7, 3, 3), (2, 8, 2), (8, 8, 8)])
def test_each_round_has_a_pass_over_the_forget_records(steps: int, rounds: int, passes: int, tiny: Tiny) -> None:
    """Passes do not count as steps, so that steps are epochs on retain records; ten at a time they are two batches."""
    cost = run(tiny, FCS(steps=steps, rounds=rounds, batch=10)).cost.phases["steps"]
    assert cost.backward == 2 * 10 + passes * 2 * (10 + 10) + steps * 10


def test_rounds_go_on_through_the_retain_set(tiny: Tiny) -> None:
    """Without pushes, the rounds change nothing: no round begins with the same records again."""
    one, other = (run(tiny, FCS(steps=12, rounds=n, lr_push=0.0, batch=16)).model.state_dict().values() for n in (1, 4))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
