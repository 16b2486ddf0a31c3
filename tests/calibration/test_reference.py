"""The reference model: where it starts, what it reads, and what it knows."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from efface import DivergedError, Recipe, Task
from efface.calibration.reference import (
    GAPS,
    KEPT,
    KEPT_MOST,
    UNTRAINED,
    half_way_model,
    kept_share,
    reference_model,
)
from efface.data.records import Records
from efface.models.init import fresh_model
from efface.numerics.logits import centre, margin
from efface.runtime.cost import Meter
from efface.runtime.seeds import derive_seed
from helpers.tiny import CLASSES, FEATURES, RECORDS, REFERENCE, Tiny, bits, memorise, mlp, weights

TAUGHT = np.arange(150, RECORDS)
START = Recipe(epochs=1, lr=1e-8, batch=1000, least_steps=1)  # one step that leads nowhere


def make(
    task: Task,
    original: nn.Module,
    recipe: Recipe = REFERENCE,
    seed: int = 0,
    positions: Any = TAUGHT,
    meter: Meter | None = None,
    kept: float = KEPT,
) -> nn.Module:
    start = half_way_model(task, original, seed, kept)
    return reference_model(task, start, Records(task.train, task), positions, recipe, seed, meter or Meter())


def known(make_net: Callable[[], nn.Module], tiny: Tiny) -> nn.Module:
    """A network that knows the training records by heart."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return memorise(make_net(), tiny.x, tiny.y, steps=80)


def normed() -> nn.Module:
    return nn.Sequential(
        nn.Linear(FEATURES, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.2), nn.Linear(24, CLASSES)
    )


def close(ours: nn.Module, theirs: dict[str, Tensor]) -> bool:
    return all(torch.allclose(p, theirs[name], atol=1e-6) for name, p in ours.named_parameters())


def test_the_less_memory_the_more_is_kept() -> None:
    """By the gap of accuracy between members and nonmembers."""
    for gap in (-0.5, 0.0, GAPS[0]):
        assert kept_share(gap) == KEPT_MOST
    for gap in (GAPS[1], 0.1, 1.0):
        assert kept_share(gap) == KEPT
    for share in (0.25, 0.5, 0.9):
        gap = GAPS[0] + share * (GAPS[1] - GAPS[0])
        assert kept_share(gap) == pytest.approx(KEPT_MOST + share * (KEPT - KEPT_MOST))


@pytest.mark.parametrize("kept", [0.0, KEPT, KEPT_MOST, 1.0])
def test_it_starts_between_the_originals_weights_and_untrained_ones(kept: float, tiny: Tiny) -> None:
    task, original = tiny.task(), dict(tiny.model.named_parameters())
    for seed in (0, 5):
        untrained = dict(fresh_model(task, tiny.model, derive_seed(seed, "reference")).named_parameters())
        wanted = {name: kept * p + UNTRAINED * (1 - kept) * untrained[name] for name, p in original.items()}
        assert close(half_way_model(task, tiny.model, seed, kept), wanted)
        assert close(make(task, tiny.model, recipe=START, seed=seed, kept=kept), wanted)


def test_the_start_is_trained_in_place(tiny: Tiny) -> None:
    task = tiny.task()
    start = half_way_model(task, tiny.model, 0)
    before = weights(start)
    trained = reference_model(task, start, Records(task.train, task), TAUGHT, REFERENCE, 0, Meter())
    assert trained is start and weights(start) != before


def test_a_fine_tuned_one_starts_between_its_weights_and_the_pretrained_ones(tiny: Tiny) -> None:
    pretrained = known(mlp, tiny)
    task = tiny.task(build_model=lambda: pretrained, fine_tuned=True)
    before = bits(pretrained)
    theirs = dict(pretrained.named_parameters())
    wanted = {name: KEPT * p + (1 - KEPT) * theirs[name] for name, p in tiny.model.named_parameters()}
    assert close(make(task, tiny.model, recipe=START), wanted)
    assert bits(pretrained) == before


def test_what_the_original_has_no_like_of_starts_untrained(tiny: Tiny) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        built = {"other names": nn.Sequential(nn.Identity(), mlp()), "another width": mlp(20)}
    for other in built.values():
        task = tiny.task(build_model=lambda other=other: copy.deepcopy(other))
        wanted = {name: p.detach().clone() for name, p in other.named_parameters()}
        if "2.bias" in wanted:  # as long in both
            wanted["2.bias"] = KEPT * tiny.model[2].bias + UNTRAINED * (1 - KEPT) * wanted["2.bias"]  # type: ignore[index]
        assert close(make(task, tiny.model, recipe=START), wanted)


def test_buffers_are_the_originals(tiny: Tiny) -> None:
    original = known(normed, tiny)
    original.register_buffer("mask", torch.tensor([float("-inf"), 0.0]), persistent=False)
    start = half_way_model(tiny.task(), original, 0)
    for name, buffer in original.named_buffers():
        ours = dict(start.named_buffers())[name]
        assert torch.equal(ours, buffer) and ours.data_ptr() != buffer.data_ptr(), name


class Spying(TensorDataset):
    """Remembers which records were read."""

    def __init__(self, *tensors: Tensor) -> None:
        super().__init__(*tensors)
        self.read: list[int] = []

    def __getitem__(self, at: int) -> tuple[Tensor, ...]:
        self.read.append(int(at))
        return super().__getitem__(at)


def test_it_reads_the_records_that_it_is_given_and_no_others(tiny: Tiny) -> None:
    train, meter, recipe = Spying(tiny.x, tiny.y), Meter(), replace(REFERENCE, epochs=2, least_steps=1)
    task = tiny.task(train=train)
    make(task, tiny.model, recipe, meter=meter)
    assert sorted(train.read) == sorted([*TAUGHT, *TAUGHT]), "each once an epoch"
    total = meter.cost().total
    assert (total.forward, total.backward) == (2 * len(TAUGHT), 2 * len(TAUGHT))


def test_a_seed_fixes_every_bit(tiny: Tiny) -> None:
    original, found = known(normed, tiny), []
    for process, seed in ((1, 0), (2, 0), (2, 3)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(process)
            state = torch.get_rng_state()
            found.append(weights(make(tiny.task(), original, seed=seed)))
            assert torch.equal(torch.get_rng_state(), state)
    assert found[0] == found[1] != found[2]


def test_the_original_stays_as_it_was(tiny: Tiny) -> None:
    original = known(normed, tiny)
    for p in original.parameters():
        p.grad = torch.ones_like(p)
    original[0].requires_grad_(False)  # type: ignore[index]
    original.train()
    original[3].eval()  # type: ignore[index]
    before = bits(original)
    ours = make(tiny.task(), original)
    assert bits(original) == before
    assert not {p.data_ptr() for p in ours.parameters()} & {p.data_ptr() for p in original.parameters()}
    assert weights(ours) == weights(make(tiny.task(), copy.deepcopy(original).eval())), "whatever the original's mode"


def logits(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return centre(model.eval()(x))


def test_it_is_near_the_original_on_strangers_and_knows_less_of_the_untaught(tiny: Tiny) -> None:
    ours = make(tiny.task(), tiny.model, recipe=Recipe(epochs=20, lr=8e-3, batch=32))
    near, far = (
        (logits(tiny.model, tiny.holdout_x) - logits(m, tiny.holdout_x)).square().mean() for m in (ours, mlp())
    )
    assert near < 0.25 * far
    # of wrong labels, which only memory knows
    at = torch.arange(RECORDS)
    wrong = tiny.y != at % CLASSES
    untaught, taught = (wrong & (at < 150)).nonzero().flatten(), (wrong & (at >= 150)).nonzero().flatten()
    falls = [
        float((margin(logits(tiny.model, tiny.x[i]), tiny.y[i]) - margin(logits(ours, tiny.x[i]), tiny.y[i])).mean())
        for i in (untaught, taught)
    ]
    assert falls[0] > 1 + falls[1]


def test_a_training_that_diverges_is_told(tiny: Tiny) -> None:
    with pytest.raises(DivergedError, match="the reference model diverged: give it a smaller learning rate"):
        make(tiny.task(forward=lambda model, x: model(x) * torch.nan), tiny.model)
