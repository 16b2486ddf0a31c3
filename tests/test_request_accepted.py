"""What a request may look like, and what its checks must not do: train the caller's network, or read twice."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import efface
from efface import RequestError
from efface.request import Request, check_others, check_request
from helpers.refused import Scaled, bag, padded
from helpers.tiny import FEATURES, RECORDS, Tiny, mlp


def check(tiny: Tiny, model: nn.Module | None = None, task: Any = None, forget: Any = None, **how: Any) -> Request:
    return check_request(
        model or tiny.model, task or tiny.task(), tiny.forget if forget is None else forget, **{"full": True, **how}
    )


@pytest.mark.parametrize(
    "ids",
    [
        [7, 5, 9],
        (7, 5, 9),
        np.array([7, 5, 9], dtype=np.uint8),
        torch.tensor([7, 5, 9], dtype=torch.int16),
        [np.int64(7), torch.tensor(5), 9],
    ],
    ids=["a list", "a tuple", "an array", "a tensor", "scalars"],
)
def test_ids_to_forget_in_any_sequence(ids: Any, tiny: Tiny) -> None:
    request = check(tiny, forget=ids)
    assert request.ids == (7, 5, 9) and all(type(i) is int for i in request.ids)
    assert request.forget.tolist() == [7, 5, 9]


def test_a_set_of_ids_is_put_in_order(tiny: Tiny) -> None:
    """That of a set of strings differs from process to process."""
    names = [f"r{i}" for i in range(RECORDS)]
    wanted = {"r250", "r31", "r4", "r100", "r12"}
    request = check(tiny, task=tiny.task(ids=names), forget=wanted)
    assert request.ids == ("r100", "r12", "r250", "r31", "r4")
    assert check(tiny, forget={300 - i for i in range(1, 9)}).ids == tuple(range(292, 300))


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("for_audit", [True, False])
def test_a_whole_class_is_noted(full: bool, for_audit: bool, tiny: Tiny) -> None:
    y = tiny.y.clone()
    y[y == 2] = 0
    y[:10] = 2
    task = tiny.task(train=TensorDataset(tiny.x, y))
    said = "the request takes every record of class 2"
    request = check(tiny, task=task, forget=range(10), for_audit=for_audit, full=full)
    assert request.forget_classes == (2,) and said in request.warnings
    rest = check(tiny, task=task, forget=range(9), for_audit=for_audit, full=full)
    assert rest.forget_classes == () and said not in rest.warnings


def test_every_first_problem_is_listed_at_once(tiny: Tiny) -> None:
    with torch.inference_mode(), pytest.raises(RequestError) as caught:
        efface.unlearn(torch.sum, forget=torch.tensor(3), task=tiny.task(holdout=None))  # type: ignore[arg-type]
    starts = ("forget: expected a one", "holdout is missing", "without a holdout", "model: expected", "nothing can")
    for line, start in zip(caught.value.problems, starts, strict=True):
        assert line.startswith(start)
    assert caught.value.problems[-1].endswith("call efface outside torch.inference_mode()")


def test_without_fresh_networks_none_need_be_possible(tiny: Tiny) -> None:
    how = {"fresh": False, "full": False}  # untrained networks, which the full checks refuse
    check(tiny, model=Scaled(), **how)
    check(tiny, task=tiny.task(build_model=lambda: tiny.model), **how)
    held = TensorDataset(tiny.holdout_x.half(), tiny.holdout_y)
    half = tiny.task(train=TensorDataset(tiny.x.half(), tiny.y), holdout=held)
    check(tiny, model=mlp().half(), task=half, for_audit=True, **how)
    with pytest.raises(RequestError, match="float16 weights cannot be trained"):
        check(tiny, model=mlp().half(), task=half, **how)


def test_other_models_are_checked_by_name(tiny: Tiny) -> None:
    with pytest.raises(RequestError) as caught:
        check_others({"unlearned": [mlp()], "retrained[0]": nn.Linear(FEATURES, 5)}, check(tiny))  # type: ignore[dict-item]
    assert caught.value.problems == (
        "unlearned: expected a torch.nn.Module, got list",
        "retrained[0]: it has 5 classes where the original has 3",
    )


def test_test_records_are_compared_without_another_pass_over_the_others(tiny: Tiny) -> None:
    """Each record is read by the pass over all, and besides by checks of a few and of the model."""

    class Counting(TensorDataset):
        def __getitem__(self, at: int) -> Any:
            read[at] += 1
            return super().__getitem__(at)

    read: Counter[int] = Counter()
    x, y = torch.cat([tiny.x[50:60], tiny.x[:30] + 1]), tiny.y[50:90]
    task = tiny.task(train=Counting(tiny.x, tiny.y), test=TensorDataset(x, y))
    request = check(tiny, task=task, for_audit=True)
    compared = read.copy()
    read.clear()
    check(tiny, task=tiny.task(train=task.train), for_audit=True)
    assert compared == read and sorted(read.values())[RECORDS // 2] == 2
    said = "10 test records are also training records (equal inputs), the first at position 0: they were left out"
    assert request.warnings[-1] == f"{said}, and 30 remain" and request.twins.test == 10
    assert request.test is not None and torch.equal(request.test.read(range(30)).inputs, x[10:])
    assert check(tiny, task=task).warnings == ()


def test_records_padded_to_different_lengths_are_compared_alone(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("efface.request.check_knowledge", lambda *_: None)  # the network is untrained
    assert not len(check(tiny, model=bag(), task=padded(tiny, holdout_first=(9, 9))).shared)
    assert check(tiny, model=bag(), task=padded(tiny, holdout_first=(3, 1))).shared.tolist() == [0]


def test_eval_records_with_other_lengths_and_the_same_labels_are_taken(tiny: Tiny) -> None:
    """Train augments: it may crop to another size, and differs each time that it is read."""

    class Cropped(TensorDataset):
        def __getitem__(self, at: int) -> Any:
            x, y = super().__getitem__(at)
            return x[: 8 + int(torch.randint(4, ()))], y

    task = tiny.task(train=Cropped(tiny.x, tiny.y), eval_records=TensorDataset(tiny.x, tiny.y))
    assert check(tiny, task=task).warnings == ()


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        (lambda *_: [0.5, 0.4], "return the trained model; it returned list"),
        (lambda *_: {}["lr"], "Task.fit raised KeyError: 'lr'"),
    ],
)
def test_a_fit_that_is_wrong_is_refused_in_a_line(fit: Any, message: str, tiny: Tiny) -> None:
    with pytest.raises(RequestError) as caught:
        efface.unlearn(tiny.model, forget=tiny.forget, task=tiny.task(fit=fit), method="retrain")
    (line,) = caught.value.problems
    assert message in line
