"""tmu: its features against slow ones, who is predicted to stay known, and that only the others get wrong labels."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from efface.methods import TMU
from efface.models.init import fresh_model
from helpers.by_hand import ALL, flat, problem_of, slope, small, unlearned
from helpers.tiny import CLASSES, FEATURES, RECORDS, Tiny, weights

QUICK: dict[str, Any] = {"passes": 10, "young": 20}


def test_features_against_slow_ones(tiny: Tiny) -> None:
    model = small(tiny)
    problem = problem_of(tiny, model)
    other = fresh_model(tiny.task(), model, 3)
    found = TMU(near=4)._features(problem, (model, other), problem.holdout, problem.calibration[:12])

    def inside(x: Tensor) -> Tensor:
        with torch.no_grad():
            return F.normalize(model[1](model[0](x)).double(), dim=1)

    for at, (distance, loss) in zip(problem.calibration[:12].tolist(), found.tolist(), strict=True):
        x, y = tiny.holdout_x[at], tiny.holdout_y[at]
        here = inside(x[None])[0]
        others = sorted(
            float((inside(tiny.x[i][None])[0] - here).norm()) for i in problem.retain.tolist() if tiny.y[i] == y
        )
        assert distance == pytest.approx(np.mean(others[:4]), rel=1e-4)
        assert loss == pytest.approx((-other(x).detach().log_softmax(0)[y]).item(), rel=1e-4)


def test_the_twin_learns_never_seen_records_and_nothing_else_changes(tiny: Tiny) -> None:
    model = small(tiny)
    problem = problem_of(tiny, model)
    twin = TMU(passes=20, lr_twin=1e-2)._twin(problem)
    assert weights(problem.model) == weights(model) == weights(problem.original)
    at = problem.calibration
    held = [F.cross_entropy(m(tiny.holdout_x[at]), tiny.holdout_y[at]).item() for m in (model, twin)]
    assert held[1] < 0.7 * held[0]
    kept = [F.cross_entropy(m(tiny.x[problem.retain]), tiny.y[problem.retain]).item() for m in (model, twin)]
    assert kept[1] < kept[0], "it goes on with its own records too"


def test_records_with_wrong_labels_are_predicted_to_be_lost(tiny: Tiny) -> None:
    """A model that never saw a record with a label at random would not give it that label."""
    clean = torch.arange(RECORDS) % CLASSES
    forget = tuple(range(0, RECORDS, 4))
    problem = problem_of(Tiny(tiny.model, tiny.x, tiny.y, tiny.holdout_x, tiny.holdout_y, forget), tiny.model)
    easy = TMU(**QUICK).easy(problem)
    wrong = (tiny.y != clean)[list(forget)]
    assert 5 < int(wrong.sum()) < 20
    assert easy[wrong].float().mean() < 0.3 and easy[~wrong].float().mean() > 0.8


def test_where_the_original_is_always_right_all_are_easy_but_those_of_a_class_that_goes(tiny: Tiny) -> None:
    """There is then nothing to learn from, and no twin is trained."""
    held = tiny.task(holdout=TensorDataset(tiny.holdout_x, tiny.model(tiny.holdout_x).argmax(1)))
    of = tiny.y[list(tiny.forget)]
    for gone in ((), (1,)):
        problem = problem_of(tiny, tiny.model, held, gone)
        assert torch.equal(TMU(passes=100_000).easy(problem), torch.tensor([int(y) not in gone for y in of]))


def test_only_hard_records_get_wrong_labels(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two classes leave but one wrong label, so the step can be written down."""
    y, held = tiny.y.clamp(max=1), tiny.holdout_y.clamp(max=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(FEATURES, 5), nn.Tanh(), nn.Linear(5, 2))
    task = tiny.task(train=TensorDataset(tiny.x, y), holdout=TensorDataset(tiny.holdout_x, held))
    f = torch.tensor(tiny.forget)
    easy = torch.arange(len(f)) % 3 == 0
    monkeypatch.setattr(TMU, "easy", lambda self, problem: easy)
    result, read = unlearned(tiny, model, TMU(steps=1, lr=0.3, batch=ALL, decay=0.1), task=task)
    taught = torch.where(easy, y[f], 1 - y[f])
    both = F.cross_entropy(model(tiny.x[torch.cat([f, read])]), torch.cat([taught, y[read]]))
    wanted = flat(model) - 0.3 * (slope(model, both) + 0.1 * flat(model))
    assert torch.allclose(flat(result.model), wanted, atol=1e-6)


def test_a_model_without_a_last_layer_is_described_by_its_logits(tiny: Tiny) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Linear(FEATURES, CLASSES)
    result, _ = unlearned(tiny, model, TMU(steps=4, **QUICK))
    assert weights(result.model) != weights(model)
