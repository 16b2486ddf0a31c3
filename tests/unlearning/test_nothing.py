"""Runs that unlearned nothing: none gives a model, and the error holds what the run found out."""

import pickle
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

import efface
from efface import EffaceError, NothingUnlearnedError
from efface.unlearning.evidence import Outcome
from efface.unlearning.nothing import changes_weights
from efface.unlearning.stopping import LooksUnseen, UtilityFloor
from helpers.calls import unlearn
from helpers.scripted import Scripted, forgetful, shift
from helpers.tiny import REFERENCE, Tiny, memorise, mlp, weights


def nothing(tiny: Tiny, method: Any, model: nn.Module | None = None, **call: Any) -> NothingUnlearnedError:
    """The error of a run."""
    given = {"forget": tiny.forget, "task": tiny.task(), "method": method, "reference": REFERENCE, **call}
    with pytest.raises(NothingUnlearnedError) as caught:
        unlearn(tiny.model if model is None else model, **given)
    return caught.value


def test_a_run_that_could_keep_no_step_gives_no_model_but_its_evidence(tiny: Tiny) -> None:
    before = weights(tiny.model)
    ruinous = efface.methods.get("neggrad_plus", {"alpha": "0", "steps": "60", "every": "60", "lr": "0.05"})
    error = nothing(tiny, ruinous, seed=3)
    assert isinstance(error, EffaceError) and not isinstance(error, efface.RequestError)
    assert (error.evidence.outcome, error.evidence.chosen_step) == (Outcome.UTILITY_FLOOR, 0)
    assert (error.method, error.seed, len(error.evidence.evaluations)) == (ruinous, 3, 2)
    assert error.cost.phases["steps"].backward > 0
    assert any("holdout records" in line for line in error.warnings)
    first, *rest = str(error).splitlines()
    assert first.startswith("nothing was unlearned by neggrad_plus: no step could be kept, so the weights are the orig")
    assert rest == [f"  next: {step}" for step in error.next_steps]
    assert "NegGradPlus(lr=0.0167) (--option lr=0.0167)" in error.next_steps[0]
    assert any("UtilityFloor(drop=" in step for step in error.next_steps) and "--retrain" in error.next_steps[-1]
    assert weights(tiny.model) == before


def test_steps_that_go_too_far_and_back_to_the_original_unlearned_nothing(tiny: Tiny) -> None:
    at = torch.tensor(tiny.forget)

    def shun(model: nn.Module) -> None:
        memorise(model, tiny.x[at], (tiny.y[at] + 1) % 3, steps=60)

    # the only evaluation is farther from the target than nothing at all would be, or ruins the model
    error = nothing(tiny, Scripted(moves=(forgetful,)), stop=UtilityFloor(drop=0.01) | LooksUnseen())
    assert error.evidence.outcome is Outcome.UTILITY_FLOOR
    kept = unlearn(
        tiny.model,
        forget=tiny.forget,
        task=tiny.task(),
        method=Scripted(moves=(shift(1e-3), shun)),
        stop=LooksUnseen(),
        reference=REFERENCE,
    )
    assert kept.evidence.chosen_step == 1 and changes_weights(kept.original, kept.model)


@pytest.mark.parametrize("evaluate", [True, False])
@pytest.mark.parametrize("moves", [(), (shift(0.0), shift(0.0))])
def test_steps_that_leave_every_bit_unlearned_nothing(moves: Any, evaluate: bool, tiny: Tiny) -> None:
    error = nothing(tiny, Scripted(moves=moves), evaluate=evaluate and bool(moves))
    said = "after 2 steps every weight is bit for bit the original's" if moves else "no step was taken"
    assert said in error.reason


def test_a_step_too_small_for_the_weights_precision_unlearned_nothing(tiny: Tiny) -> None:
    """In half precision a change by a millionth is lost."""
    half = tiny.fresh().to(torch.bfloat16)

    def nudge(model: nn.Module) -> None:
        with torch.no_grad():
            for p in model.parameters():
                p.mul_(1 + 1e-6)

    task = tiny.task(forward=lambda model, x: model(x.to(torch.bfloat16)).float())
    error = nothing(tiny, Scripted(moves=(nudge,)), half, task=task, evaluate=False)
    assert "bit for bit" in error.reason and "method=... or seed=..." in " ".join(error.next_steps)


def test_statistics_of_normalisation_alone_are_nothing(tiny: Tiny) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = memorise(nn.Sequential(nn.BatchNorm1d(16), nn.Linear(16, 3)), tiny.x, tiny.y)

    def pass_through(model: nn.Module) -> None:
        model[0].running_mean += 0.5

    assert "bit for bit" in nothing(tiny, Scripted(moves=(pass_through,)), model, evaluate=False).reason


def test_only_the_control_that_does_nothing_may_do_nothing(tiny: Tiny) -> None:
    result = efface.unlearn(tiny.model, forget=tiny.forget, task=tiny.task(), method="noop")
    assert weights(result.model) == weights(tiny.model)

    # a retraining whose Task.fit loads the weights is none
    def fit(model: nn.Module, data: Any, seed: int) -> None:
        model.load_state_dict(tiny.model.state_dict())

    idle = tiny.task(build_model=mlp, fit=fit)
    error = nothing(tiny, "retrain", task=idle, evaluate=False)
    assert error.next_steps[0].startswith("let Task.build_model make an untrained network")


def test_the_error_can_be_sent_to_another_process(tiny: Tiny) -> None:
    error = nothing(tiny, Scripted(moves=()), evaluate=False)
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error) and copy.evidence == replace(error.evidence) and copy.method == error.method


def test_a_weight_that_is_nan_in_both_was_not_changed() -> None:
    one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    other.load_state_dict(one.state_dict())
    assert not changes_weights(one, other)
    with torch.no_grad():
        for model in (one, other):
            model.weight[0, 0] = float("nan")
    assert not changes_weights(one, other)
    with torch.no_grad():
        other.bias[1] = torch.nextafter(other.bias[1], torch.tensor(9.0))
    assert changes_weights(one, other)
