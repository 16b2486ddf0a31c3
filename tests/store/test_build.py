"""What a retraining checks before and after Task.fit, and what odd user code gives."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from efface import RequestError, Task
from efface.store import Stage, Store
from helpers.store_cases import ANEW, IDS, QUICK, all_bytes, people, task_of
from helpers.store_verbs import pending, refused
from helpers.tiny import Tiny, mlp


def with_twin(tiny: Tiny, **changes: Any) -> Task:
    """Record 200 has the content of record 7."""
    x, y = tiny.x.clone(), tiny.y.clone()
    x[200], y[200] = x[7], y[7]
    return replace(task_of(tiny), train=TensorDataset(x, y), **changes)


@pytest.fixture
def twin_store(tmp_path: Path, tiny: Tiny) -> Store:
    """A store in which one request waits, for a record whose twin stays."""
    store = Store.create(tmp_path / "twins", with_twin(tiny), tiny.model)
    store.add(people([5, 7, 9]))
    return store


@pytest.mark.parametrize("plan", [QUICK, ANEW])
def test_a_twin_that_stays_is_refused_and_can_be_asked_for(twin_store: Store, plan: Any) -> None:
    store = twin_store
    (problem,) = refused(store.run, plan)
    assert f"1 forget record has an exact twin that stays in training, which defeats forgetting: '{IDS[7]}'" in problem
    assert f"(twin of '{IDS[200]}')" in problem and "ask for the twins too" in problem
    assert "twins=" not in problem and "--twins" not in problem and "--confirm" not in problem
    assert pending(store) == [1] and store.history().runs[1].why == "RequestError"
    store.add(people([200]))
    assert store.run(plan).requests == (1, 2)
    assert not any(IDS[at].encode() in held for at in (7, 200) for held in all_bytes(store.path).values())


def test_a_twin_of_a_record_that_left_the_training_set_is_not_looked_for(twin_store: Store, tiny: Tiny) -> None:
    """What it held can no longer be read."""
    task = with_twin(tiny)
    kept = [at for at in range(len(IDS)) if at != 7]
    x, y = task.train.tensors  # type: ignore[attr-defined]
    fewer = replace(task, train=TensorDataset(x[kept], y[kept]), ids=people(kept))
    assert Store(twin_store.path, fewer).run(ANEW).version is not None


@pytest.mark.parametrize("plan", [QUICK, ANEW])
def test_other_records_of_the_same_group_are_told(asked_store: Store, tiny: Tiny, plan: Any) -> None:
    names = [f"Anna {at}" for at in range(len(IDS))]
    names[8] = names[10] = names[7]
    store = Store(asked_store.path, replace(task_of(tiny), groups=names))
    with pytest.warns(UserWarning, match="2 other records of the 1 group that requested records belong to stay"):
        outcome = store.run(plan)
    assert any("2 other records of the 1 group" in line for line in outcome.warnings)
    held = store.history().runs[1].model
    assert held is not None and not any("Anna" in line for line in held["warnings"])


def spoiled_inputs(tiny: Tiny) -> dict[str, Any]:
    x = tiny.x.clone()
    x[100, 0] = torch.nan
    return {"train": TensorDataset(x, tiny.y)}


def spoiled_labels(tiny: Tiny) -> dict[str, Any]:
    y = tiny.y.clone()
    y[100] = 3
    return {"train": TensorDataset(tiny.x, y)}


def moved_eval_records(tiny: Tiny) -> dict[str, Any]:
    return {"eval_records": TensorDataset(tiny.x.flip(0), tiny.y.flip(0))}


def unreadable(tiny: Tiny) -> dict[str, Any]:
    class Records(TensorDataset):
        def __getitem__(self, at: Any) -> Any:
            if at == 100:
                raise OSError("no such image")
            return super().__getitem__(at)

    return {"train": Records(tiny.x, tiny.y)}


def random_inputs(tiny: Tiny) -> dict[str, Any]:
    class Records(TensorDataset):
        def __getitem__(self, at: Any) -> Any:
            x, y = super().__getitem__(at)
            return x + torch.rand(()), y

    return {"train": Records(tiny.x, tiny.y)}


@pytest.mark.parametrize("asks", [True, False])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (spoiled_inputs, "inputs of training records hold NaN or infinite values"),
        (spoiled_labels, "targets of training records: the model has classes 0 to 2, got 3"),
        (moved_eval_records, "eval_records and train have different labels"),
        (unreadable, "no such image"),
        (random_inputs, "training records differ when read twice"),
    ],
)
def test_a_retraining_reads_all_records_first(
    store: Store, tiny: Tiny, change: Callable[[Tiny], dict[str, Any]], message: str, asks: bool
) -> None:
    def fit(model: nn.Module, dataset: Any, seed: int) -> None:
        raise AssertionError("training began")

    if asks:
        store.add(people([5]))
    spoiled = Store(store.path, replace(task_of(tiny), fit=fit, **change(tiny)))
    assert any(message in line for line in refused(spoiled.run, ANEW))
    assert all(run.stage is Stage.FAILED for run in store.history().runs.values())


def test_all_that_is_wrong_is_said_at_once(asked_store: Store, tiny: Tiny) -> None:
    task = with_twin(tiny)
    x, y = task.train.tensors  # type: ignore[attr-defined]
    x[100, 0], y[101] = torch.nan, 9
    problems = refused(Store(asked_store.path, task).run, ANEW)
    assert len(problems) == 3 and {"NaN", "targets", "twin"} == {
        word for word in ("NaN", "targets", "twin") if any(word in line for line in problems)
    }


def test_what_limits_an_unlearning_does_not_limit_a_retraining(store: Store, tiny: Tiny) -> None:
    """Its size, and classes that go wholly."""
    whole = [at for at, label in enumerate(tiny.y.tolist()) if label == 2]
    store.add(people(whole))
    with pytest.warns(UserWarning, match="the request takes every record of class 2"):
        assert store.run(ANEW).version is not None
    store.add(people([at for at in range(300) if at not in whole]))
    assert "nothing is left to train on" in refused(store.run, ANEW)[0]


def test_holdout_records_in_training_are_told(asked_store: Store, tiny: Tiny) -> None:
    x, y = torch.cat([tiny.x, tiny.holdout_x[:3]]), torch.cat([tiny.y, tiny.holdout_y[:3]])
    more = replace(task_of(tiny), train=TensorDataset(x, y), ids=[*IDS, "new-1", "new-2", "new-3"])
    with pytest.warns(UserWarning, match="3 holdout records are also training records"):
        assert Store(asked_store.path, more).run(ANEW).version is not None


def fit_another(model: nn.Module, dataset: Any, seed: int) -> nn.Module:
    return mlp(width=7)


def fit_named_otherwise(model: nn.Module, dataset: Any, seed: int) -> nn.Module:
    return nn.Sequential(model)


def fit_nothing(model: nn.Module, dataset: Any, seed: int) -> Any:
    return "trained"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fit": fit_another}, "network cannot hold: 0.weight is (7, 16) where it expects (48, 16)"),
        ({"fit": fit_named_otherwise}, "0.weight is missing where it expects (48, 16)"),
        ({"fit": fit_nothing}, "Task.fit: expected it to train in place"),
        ({"build_model": lambda: None}, "Task.build_model: "),
        ({"build_model": lambda: 1 / 0}, "Task.build_model raised ZeroDivisionError"),
        ({"build_model": lambda: mlp().to("meta")}, "Task.build_model: "),
        (
            {"build_model": lambda: nn.Linear(16, 1)},
            "Task.build_model: the model must return logits (records, classes); for 2",
        ),
        ({"build_model": lambda: nn.Linear(9, 3)}, "Task.build_model: the model cannot read the records"),
    ],
)
def test_odd_results_of_a_users_code_are_refused(
    asked_store: Store, tiny: Tiny, changes: dict[str, Any], message: str
) -> None:
    store = Store(asked_store.path, replace(task_of(tiny), **changes))
    lines = refused(store.run, ANEW)
    assert any(message in line for line in lines), lines
    if "build_model" in changes:
        with pytest.raises(RequestError):
            store.run(QUICK)
    assert asked_store.verify(level=None).problems == () and pending(store) == [1]


def test_what_is_judged_is_what_the_file_holds(asked_store: Store, tiny: Tiny) -> None:
    """What Task.fit sets beside the weights is lost with the process."""

    def fit(model: nn.Module, dataset: Any, seed: int) -> None:
        task_of(tiny).fit(model, dataset, seed)  # type: ignore[misc]
        model.sign = -1  # type: ignore[assignment]
        with torch.no_grad():
            model[2].weight *= -1  # type: ignore[index, operator]
            model[2].bias *= -1  # type: ignore[index, operator]

    store = Store(asked_store.path, replace(task_of(tiny), fit=fit, forward=lambda m, x: m(x) * getattr(m, "sign", 1)))
    outcome = store.run(ANEW)
    assert outcome.version is None and "past the limit" in outcome.reasons[0]


def test_a_model_that_comes_back_in_another_dtype_can_be_loaded_again(asked_store: Store, tiny: Tiny) -> None:
    def fit(model: nn.Module, dataset: Any, seed: int) -> nn.Module:
        task_of(tiny).fit(model, dataset, seed)  # type: ignore[misc]
        return model.train().double()

    store = Store(asked_store.path, replace(task_of(tiny), fit=fit, forward=lambda m, x: m(x.to(m[0].weight.dtype))))
    assert store.run(ANEW).version is not None
    store.add(people([20]))
    assert store.run(QUICK).version is not None
