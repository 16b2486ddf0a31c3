"""What a request may look like, and what its checks must not do: train the caller's network, or read twice."""

from collections import Counter, UserDict, defaultdict
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import efface
from efface import Recipe, RequestError
from efface.data.records import Batch, Records, content_hashes, map_tensors, tensors_in
from efface.models.init import fresh_model, try_fresh
from efface.models.training import retrain
from efface.request import Request, check_others, check_request
from efface.runtime.cost import Meter
from helpers.refused import Adapted, Scaled, bag, padded
from helpers.tiny import CLASSES, FEATURES, RECORDS, Tiny, bits, mlp


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
@pytest.mark.parametrize("judging", [True, False])
def test_a_whole_class_is_noted(full: bool, judging: bool, tiny: Tiny) -> None:
    y = tiny.y.clone()
    y[y == 2] = 0
    y[:10] = 2
    task = tiny.task(train=TensorDataset(tiny.x, y))
    said = "the request takes every record of class 2"
    request = check(tiny, task=task, forget=range(10), judging=judging, full=full)
    assert request.forget_classes == (2,) and said in request.warnings
    rest = check(tiny, task=task, forget=range(9), judging=judging, full=full)
    assert rest.forget_classes == () and said not in rest.warnings


def test_every_first_problem_is_listed_at_once(tiny: Tiny) -> None:
    with torch.inference_mode(), pytest.raises(RequestError) as caught:
        efface.unlearn(torch.sum, forget=torch.tensor(3), task=tiny.task(holdout=None))  # type: ignore[arg-type]
    starts = ("forget: expected a one", "holdout is missing", "without records that", "model: expected", "nothing can")
    for line, start in zip(caught.value.problems, starts, strict=True):
        assert line.startswith(start)
    assert caught.value.problems[-1].endswith("call efface outside torch.inference_mode()")


def test_without_fresh_networks_none_need_be_possible(tiny: Tiny) -> None:
    check(tiny, model=Scaled(), fresh=False)
    check(tiny, task=tiny.task(build_model=lambda: tiny.model), fresh=False)
    held = TensorDataset(tiny.holdout_x.half(), tiny.holdout_y)
    half = tiny.task(train=TensorDataset(tiny.x.half(), tiny.y), holdout=held)
    check(tiny, model=mlp().half(), task=half, fresh=False, judging=True)
    with pytest.raises(RequestError, match="float16 weights cannot be trained"):
        check(tiny, model=mlp().half(), task=half, fresh=False)


def test_other_models_are_checked_by_name(tiny: Tiny) -> None:
    with pytest.raises(RequestError) as caught:
        check_others({"unlearned": [mlp()], "retrained[0]": nn.Linear(FEATURES, 5)}, check(tiny))  # type: ignore[dict-item]
    assert caught.value.problems == (
        "unlearned: expected a torch.nn.Module, got list",
        "retrained[0]: it has 5 classes where the original has 3",
    )


def test_test_records_are_compared_without_reading_the_others_again(tiny: Tiny) -> None:
    """Each record is read by the pass over all, and besides by the few looks at the first ones and those to forget."""

    class Counting(TensorDataset):
        def __getitem__(self, at: int) -> Any:
            read[at] += 1
            return super().__getitem__(at)

    read: Counter[int] = Counter()
    x, y = tiny.x[50:60], tiny.y[50:60]
    task = tiny.task(train=Counting(tiny.x, tiny.y), test=TensorDataset(x, y))
    request = check(tiny, task=task, judging=True)
    assert [read[i] for i in (150, 299)] == [1, 1]
    assert request.warnings[-1] == "10 test records are also training records (by content), the first at position 0"
    assert check(tiny, task=task).warnings == ()


# fresh networks


def test_a_network_that_the_caller_holds_is_not_trained(tiny: Tiny) -> None:
    held = mlp()
    before = bits(held)
    fresh = fresh_model(tiny.task(build_model=lambda: held), tiny.model, 0)
    assert not {id(p) for p in fresh.parameters()} & {id(p) for p in held.parameters()}
    retrain(tiny.task(build_model=lambda: held), tiny.model, np.arange(100), 0, Meter(), Recipe(least_steps=3))
    assert bits(held) == before


def test_a_frozen_network_is_let_move_and_a_partly_frozen_one_stays_so(tiny: Tiny) -> None:
    fresh = fresh_model(tiny.task(build_model=lambda: mlp().requires_grad_(False)), tiny.model, 0)
    assert all(p.requires_grad for p in fresh.parameters())

    def partly() -> nn.Module:
        made = mlp()
        made[0].requires_grad_(False)
        return made

    fresh = fresh_model(tiny.task(build_model=partly), tiny.model, 0)
    assert [p.requires_grad for p in fresh.parameters()] == [False, False, True, True]


def test_each_parameter_gets_its_own_dtype(tiny: Tiny) -> None:
    original = mlp()
    original[2].double()
    fresh = fresh_model(tiny.task(build_model=mlp), original, 0)
    assert [p.dtype for p in fresh.parameters()] == [torch.float32, torch.float32, torch.float64, torch.float64]
    other = fresh_model(tiny.task(build_model=lambda: nn.Sequential(nn.Identity(), mlp())), original, 0)
    assert {p.dtype for p in other.parameters()} == {torch.float32}
    assert {p.dtype for p in fresh_model(tiny.task(build_model=mlp), mlp().bfloat16(), 0).parameters()} == {
        torch.bfloat16
    }


def test_a_fresh_network_keeps_nothing_of_an_adapter(tiny: Tiny) -> None:
    original = nn.Sequential(Adapted(), nn.ReLU(), nn.Linear(8, CLASSES))
    (line,) = try_fresh(tiny.task(), original)[1]
    assert line.startswith("no module resets 0.down, 0.up by") and line.endswith("give Task.build_model")
    with pytest.raises(RequestError, match=r"0\.down, 0\.up"):
        fresh_model(tiny.task(), original, 0)


def test_tied_weights_start_afresh_and_stay_tied(tiny: Tiny) -> None:
    original = nn.Sequential(nn.Linear(FEATURES, FEATURES), nn.Linear(FEATURES, FEATURES), nn.Linear(FEATURES, 3))
    original[1].weight = original[0].weight
    fresh = fresh_model(tiny.task(), original, 0)
    assert fresh[1].weight is fresh[0].weight and fresh[0].weight.isfinite().all()
    assert not torch.equal(fresh[0].weight, original[0].weight)


def test_an_integer_parameter_cannot_be_made_to_move(tiny: Tiny) -> None:
    original = mlp()
    original.register_parameter("count", nn.Parameter(torch.tensor(3), requires_grad=False))
    fresh = fresh_model(tiny.task(), original, 0)
    assert fresh.count == 3 and not fresh.count.requires_grad and fresh[0].weight.requires_grad


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        (lambda *_: [0.5, 0.4], "return the trained model; it returned list"),
        (lambda *_: {}["lr"], "Task.fit raised KeyError: 'lr'"),
    ],
)
def test_a_fit_that_is_wrong_is_told_in_a_line(fit: Any, message: str, tiny: Tiny) -> None:
    with pytest.raises(RequestError) as caught:
        efface.unlearn(tiny.model, forget=tiny.forget, task=tiny.task(fit=fit), method="retrain")
    (line,) = caught.value.problems
    assert message in line


# records


def test_mappings_of_any_kind_are_walked() -> None:
    a, b = torch.ones(2), torch.zeros(2)
    for tree in (UserDict(a=a, b=[b]), defaultdict(list, a=a, b=[b])):
        assert [t is s for t, s in zip(tensors_in(tree), (a, b), strict=True)] == [True, True]
        changed = map_tensors(tree, lambda t: t + 1)
        assert type(changed) is dict and changed["b"][0].eq(1).all() and changed["a"].eq(2).all()
    assert type(map_tensors(Counter(), torch.neg)) is Counter


def test_what_is_no_tensor_is_part_of_a_record(tiny: Tiny) -> None:
    y = torch.zeros(3).long()
    for inputs in (["a", "b", "a"], {"text": ("a", "b", "a"), "x": torch.ones(3, 2)}, [[1, 2, 1]]):
        first, second, third = content_hashes(Batch(inputs, y))
        assert first == third != second
    one, other = (content_hashes(Batch([["the", word]], y[:1])) for word in ("cat", "dog"))
    assert one != other
    arrays = [content_hashes(Batch([np.arange(2000) + k], y[:1])) for k in (0, 1, 0)]
    assert arrays[0] == arrays[2] != arrays[1]
    thing, same = object(), object()  # which show their addresses
    assert content_hashes(Batch([thing], y[:1])) == content_hashes(Batch([same], y[:1]))


def test_where_a_part_ends_is_part_of_a_record() -> None:
    y, one, two, three = torch.zeros(1).long(), *(torch.tensor([[*range(n)]]) for n in (1, 2, 3))
    assert content_hashes(Batch([one, three + 1], y)) != content_hashes(Batch([two, three[:, :2] + 2], y))


def test_a_records_hash_does_not_depend_on_its_company(tiny: Tiny) -> None:
    task = padded(tiny, holdout_first=(9, 9))
    train = Records(task.train, task)
    longer = Records([*task.train, (torch.ones(9).long(), 0)], task)
    assert train.hashes([7, 8]) == longer.hashes([7, 8, RECORDS])[:2]
    check(tiny, model=bag(), task=task)
