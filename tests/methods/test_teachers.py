"""bad_teacher and scrub: their divergence, their first steps and phases, and the checkpoint that is gone back to."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import efface
from efface.methods import BadTeacher, Scrub, scrub
from efface.methods.descent import divergence
from efface.models.init import fresh_model
from efface.runtime.seeds import derive_seed
from helpers.tiny import CLASSES, Tiny, bits, weights
from helpers.unlearning_by_hand import ALL, flat, slope, small, unlearned


def slow_kl(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """Mean of sum p log(p / q), times the squared temperature, row by row."""
    rows = []
    for t, s in zip(teacher.detach(), student, strict=True):
        p, q = (t / temperature).softmax(0), (s / temperature).softmax(0)
        rows.append(sum(p[c] * (p[c].log() - q[c].log()) for c in range(len(p))))
    return torch.stack(rows).mean() * temperature**2


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_divergence_against_a_loop(temperature: float) -> None:
    generator = torch.Generator().manual_seed(0)
    teacher, student = torch.randn(7, 4, generator=generator), torch.randn(7, 4, generator=generator)
    ours = divergence(teacher, student, temperature)
    assert ours.item() == pytest.approx(slow_kl(teacher, student, temperature).item(), rel=1e-5)
    assert ours.item() != pytest.approx(divergence(student, teacher, temperature).item(), rel=1e-3)
    assert divergence(teacher, teacher, temperature).item() == pytest.approx(0.0, abs=1e-6)


def adam(before: Tensor, slopes: list[Tensor], lr: float) -> Tensor:
    """Weights after a step of Adam for each slope, which may depend on nothing but its number."""
    first, second, w = torch.zeros_like(before), torch.zeros_like(before), before.clone()
    for k, g in enumerate(slopes, start=1):
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g**2
        w = w - lr * (first / (1 - 0.9**k)) / ((second / (1 - 0.999**k)).sqrt() + 1e-8)
    return w


def placed(model: nn.Module, w: Tensor) -> nn.Module:
    twin = copy.deepcopy(model)
    nn.utils.vector_to_parameters(w, twin.parameters())
    return twin


def steady(slopes: Tensor) -> Tensor:
    """Where a slope is far enough from zero for Adam's first step not to hang on its rounding."""
    return slopes.abs() > 1e-4 * slopes.abs().max()


def test_the_first_step_of_bad_teacher(tiny: Tiny) -> None:
    model, f = small(tiny), list(tiny.forget)
    result, read = unlearned(tiny, model, BadTeacher(steps=1, lr=0.01, batch=ALL, share=1.0, temperature=2.0))
    random = fresh_model(tiny.task(), model, derive_seed(0, "bad_teacher", "teacher"))
    assert weights(random) != weights(model)
    # the original is its own teacher, so the retain records pull at nothing yet
    n = len(f) + len(read)
    loss = len(f) / n * slow_kl(random(tiny.x[f]), model(tiny.x[f]), 2.0)
    loss = loss + len(read) / n * slow_kl(model(tiny.x[read]), model(tiny.x[read]), 2.0)
    down = slope(model, loss)
    sure = steady(down)
    assert sure.float().mean() > 0.9
    assert torch.allclose(flat(result.model)[sure], adam(flat(model), [down], 0.01)[sure], atol=2e-5)


def test_bad_teacher_pulls_both_ways(tiny: Tiny) -> None:
    model, f = tiny.model, list(tiny.forget)
    result, read = unlearned(tiny, model, BadTeacher(steps=60, lr=5e-3, share=1.0))
    random = fresh_model(tiny.task(), model, derive_seed(0, "bad_teacher", "teacher"))
    with torch.no_grad():
        before, after = (divergence(random(tiny.x[f]), m(tiny.x[f])).item() for m in (model, result.model))
        right = (result.model(tiny.x[read]).argmax(1) == tiny.y[read]).float().mean().item()
    assert after < 0.5 * before
    assert right > 0.9


@pytest.mark.parametrize("method", [BadTeacher(steps=4), Scrub(steps=4)])
def test_the_teacher_stays_as_it_was_and_the_student_does_not(method: Any, tiny: Tiny) -> None:
    model = tiny.fresh().train()
    before = bits(model)
    result, _ = unlearned(tiny, model, method)
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
    without, _ = unlearned(tiny, model, Scrub(steps=3, batch=ALL, adam=False, rises=0, **options))
    assert not torch.allclose(flat(without.model), flat(mine), atol=1e-3)


def test_scrub_descends_by_adam_unless_told_otherwise(tiny: Tiny) -> None:
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
    plain, _ = unlearned(tiny, tiny.model, Scrub(steps=20, lr=1e-3, rewind=False))
    seen = fake_errors(monkeypatch, [0.0] + 9 * [1.0], 0.0)
    first, _ = unlearned(tiny, tiny.model, Scrub(steps=20, lr=1e-3))
    assert torch.equal(flat(plain.model), seen[-1])
    assert torch.equal(flat(first.model), seen[0])


class Told(nn.Module):
    """Says of a record what its first feature is."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * F.one_hot(x[:, 0].long(), CLASSES).float()


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
    task = tiny.task(
        train=torch.utils.data.TensorDataset(x, tiny.y), holdout=torch.utils.data.TensorDataset(held_x, held_y)
    )
    model = Told()
    result = efface.unlearn(
        model,
        forget=[*ones[:3], zeros[0]],
        task=task,
        method=Scrub(steps=1),
        options=efface.UnlearnOptions(evaluate=False, checks=False),
    )
    at = result.splits.calibration
    share_wrong = float((held_x[at, 0] != 1)[held_y[at] == 1].float().mean())
    assert 0 < share_wrong < 1
    assert found == [pytest.approx(0.75 * share_wrong)]
    # with class 2 alone it is 1
    efface.unlearn(
        model,
        forget=torch.arange(300)[tiny.y == 2].tolist()[:4],
        task=task,
        method=Scrub(steps=1),
        options=efface.UnlearnOptions(evaluate=False, checks=False),
    )
    assert found[1] == 1.0


def test_a_run_to_forget_does_raise_the_forget_error(tiny: Tiny) -> None:
    f = list(tiny.forget)
    result, read = unlearned(tiny, tiny.model, Scrub(steps=30, lr=5e-3, rises=8, rewind=False))
    with torch.no_grad():
        known, now = (F.cross_entropy(m(tiny.x[f]), tiny.y[f]).item() for m in (tiny.model, result.model))
        right = (result.model(tiny.x[read]).argmax(1) == tiny.y[read]).float().mean().item()
    assert now > known + 0.1
    assert right > 0.9
