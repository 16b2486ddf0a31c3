"""Relearn time: forget records against never-seen ones, from copies of a model."""

import copy
import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from efface.attacks.outputs import RecordSet
from efface.attacks.relearn import LR, Relearn, matched, relearn
from efface.data.records import Records
from efface.models.running import logits_of
from efface.numerics.logits import margin
from efface.runtime.cost import Meter
from efface.runtime.seeds import seeded
from helpers.memorised import FORGET, HOLDOUT, Memorised
from helpers.tiny import Tiny, bits


def difficulty(known: Memorised, records: Records, at: np.ndarray) -> torch.Tensor:
    """By models that are not judged here."""
    targets = records.targets(at)
    return torch.stack(
        [margin(logits_of(known.task, m, records, at, Meter()), targets) for m in known.retrained[2:]]
    ).mean(0)


def learned(known: Memorised, models: Sequence[nn.Module], pool: np.ndarray) -> list[Relearn]:
    task, forget = known.task, np.array(FORGET)
    train, held = Records(task.train, task), Records(task.holdout, task)
    hard, nonmember_difficulty = difficulty(known, train, forget), difficulty(known, held, pool)
    controls = pool[matched(hard, nonmember_difficulty, train.targets(forget), held.targets(pool)).numpy()]
    return [relearn(task, m, RecordSet(train, forget), RecordSet(held, controls), 0, Meter()) for m in models]


def test_a_trace_makes_relearning_quick(known: Memorised) -> None:
    traced, *clean = learned(known, [known.original, *known.retrained[:2]], np.arange(HOLDOUT))
    assert traced.ratio < 0.5 * min(c.ratio for c in clean)
    assert [c.ratio for c in clean] == pytest.approx([1, 1], abs=0.3)
    assert all(c.forget[-1] < c.forget[0] for c in clean)


def test_other_controls_of_the_same_difficulty_say_nearly_the_same(known: Memorised) -> None:
    halves = [learned(known, known.retrained[:2], np.arange(i, HOLDOUT, 2)) for i in range(2)]
    assert np.std([found.ratio for half in halves for found in half]) < 0.3


def test_matching_is_the_cheapest_within_classes() -> None:
    ours, candidates = torch.tensor([0.0, 0.1, 5.0]), torch.tensor([9.0, 0.05, -1.0, 4.0, 0.3])
    one = torch.zeros(5, dtype=torch.long)
    found = matched(ours, candidates, one[:3], one)
    least = min(float((ours - candidates[list(p)]).abs().sum()) for p in itertools.permutations(range(5), 3))
    assert float((ours - candidates[found]).abs().sum()) == pytest.approx(least)
    assert matched(ours, candidates, torch.tensor([1, 0, 0]), torch.tensor([1, 0, 0, 0, 0])).tolist() == [0, 1, 3]
    assert matched(ours, candidates, torch.tensor([1, 1, 0]), torch.tensor([1, 0, 0, 0, 0])).tolist()[2] == 3


def test_the_curve_is_that_of_a_plain_loop(tiny: Tiny) -> None:
    model, rows = tiny.fresh().train(), np.array([3, 4, 5, 50, 60, 70, 80])
    before, task, meter = bits(model), tiny.task(batch_size=3), Meter()
    records = Records(task.train, task)
    state = torch.get_rng_state()
    sets = RecordSet(records, rows), RecordSet(records, rows[:5])
    found = relearn(task, model, *sets, 0, meter, steps=6)
    assert bits(model) == before and torch.equal(torch.get_rng_state(), state)
    learner, doubts = tiny.fresh(), []
    optimiser = torch.optim.Adam(learner.parameters(), lr=LR)
    for _ in range(7):
        logits = learner(tiny.x[rows])
        loss = F.cross_entropy(logits, tiny.y[rows])
        doubts.append(1 - logits.softmax(1)[range(7), tiny.y[rows]].mean().item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert found.forget == pytest.approx(doubts, rel=1e-3, abs=1e-6)
    cost = meter.cost().total
    assert (cost.forward, cost.backward) == (7 * 12, 6 * 12)
    assert relearn(task, model, *sets, 0, Meter(), steps=6) == found


class Noisy(nn.Module):
    """Draws even in eval mode, and holds a BatchNorm that must not move."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.norm = inner, nn.BatchNorm1d(16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(self.norm(x) + 0.01 * torch.randn(x.shape))  # type: ignore[no-any-return]


def test_frozen_and_noisy_models_are_relearned_alike(tiny: Tiny) -> None:
    model, task = Noisy(tiny.fresh()).requires_grad_(False), tiny.task()
    records, rows, before = Records(task.train, task), np.arange(10), bits(model)
    sets = RecordSet(records, rows), RecordSet(records, rows)
    first = relearn(task, model, *sets, 3, Meter(), steps=4)
    with seeded(99), torch.no_grad():
        assert relearn(task, copy.deepcopy(model), *sets, 3, Meter(), steps=4) == first
    assert first.ratio == 1 and first.forget[4] < first.forget[0] and bits(model) == before


def test_ratio_by_hand() -> None:
    assert Relearn((0.6, 0.4, 0.1), (0.9, 0.6, 0.2)).ratio == pytest.approx(1.1 / 1.7)
    assert math.isnan(Relearn((0.0, 0.0), (0.0, 0.0)).ratio)
