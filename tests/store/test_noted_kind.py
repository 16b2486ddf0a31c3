"""Stores of tasks of other kinds than classes: the kind is noted, and a run measures drift by it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import efface
from efface import RequestError
from efface.kinds import CLASSES
from efface.store import RunPlan, Store
from efface.store.drift import answers_of, drift_of
from efface.store.noted_kind import kind_settings, with_noted_kind
from helpers.kinds import KEYS, tiny_kind


def test_a_store_of_real_values_takes_a_request_and_honours_it(tmp_path: Path) -> None:
    tiny = tiny_kind("regression")
    store = Store.create(tmp_path / "store", tiny.task(), tiny.model)
    store.add(tiny.forget)
    outcome = Store(store.path, tiny.task()).run(RunPlan(level=None, accept="any"))
    version = outcome.version
    assert version is not None and version.drift is not None
    assert version.drift["records"] == 200 and -1 < version.drift["accuracy"] < 1
    noted = store.history().settings["kind"]
    assert noted["key"] == "regression" and len(noted["options"]["scale"]) == 2
    with pytest.raises(RequestError, match=r"Task.kind is multilabel .* the store was made for regression"):
        Store(store.path, tiny.task(kind="multilabel")).run()


def test_a_stated_kind_keeps_its_options_in_the_noted_units() -> None:
    settings = kind_settings(efface.Regression(scale=(2.0, 3.0)))
    task = tiny_kind("regression").task()
    assert with_noted_kind(task, settings).kind == efface.Regression(scale=(2.0, 3.0))
    stated = replace(task, kind=efface.Regression(trained_by="huber"))
    assert with_noted_kind(stated, settings).kind == efface.Regression(scale=(2.0, 3.0), trained_by="huber")
    assert with_noted_kind(replace(task, kind=None), {}).kind is CLASSES
    with pytest.raises(RequestError, match=r"Task.kind: efface knows no kind 'regresion'"):
        with_noted_kind(replace(task, kind="regresion"), settings)


@pytest.mark.parametrize("key", KEYS)
def test_answers_are_steady_and_their_drift_is_that_of_what_is_useful(key: str) -> None:
    tiny = tiny_kind(key)
    task = tiny.task(kind=efface.Regression(scale=(3.0, 0.5)) if key == "regression" else key)
    first, other = tiny.model, tiny.fresh()
    with torch.no_grad():
        for p in [*other.parameters()][-2:]:  # of the last layer, so that all outputs are turned round
            p.neg_()
    none = torch.empty(0, dtype=torch.long)
    same, now = answers_of(task, first), answers_of(task, other)
    assert drift_of(task, same, same, none)["changed"] == 0
    drift = drift_of(task, now, same, none)
    assert 0 < drift["changed"] <= 1 and drift["accuracy"] < 0 and drift["lost"] > drift["won"]
    assert drift["accuracy"] == pytest.approx(float(now.useful.double().mean() - same.useful.double().mean()), abs=1e-6)
    assert torch.equal(same.labels, now.labels)
