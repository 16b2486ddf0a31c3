"""Training by the default recipe and by the task's own, and what a fresh network is."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Subset

from efface import DivergedError, Recipe, Task
from efface.data.records import Records
from efface.models.training import retrain, train
from efface.runtime.cost import Meter
from helpers.by_hand import close, flat, in_double, slope, steady
from helpers.tiny import CLASSES, FEATURES, RECORDS, Tiny, mlp, weights

EVERYONE = np.arange(RECORDS)


@pytest.fixture
def records(tiny: Tiny) -> Records:
    task = tiny.task()
    return Records(task.train, task)


def records_of(tiny: Tiny, x: Tensor) -> Records:
    return Records(list(zip(x, tiny.y, strict=True)), tiny.task())


@pytest.mark.parametrize("total", range(1, 9))
def test_a_recipe_takes_any_number_of_steps(total: int, tiny: Tiny, records: Records) -> None:
    meter = Meter()
    recipe = Recipe(epochs=1, batch=RECORDS, least_steps=total)
    train(tiny.task(), tiny.fresh(), records, EVERYONE, recipe, 0, meter)
    assert meter.cost().total.backward == total * RECORDS


def test_the_steps_are_those_of_a_loop(tiny: Tiny) -> None:
    tiny = in_double(tiny)
    task = tiny.task()
    recipe = Recipe(epochs=1, lr=0.1, batch=RECORDS, least_steps=8)
    found = train(task, tiny.fresh(), Records(task.train, task), EVERYONE, recipe, 0, Meter())
    model = tiny.fresh()
    adam = torch.optim.Adam(model.parameters(), lr=0.1)
    rate = torch.optim.lr_scheduler.OneCycleLR(adam, 0.1, total_steps=8, pct_start=0.2)
    sure = torch.ones(len(flat(model)), dtype=torch.bool)
    for _ in range(8):
        down = slope(model, F.cross_entropy(model(tiny.x), tiny.y))
        # a step of Adam hangs on the rounding of a slope that is nearly zero
        sure &= steady(down)
        for p, g in zip(model.parameters(), down.split([p.numel() for p in model.parameters()]), strict=True):
            p.grad = g.view_as(p)
        adam.step()
        rate.step()
    assert sure.double().mean() > 0.8
    start = flat(tiny.model)
    assert close((flat(found) - start)[sure], (flat(model) - start)[sure], 1e-3)


def test_training_is_fixed_by_its_seed_alone(tiny: Tiny, records: Records) -> None:
    def trained(seed: int) -> dict[str, bytes]:
        model = nn.Sequential(nn.Dropout(0.3), tiny.fresh())
        return weights(train(tiny.task(), model, records, EVERYONE, Recipe(epochs=1, least_steps=5), seed, Meter()))

    first = trained(0)
    torch.manual_seed(99)
    assert trained(0) == first != trained(1)


def test_a_last_batch_of_one_record_does_not_break_batch_norm(tiny: Tiny, records: Records) -> None:
    model = nn.Sequential(nn.BatchNorm1d(FEATURES), mlp())
    train(tiny.task(), model, records, EVERYONE[:65], Recipe(epochs=2, batch=64, least_steps=1), 0, Meter())


def refit(model: nn.Module, dataset: Subset, seed: int) -> nn.Module | None:
    assert torch.is_grad_enabled() and len(dataset) == 100
    with torch.no_grad():
        model[2].bias.copy_(torch.rand(CLASSES))  # from the seeded generator
    return None


@pytest.mark.parametrize("fit", [None, refit, lambda *given: refit(*given) or given[0]])
def test_training_again_by_a_recipe_of_ones_own(fit: Callable | None, tiny: Tiny) -> None:
    task: Task = tiny.task(fit=fit)
    with torch.no_grad():
        first, again, other = (
            retrain(task, tiny.model, EVERYONE[:100], seed, Meter(), Recipe(least_steps=5)) for seed in (0, 0, 1)
        )
    assert weights(first) == weights(again) != weights(other)


def test_training_that_diverges_is_reported(tiny: Tiny) -> None:
    task = tiny.task()
    nowhere = records_of(tiny, tiny.x * float("inf"))
    with pytest.raises(DivergedError, match="default recipe diverged"):
        train(task, tiny.fresh(), nowhere, EVERYONE, Recipe(epochs=1, least_steps=2), 0, Meter())
