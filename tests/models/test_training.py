"""Running, training and making networks, as every driver and method does it."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Subset

import efface
from efface import DivergedError, Recipe, RequestError, Task
from efface.data.records import Batch, Records
from efface.models.init import fresh_model
from efface.models.running import all_finite, device_of, joint_logits, logits_of, mode
from efface.models.training import retrain, train
from efface.runtime.cost import Meter
from helpers.calls import unlearn
from helpers.tiny import CLASSES, FEATURES, RECORDS, REFERENCE, Tiny, bits, mlp, weights

EVERYONE = np.arange(RECORDS)


@pytest.fixture
def records(tiny: Tiny) -> Records:
    task = tiny.task()
    return Records(task.train, task)


def test_logits_are_read_in_eval_mode_and_counted(tiny: Tiny, records: Records) -> None:
    model, meter = nn.Sequential(nn.Dropout(0.5), tiny.fresh()), Meter()
    before = bits(model.train())
    found = logits_of(tiny.task(batch_size=2), model, records, [3, 299, 3], meter)
    assert bits(model) == before
    torch.testing.assert_close(found, tiny.model(tiny.x[[3, 299, 3]]).detach())
    assert not found.requires_grad and meter.cost().total.forward == 3
    assert logits_of(tiny.task(), mlp().double(), records_of(tiny, tiny.x.double()), [1], meter).dtype == torch.float32


def records_of(tiny: Tiny, x: Tensor) -> Records:
    return Records(list(zip(x, tiny.y, strict=True)), tiny.task())


def test_each_module_gets_its_own_mode_back_even_after_an_error(tiny: Tiny) -> None:
    model = tiny.fresh().train()
    model[1].eval()
    before = bits(model)
    with pytest.raises(KeyError), mode(model, training=False):
        assert not any(m.training for m in model.modules())
        raise KeyError
    assert bits(model) == before


@pytest.mark.parametrize("widths", [(4, 4), (4, 6)], ids=["alike", "of two lengths"])
def test_joint_logits_are_each_batchs_own(widths: tuple[int, int], tiny: Tiny) -> None:
    calls: list[int] = []

    def forward(model: nn.Module, inputs: Tensor) -> Tensor:
        calls.append(len(inputs))
        return model(inputs.mean(1, keepdim=True))

    batches = [Batch(torch.randn(n, w), torch.zeros(n).long()) for n, w in zip((3, 5), widths, strict=True)]
    model = nn.Linear(1, 2)
    found = joint_logits(tiny.task(forward=forward), model, batches)
    assert calls == ([8] if widths == (4, 4) else [3, 5])
    for logits, batch in zip(found, batches, strict=True):
        torch.testing.assert_close(logits, model(batch.inputs.mean(1, keepdim=True)))


@pytest.mark.parametrize("total", range(1, 9))
def test_a_recipe_takes_any_number_of_steps(total: int, tiny: Tiny, records: Records) -> None:
    meter = Meter()
    recipe = Recipe(epochs=1, batch=RECORDS, least_steps=total)
    train(tiny.task(), tiny.fresh(), records, EVERYONE, recipe, 0, meter)
    assert meter.cost().total.backward == total * RECORDS


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


def test_a_fresh_network_is_like_the_original_and_knows_nothing_of_it(tiny: Tiny) -> None:
    original = nn.Sequential(tiny.fresh(), nn.BatchNorm1d(CLASSES)).double().requires_grad_(False)
    original.train()(tiny.x.double())  # moves the running statistics
    before = bits(original)
    for task in (tiny.task(), tiny.task(build_model=lambda: nn.Sequential(mlp(), nn.BatchNorm1d(CLASSES)))):
        fresh, again, other = (fresh_model(task, original, seed) for seed in (0, 0, 1))
        assert weights(fresh) == weights(again) != weights(other)
        assert next(fresh.parameters()).dtype == torch.float64
        assert all(p.requires_grad for p in fresh.parameters())
        assert fresh[1].running_mean.eq(0).all() and fresh[1].num_batches_tracked == 0
    assert bits(original) == before


def test_what_cannot_start_afresh_is_named(tiny: Tiny) -> None:
    original = nn.Sequential(mlp(), nn.ParameterList([torch.ones(1) for _ in range(5)]))
    with pytest.raises(RequestError, match=r"no module resets 1\.0, 1\.1, 1\.2 and 2 more"):
        fresh_model(tiny.task(), original, 0)


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


def test_infinity_is_a_fault_in_weights_alone() -> None:
    model = mlp(4)
    model.register_buffer("mask", torch.tensor([0.0, float("-inf")]))
    assert all_finite(model) and device_of(model) == torch.device("cpu")
    model.mask[0] = float("nan")
    assert not all_finite(model)
    model.mask[0] = 0
    with torch.no_grad():
        model[0].weight[0, 0] = float("inf")
    assert not all_finite(model)
    assert device_of(nn.Identity()) == torch.device("cpu")


def test_no_forward_is_larger_than_the_task_allows(tiny: Tiny) -> None:
    sizes = []

    def forward(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        sizes.append(len(inputs))
        return model(inputs)  # type: ignore[no-any-return]

    small = efface.methods.get("steer", {"rounds": "2", "steps": "4", "batch_forget": "8", "batch_retain": "16"})
    call = {"forget": tiny.forget, "method": small, "reference": REFERENCE}
    unlearn(tiny.model, task=tiny.task(forward=forward, batch_size=32), **call)
    assert max(sizes) == 32
    with pytest.raises(efface.RequestError, match="batch_size: expected a number of records, got 0"):
        unlearn(tiny.model, task=tiny.task(batch_size=0), **call)
