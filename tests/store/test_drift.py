"""Drift is counted from the first model of a lineage, and limits say when a retraining is due."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from efface.models.checkpoint import load_weights
from efface.store import DriftLimits, Store, StoreSettings
from helpers.store_cases import ANEW, BATCHES, QUICK, people, task_of
from helpers.store_verbs import loaded, refused, result_of
from helpers.tiny import HOLDOUT, Tiny, mlp


@pytest.fixture
def store(asked_store: Store) -> Store:
    return asked_store


def test_drift_agrees_with_counting_one_record_after_the_other(store: Store, tiny: Tiny, tmp_path: Path) -> None:
    store.run(QUICK)
    store.add(people([20, 30]))
    drift = store.run(QUICK).version.drift  # type: ignore[union-attr]
    assert drift is not None
    now = mlp()
    load_weights(now, store.current)
    said = [[int(m(x[None]).argmax()) for x in tiny.holdout_x] for m in (tiny.model, now)]
    truth = tiny.holdout_y.tolist()
    changed = sum(a != b for a, b in zip(*said, strict=True)) / len(truth)
    right = [sum(a == b for a, b in zip(s, truth, strict=True)) / len(truth) for s in said]
    assert drift["records"] == len(truth)
    assert drift["changed"] == pytest.approx(changed)
    assert drift["changed"] > 0
    assert drift["accuracy"] == pytest.approx(right[1] - right[0])


@pytest.mark.parametrize(
    ("limits", "due"),
    [
        (DriftLimits(changed=0.9, accuracy=0.9), []),
        (DriftLimits(changed=0.0, accuracy=0.9), ["of holdout answers differ from the first model's (limit 0.0%)"]),
        (DriftLimits(changed=0.9, accuracy=0.0), ["holdout accuracy fell by"]),
        (DriftLimits(changed=0.0, accuracy=0.0), ["of holdout answers differ", "holdout accuracy fell by"]),
    ],
)
def test_limits_say_when_a_retraining_is_due(
    tmp_path: Path, tiny: Tiny, limits: DriftLimits, due: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A class is preferred from then on, so answers change and accuracy falls."""

    def worse(model: nn.Module, **given: Any) -> Any:
        with torch.no_grad():
            model[2].bias[0] += 4.0  # type: ignore[index, operator]
        return result_of(model, **given)

    monkeypatch.setattr("efface.store.build.unlearn", worse)
    store = Store.create(tmp_path / "store", task_of(tiny), tiny.model, settings=StoreSettings(limits=limits))
    store.add(people([5]))
    outcome = store.run(replace(QUICK, accept="any"))
    assert outcome.version is not None
    assert outcome.version.drift is not None
    assert 0 < outcome.version.drift["changed"] < 0.9
    assert outcome.version.drift["accuracy"] < 0
    assert len(outcome.retraining) == len(due)
    assert all(text in line for text, line in zip(due, outcome.retraining, strict=True))
    assert store.status().retraining == outcome.retraining
    store.run(ANEW)
    assert store.status().retraining == ()


def test_a_shorter_holdout_gives_no_drift_and_says_why(store: Store, tiny: Tiny) -> None:
    held = torch.utils.data.TensorDataset(tiny.holdout_x[:150], tiny.holdout_y[:150])
    shorter = Store(store.path, replace(task_of(tiny), holdout=held))
    (problem,) = refused(shorter.run, QUICK)
    assert "(it is shorter now)" in problem and "efface run --accept any" in problem
    with pytest.warns(UserWarning, match="shorter now"):
        outcome = shorter.run(replace(QUICK, accept="any"))
    assert outcome.version is not None
    assert "the holdout is shorter than at the beginning" in outcome.version.drift["missing"]  # type: ignore[index]
    assert outcome.retraining == ()


def test_drift_is_counted_from_the_first_model_of_the_lineage(tmp_path: Path, tiny: Tiny) -> None:
    store = Store.create(tmp_path / "store", task_of(tiny), tiny.model)
    for wanted in BATCHES[:2]:
        store.add(people(wanted))
        store.run(QUICK)
    store.run(ANEW)
    for wanted in BATCHES[2:]:
        store.add(people(wanted))
        store.run(QUICK)

    def answers(number: int) -> list[int]:
        model = loaded(store, number)
        return [int(model(x[None]).argmax()) for x in tiny.holdout_x]

    def changed(first: int, last: int) -> float:
        return sum(a != b for a, b in zip(answers(first), answers(last), strict=True)) / HOLDOUT

    versions = store.history().versions
    assert versions[4].drift is None
    assert changed(1, 3) != changed(2, 3)
    for first, last in ((1, 2), (1, 3), (4, 5)):
        assert versions[last].drift["changed"] == pytest.approx(changed(first, last))  # type: ignore[index]
