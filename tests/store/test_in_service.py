"""The version in service must answer as when it was made, through the task of today."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from efface import Task
from efface.store import Stage, Store
from helpers.store_cases import ANEW, QUICK, people, task_of
from helpers.store_verbs import interrupt, pending, refused
from helpers.tiny import Tiny, mlp

Change = Callable[[Tiny], dict[str, Any]]
CODE = "holdout records another answer, or the same with another margin, than when it was made (up to 2 may"


def other_network(tiny: Tiny) -> dict[str, Any]:
    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(16, 48), nn.Tanh(), nn.Linear(48, 3))

    return {"build_model": build}


def hotter(tiny: Tiny) -> dict[str, Any]:
    """The same answers, and other logits."""
    return {"forward": lambda model, inputs: model(inputs) / 2}


def held(x: Tensor, y: Tensor) -> dict[str, Any]:
    return {"holdout": TensorDataset(x, y)}


def moved(tiny: Tiny) -> dict[str, Any]:
    return held(tiny.holdout_x.roll(1, 0), tiny.holdout_y.roll(1, 0))


def shorter(tiny: Tiny) -> dict[str, Any]:
    return held(tiny.holdout_x[:-1], tiny.holdout_y[:-1])


def first_gone(tiny: Tiny) -> dict[str, Any]:
    """The first record is gone, and another one was added at the end."""
    return held(torch.cat([tiny.holdout_x[1:], tiny.x[:1] + 1]), torch.cat([tiny.holdout_y[1:], tiny.y[:1]]))


def others_of_their_class(tiny: Tiny) -> dict[str, Any]:
    """Other records with the labels of the right ones."""
    return held(-tiny.holdout_x, tiny.holdout_y)


CHANGES: list[tuple[Change, str]] = [
    (other_network, CODE),
    (hotter, CODE),
    (others_of_their_class, CODE),
    (moved, "in the same order (other labels at its places)"),
    (shorter, "in the same order (it is shorter now)"),
    (first_gone, "in the same order (other labels at its places)"),
]


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_a_task_through_which_the_model_answers_otherwise_is_refused(
    asked_store: Store, tiny: Tiny, change: Change, message: str
) -> None:
    store = Store(asked_store.path, replace(task_of(tiny), **change(tiny)))
    (problem,) = refused(store.run, QUICK)
    assert message in problem and "version 1" in problem
    assert "efface run --retrain" in problem and "efface run --accept any" in problem
    run = store.history().runs[1]
    assert (run.stage, run.why, run.model, pending(store)) == (Stage.FAILED, "RequestError", None, [1])
    (warning,) = [line for line in store.verify(level=None).warnings if message in line]
    assert problem.startswith(warning)
    assert asked_store.run(QUICK).version is not None, "nothing is lost once it is put back"


def test_later_versions_must_answer_as_when_they_were_made_too(asked_store: Store, tiny: Tiny) -> None:
    asked_store.run(QUICK)
    asked_store.add(people([20]))
    store = Store(asked_store.path, replace(task_of(tiny), **other_network(tiny)))
    assert refused(store.run, QUICK)[0].startswith("version 2 gives ")
    assert asked_store.run(QUICK).version is not None
    versions = asked_store.history().versions
    assert versions[1].answers == versions[1].baseline == versions[3].baseline
    assert len({v.answers for v in versions.values()}) == 3


def test_any_goes_on_and_warns(asked_store: Store, tiny: Tiny) -> None:
    store = Store(asked_store.path, replace(task_of(tiny), **hotter(tiny)))
    with pytest.warns(UserWarning, match="than when it was made"):
        outcome = store.run(replace(QUICK, accept="any"))
    assert outcome.version is not None
    assert [CODE in line for line in outcome.warnings].count(True) == 1
    store.add(people([20]))
    assert store.run(QUICK).version is not None, "from then on it answers as when it was made"


def test_a_holdout_that_changed_is_noticed_until_a_lineage_begins_on_it(asked_store: Store, tiny: Tiny) -> None:
    store = Store(asked_store.path, replace(task_of(tiny), **moved(tiny)))
    with pytest.warns(UserWarning, match="other labels at its places"):
        version = store.run(replace(QUICK, accept="any")).version
    assert version is not None and version.drift is not None
    assert "other records than at the beginning of the lineage" in version.drift["missing"]
    store.add(people([20]))
    assert "accuracy that a new model loses cannot be measured" in refused(store.run, QUICK)[0]
    assert "efface run --retrain --accept any" in refused(store.run, QUICK)[0]
    assert "cannot be measured" in str(store.verify(level=None).warnings)


def test_an_interrupted_run_does_not_go_on_with_another_network(asked_store: Store, tiny: Tiny) -> None:
    interrupt(asked_store, QUICK, "run.made")
    store = Store(asked_store.path, replace(task_of(tiny), **other_network(tiny)))
    assert CODE in refused(store.run, QUICK)[0]
    assert pending(store) == [1]


def test_a_retraining_may_have_another_network_and_needs_the_same_holdout(asked_store: Store, tiny: Tiny) -> None:
    other = replace(task_of(tiny), **other_network(tiny))
    reordered = Store(asked_store.path, replace(other, **moved(tiny)))
    (problem,) = refused(reordered.run, ANEW)
    assert "accuracy that a new model loses cannot be measured" in problem
    with pytest.warns(UserWarning, match="other labels at its places"):
        version = reordered.run(replace(ANEW, accept="any")).version
    assert version is not None and version.answers == version.baseline
    reordered.add(people([20]))
    assert reordered.run(QUICK).version is not None, "the new lineage began on this holdout"
    reordered.add(people([30]))
    assert CODE in refused(Store(asked_store.path, replace(other, build_model=mlp, **moved(tiny))).run, QUICK)[0]


def test_a_longer_holdout_and_a_little_noise_are_no_change(asked_store: Store, tiny: Tiny) -> None:
    x, y = torch.cat([tiny.holdout_x, tiny.holdout_x[:9] + 1]), torch.cat([tiny.holdout_y, tiny.holdout_y[:9]])
    task = replace(task_of(tiny), forward=lambda model, inputs: model(inputs) * 1.001, **held(x, y))
    assert Store(asked_store.path, task).run(QUICK).version is not None


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda model, inputs: model(inputs)["logits"], "cannot read the holdout records through the task of today"),
        (lambda model, inputs: model(inputs)[:1], "the model returns 1 rows of outputs for 200 holdout records"),
        (lambda model, inputs: None, "cannot read the holdout records through the task of today"),
    ],
)
def test_a_model_that_gives_no_logits_any_more_is_refused(
    asked_store: Store, tiny: Tiny, forward: Any, message: str
) -> None:
    task: Task = replace(task_of(tiny), forward=forward)
    assert message in refused(Store(asked_store.path, task).run, QUICK)[0]
    assert message in str(Store(asked_store.path, task).verify(level=None).warnings)
