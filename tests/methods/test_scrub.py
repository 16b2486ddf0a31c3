"""scrub: its first steps by hand, its phases, and the checkpoint that it goes back to."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from efface.methods import Scrub, scrub
from helpers.by_hand import ALL, adam, flat, placed, slope, slow_kl, small, steady, unlearned
from helpers.tiny import CLASSES, Tiny, bits, weights


def test_the_teacher_stays_as_it_was_and_the_student_does_not(tiny: Tiny) -> None:
    model = tiny.fresh().train()
    before = bits(model)
    result, _ = unlearned(tiny, model, Scrub(steps=4))
    assert bits(model) == before
    assert weights(result.model) != weights(model)


def scrub_slope(model: nn.Module, original: nn.Module, tiny: Tiny, at: Any, rise: bool) -> Tensor:
    z = model(tiny.x[at])
    far = slow_kl(original(tiny.x[at]), z, 2.0)
    return slope(model, -far if rise else 0.5 * far + 0.7 * F.cross_entropy(z, tiny.y[at]))


def test_scrub_steps_by_hand(tiny: Tiny) -> None:
    """Two epochs of one batch each, max then min, then one of min alone; plain SGD, to be written down."""
    model, f = small(tiny), list(tiny.forget)
    # from the original itself KL has no slope, so it takes a min-step to leave it
    options: dict[str, Any] = {"lr": 0.2, "momentum": 0.5, "alpha": 0.5, "gamma": 0.7, "rewind": False}
    method = Scrub(steps=3, batch=ALL, adam=False, rises=2, **options)
    result, read = unlearned(tiny, model, method)
    mine, speed = copy.deepcopy(model), torch.zeros_like(flat(model))
    for rise in (True, False, True, False, False):
        speed = 0.5 * speed + scrub_slope(mine, model, tiny, f if rise else read, rise)
        mine = placed(mine, flat(mine) - 0.2 * speed)
    assert torch.allclose(flat(result.model), flat(mine), atol=1e-5)
    no_rise, _ = unlearned(tiny, model, Scrub(steps=3, batch=ALL, adam=False, rises=0, **options))
    assert not torch.allclose(flat(no_rise.model), flat(mine), atol=1e-3)


def test_scrub_descends_by_adam_unless_asked_otherwise(tiny: Tiny) -> None:
    model = small(tiny)
    result, read = unlearned(tiny, model, Scrub(steps=1, batch=ALL, rises=0, gamma=0.7, lr=0.01, rewind=False))
    down = scrub_slope(model, model, tiny, read, rise=False)
    sure = steady(down)
    assert sure.float().mean() > 0.9
    assert torch.allclose(flat(result.model)[sure], adam(flat(model), [down], 0.01)[sure], atol=2e-5)


@pytest.mark.parametrize(("steps", "rises", "passes"), [(1, 3, 1), (40, 1, 1), (40, 3, 2), (70, 3, 3), (5, 0, 0)])
def test_each_early_epoch_begins_with_one_pass_over_the_forget_set(
    steps: int, rises: int, passes: int, tiny: Tiny
) -> None:
    """By the records that went through the networks."""
    result, read = unlearned(tiny, tiny.model, Scrub(steps=steps, rises=rises, batch=8, rewind=False))
    epoch, climb = -(-len(read) // 8), 2  # 12 forget records
    assert 20 < epoch < 40 and (passes == min(rises, -(-steps // epoch)))
    done = result.cost.phases["steps"]
    assert done.backward == 8 * (steps + climb * passes)
    # the teacher says something of every batch
    assert done.forward == 2 * done.backward


def fake_errors(monkeypatch: pytest.MonkeyPatch, forget: list[float], unseen: float) -> list[Tensor]:
    """Lets scrub see these forget errors, checkpoint by checkpoint; gives the weights that it had at each."""
    seen: list[Tensor] = []

    def errors(problem: Any, *_: Any) -> Tensor:
        seen.append(flat(problem.model).clone())
        return torch.tensor([forget[len(seen) - 1]])

    monkeypatch.setattr(scrub, "errors", errors)
    monkeypatch.setattr(scrub, "unseen_error", lambda problem: unseen)
    return seen


@pytest.mark.parametrize(
    ("unseen", "chosen"),
    [(0.3, 2), (0.02, 0), (0.96, 9), (0.72, 7), (0.5, 8)],
    ids=["third", "first", "last", "late", "tie"],
)
def test_the_checkpoint_of_the_nearest_error_is_restored(
    unseen: float, chosen: int, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [0.0, 0.2, 0.31, 0.5, 0.6, 0.8, 0.9, 0.7, 0.5, 1.0]
    seen = fake_errors(monkeypatch, said, unseen)
    result, _ = unlearned(tiny, tiny.model, Scrub(steps=20, lr=1e-3))
    assert len(seen) == 10
    assert len({bytes(w.numpy()) for w in seen}) == 10
    assert torch.equal(flat(result.model), seen[chosen])
    assert result.evidence.chosen_step == 20


def test_without_rewinding_the_last_weights_stay(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    last, _ = unlearned(tiny, tiny.model, Scrub(steps=20, lr=1e-3, rewind=False))
    seen = fake_errors(monkeypatch, [0.0] + 9 * [1.0], 0.0)
    first, _ = unlearned(tiny, tiny.model, Scrub(steps=20, lr=1e-3))
    assert torch.equal(flat(last.model), seen[-1])
    assert torch.equal(flat(first.model), seen[0])


class Fixed(nn.Module):
    """Gives a record the class that its first feature names."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * (F.one_hot(x[:, 0].long(), CLASSES) - 0.5)


def test_the_error_aimed_at_is_that_of_never_seen_records_of_the_same_classes(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Class 0 is always right, class 1 wrong by half, class 2 always wrong; the forget set has 3 of 1 and 1 of 0."""
    held_y = torch.arange(200) % 3
    held_x = torch.zeros(200, 16)
    held_x[:, 0] = torch.where(held_y == 1, torch.arange(200) // 3 % 2, 0)
    found: list[float | None] = []
    real = scrub.unseen_error
    monkeypatch.setattr(scrub, "unseen_error", lambda problem: found.append(real(problem)) or found[-1])
    ones, zeros = (torch.arange(300)[tiny.y == c].tolist() for c in (1, 0))
    x = tiny.x.clone()
    x[:, 0] = tiny.y.float()
    task = tiny.task(train=TensorDataset(x, tiny.y), holdout=TensorDataset(held_x, held_y))
    model = Fixed()
    request = {"task": task, "checks": False}
    result, _ = unlearned(tiny, model, Scrub(steps=1), forget=[*ones[:3], zeros[0]], **request)
    at = result.splits.calibration
    share_wrong = float((held_x[at, 0] != 1)[held_y[at] == 1].float().mean())
    assert 0 < share_wrong < 1
    assert found == [pytest.approx(0.75 * share_wrong)]
    # with class 2 alone it is 1
    unlearned(tiny, model, Scrub(steps=1), forget=torch.arange(300)[tiny.y == 2].tolist()[:4], **request)
    assert found[1] == 1.0


def test_a_run_to_forget_does_raise_the_forget_error(tiny: Tiny) -> None:
    f = list(tiny.forget)
    result, read = unlearned(tiny, tiny.model, Scrub(steps=30, lr=5e-3, rises=8, rewind=False))
    with torch.no_grad():
        known, now = (F.cross_entropy(m(tiny.x[f]), tiny.y[f]).item() for m in (tiny.model, result.model))
        right = (result.model(tiny.x[read]).argmax(1) == tiny.y[read]).float().mean().item()
    assert now > known + 0.1
    assert right > 0.9
