"""Which models and records the methods take: the method proposed and one of plain descent on each kind."""

from typing import Any

import pytest
import torch

import efface
from efface import RequestError
from efface.data.records import Records
from efface.methods import Align, Influence, NegGradPlus, Retrain, Steer
from efface.models.running import logits_of
from efface.runtime.cost import Meter
from efface.unlearning.stopping import LooksUnseen
from helpers.networks import KINDS, make
from helpers.tiny import CLASSES, REFERENCE, Tiny, bits, weights

METHODS = {
    "steer": Steer(rounds=2, steps=8),
    "neggrad_plus": NegGradPlus(steps=8, every=4),
    "influence": Influence(rounds=2, iterations=4, sample=64),
    "align": Align(steps=8, every=4),
    "retrain": Retrain(epochs=2),
}


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        (kind, method)
        for kind in KINDS
        for method in ("steer", "neggrad_plus", "influence", "align")
        if (kind, method) != ("bag of words", "influence")  # refused: see below
    ],
)
def test_a_kind_of_model(kind: str, method: str, tiny: Tiny) -> None:
    model, task = make(kind, tiny)
    model.train()
    before = bits(model)
    recipe = KINDS[kind].reference
    result = efface.unlearn(
        model,
        forget=tiny.forget,
        task=task,
        method=METHODS[method],
        options=efface.UnlearnOptions(reference=recipe, stop=LooksUnseen()),
    )
    assert bits(model) == before
    ours = result.model
    # the original is given back where the steps made it worse
    assert (weights(ours) == weights(model)) == (result.evidence.chosen_step == 0)
    assert {k: v.dtype for k, v in ours.state_dict().items()} == {k: v.dtype for k, v in model.state_dict().items()}
    assert all(m.training for m in ours.modules())
    logits = logits_of(task, ours, Records(task.holdout, task), range(50), Meter())
    assert logits.shape == (50, CLASSES) and logits.isfinite().all()
    assert len(result.evidence.evaluations) >= 2


def test_influence_refuses_a_layer_without_second_derivatives(tiny: Tiny) -> None:
    model, task = make("bag of words", tiny)
    with pytest.raises(RequestError, match=r"does not allow that .*: use woodfisher"):
        efface.unlearn(
            model,
            forget=tiny.forget,
            task=task,
            method=METHODS["influence"],
            options=efface.UnlearnOptions(evaluate=False),
        )
    other = efface.methods.get("woodfisher", {"rounds": "1", "sample": "16"})
    done = efface.unlearn(
        model, forget=tiny.forget, task=task, method=other, options=efface.UnlearnOptions(evaluate=False)
    )
    assert weights(done.model) != weights(model)


@pytest.mark.parametrize("method", ["steer", "neggrad_plus", "influence", "retrain"])
def test_tied_weights_stay_tied(method: str, tiny: Tiny) -> None:
    model, task = make("tied", tiny)
    ours = efface.unlearn(
        model,
        forget=tiny.forget,
        task=task,
        method=METHODS[method],
        options=efface.UnlearnOptions(evaluate=False, reference=REFERENCE),
    ).model
    assert ours.second.weight is ours.first.weight
    assert not torch.equal(ours.first.weight, model.first.weight)


@pytest.mark.parametrize("method", ["steer", "retrain"])
def test_a_mask_stays_infinite_and_can_be_saved(method: str, tiny: Tiny, tmp_path: Any) -> None:
    model, task = make("infinite mask", tiny)
    result = efface.unlearn(
        model,
        forget=tiny.forget,
        task=task,
        method=METHODS[method],
        options=efface.UnlearnOptions(evaluate=False, reference=REFERENCE),
    )
    assert torch.equal(result.model.mask, model.mask)
    result.save(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("method", "moved"), [("steer", False), ("neggrad_plus", True), ("influence", False), ("align", False)]
)
def test_running_statistics_move_by_descent_alone(method: str, moved: bool, tiny: Tiny) -> None:
    """Steer judges a model as it is used, in eval mode, so it must not move them."""
    model, task = make("batch norm", tiny)
    ours = efface.unlearn(
        model,
        forget=tiny.forget,
        task=task,
        method=METHODS[method],
        options=efface.UnlearnOptions(evaluate=False, reference=REFERENCE),
    ).model
    assert torch.equal(ours[2].running_mean, model[2].running_mean) != moved


def test_one_record_and_batch_norm(tiny: Tiny) -> None:
    model, task = make("batch norm", tiny)
    for method in ("neggrad_plus", "steer", "influence", "align"):
        efface.unlearn(
            model,
            forget=(7,),
            task=task,
            method=METHODS[method],
            options=efface.UnlearnOptions(evaluate=False, reference=REFERENCE),
        )
