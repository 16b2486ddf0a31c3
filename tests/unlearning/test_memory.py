"""What a run holds in memory beside the model: nothing twice that does not move, and few activations at a time."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import efface
from efface import Recipe, UnlearnOptions
from efface.errors import RequestError
from efface.models.running import copy_model, own_weights
from efface.task import check_task
from helpers.tiny import REFERENCE, Tiny, weights


def half_frozen(tiny: Tiny) -> nn.Module:
    model = tiny.fresh()
    model[0].requires_grad_(False)  # type: ignore[index]
    return model


def addresses(model: nn.Module) -> set[int]:
    return {p.data_ptr() for p in model.parameters()}


def test_a_copy_shares_what_is_frozen_until_it_is_given_its_own(tiny: Tiny) -> None:
    model = half_frozen(tiny)
    copied = copy_model(model, share_frozen=True)
    assert addresses(copied) & addresses(model) == {p.data_ptr() for p in model[0].parameters()}  # type: ignore[index]
    assert [p.requires_grad for p in copied.parameters()] == [p.requires_grad for p in model.parameters()]
    own_weights(copied, model)
    assert not addresses(copied) & addresses(model) and weights(copied) == weights(model)
    assert not addresses(copy_model(model)) & addresses(model)
    # a wholly frozen model is one whose weights all move
    assert not addresses(copy_model(model.requires_grad_(False), share_frozen=True)) & addresses(model)


@pytest.mark.parametrize("method", ["steer", "retrain", "finetune"])
def test_a_result_shares_nothing_with_the_original(method: str, tiny: Tiny) -> None:
    model = half_frozen(tiny)
    before = weights(model)
    shared = set[int]()

    def forward(network: nn.Module, inputs: Tensor) -> Tensor:
        if network is not model:
            shared.update(addresses(network) & addresses(model))
        out: Tensor = network(inputs)
        return out

    options = UnlearnOptions(reference=REFERENCE, checks=False)
    result = efface.unlearn(model, forget=tiny.forget, task=tiny.task(forward=forward), method=method, options=options)
    assert weights(model) == before and not addresses(result.model) & addresses(model)
    if method != "retrain":  # which trains every weight anew
        assert shared == {p.data_ptr() for p in model[0].parameters()}  # type: ignore[index]


def test_steps_hold_the_activations_of_one_part_and_end_at_the_same_weights(tiny: Tiny) -> None:
    sizes: list[int] = []

    def forward(model: nn.Module, inputs: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            sizes.append(len(inputs))
        out: Tensor = model(inputs)
        return out

    options = UnlearnOptions(reference=Recipe(epochs=1, lr=1e-2, batch=32, least_steps=10), checks=False)
    found = []
    for micro_batch in (None, 10):
        sizes.clear()
        task = tiny.task(forward=forward, micro_batch=micro_batch)
        found.append(efface.unlearn(tiny.fresh(), forget=tiny.forget, task=task, options=options).model)
        assert max(sizes) == (10 if micro_batch else max(sizes)) and (micro_batch or max(sizes) > 30)
    for one, other in zip(*(m.parameters() for m in found), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("wrong", [0, 1.5, "8"])
def test_a_wrong_part_is_refused(wrong: Any, tiny: Tiny) -> None:
    with pytest.raises(RequestError, match=r"Task.micro_batch: expected a number of records, or None"):
        check_task(tiny.task(micro_batch=wrong))
