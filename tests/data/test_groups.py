"""A group is one key a record, from any container; a request by group takes all of its records, one by id only some."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

import efface
from efface import ByGroup, RequestError, Task
from efface.data.checks import Findings, find_forget, read_forget
from efface.data.groups import cluster_numbers, read_keys, remaining_line
from helpers.containers import Labelled
from helpers.tiny import HOLDOUT, RECORDS, Tiny

SIZE = 400
KEYS = [f"p{i // 4}" for i in range(SIZE)]
PERSONS = [f"person {i // 7}" for i in range(RECORDS)]


def found(forget: Any, **given: Any) -> tuple[list[int], Findings]:
    data, findings = TensorDataset(torch.zeros(SIZE, 1), torch.zeros(SIZE)), Findings()
    task = Task(train=data, holdout=data, **given)
    asked = read_forget(forget, findings)
    return find_forget(task, forget, asked, SIZE, findings).at.tolist(), findings


@pytest.mark.parametrize("wanted", [["p3", "p1"], ("p3", "p1"), np.array(["p3", "p1"]), {"p3": 0, "p1": 0}.keys()])
@pytest.mark.parametrize("keys", [KEYS, np.array(KEYS), Labelled(KEYS, index=range(SIZE, 0, -1))])
def test_a_request_by_group_takes_all_of_its_records(wanted: Any, keys: Any) -> None:
    at, findings = found(ByGroup(wanted), groups=keys)
    assert at == [12, 13, 14, 15, 4, 5, 6, 7]
    assert not findings.problems and not findings.warnings


def test_groups_that_lie_scattered_and_are_numbers() -> None:
    assert found(ByGroup([2]), groups=np.arange(SIZE) % 40)[0] == list(range(2, SIZE, 40))


def test_a_request_by_id_takes_no_other_record_and_says_how_many_stay() -> None:
    at, findings = found([3, 4, 5, 6, 7], groups=KEYS)
    assert at == [3, 4, 5, 6, 7] and not findings.problems
    assert remaining_line(np.array(at), KEYS) == (
        "3 other records of the 1 group that requested records belong to stay in training: a request by group takes "
        "all records of a group"
    )
    assert remaining_line(np.arange(4, 8), KEYS) is None


@pytest.mark.parametrize(
    ("forget", "given", "said"),
    [
        (ByGroup(["p3"]), {}, "the request names groups, but the task has none: set Task.groups"),
        (ByGroup(["P3", "q"]), {"groups": KEYS}, "2 groups have no training records (Task.groups): 'P3', 'q'; 'p3' is"),
        (ByGroup([]), {"groups": KEYS}, "name at least one group"),
        (ByGroup(["p3", "p3"]), {"groups": KEYS}, "names groups 'p3' more than once"),
        (ByGroup([1.0]), {"groups": KEYS}, "forget: record ids are integers or strings, got 1.0"),
        ([3], {"groups": KEYS[:9]}, "groups: expected one key for each of the 400 training records, got 9"),
        ([3], {"groups": [None] * SIZE}, "groups: 400 keys of groups are missing"),
        ([3], {"groups": set(KEYS)}, "groups: a set has no order"),
    ],
)
def test_groups_that_are_refused(forget: Any, given: dict[str, Any], said: str) -> None:
    problems = found(forget, **given)[1].problems
    assert any(said in problem for problem in problems)


@pytest.mark.parametrize("given", [tuple, list, np.array, lambda keys: dict(enumerate(keys)).values()])
def test_keys_are_read_from_any_container_by_position(given: Callable[[list[str]], Any], tiny: Tiny) -> None:
    problems: list[str] = []
    keys = read_keys(tiny.task(groups=given(PERSONS)), problems)
    assert not problems and keys.keys() == {"train"} and list(keys["train"]) == PERSONS
    found = cluster_numbers(keys["train"], np.array([50, 3, 4, 49, 299, 5]))
    assert found is not None and found.tolist() == [0, 1, 1, 0, 2, 1]


def test_numbers_and_texts_are_other_keys(tiny: Tiny) -> None:
    assert cluster_numbers([1, "1", 1], np.arange(3)).tolist() == [0, 1, 0]  # type: ignore[union-attr]
    assert list(read_keys(tiny.task(groups=torch.arange(RECORDS)), [])["train"]) == list(range(RECORDS))
    assert cluster_numbers(None, np.arange(3)) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"groups": PERSONS[:9]}, f"groups: expected one key for each of the {RECORDS} training records, got 9"),
        (
            {"holdout_groups": ["a"]},
            f"holdout_groups: expected one key for each of the {HOLDOUT} holdout records, got 1",
        ),
        ({"holdout_groups": "persons"}, "holdout_groups: expected a sequence of keys of groups, got str"),
        ({"holdout_groups": {"a", "b"}}, "holdout_groups: a set has no order"),
        ({"holdout_groups": 7}, "holdout_groups: expected a sequence of keys of groups, got int"),
        ({"test_groups": ["a"]}, "test_groups: given without test records"),
        ({"holdout_groups": [1.5] * HOLDOUT}, "holdout_groups: keys of groups are integers or strings, got 1.5"),
        (
            {"holdout_groups": [True] * HOLDOUT},
            f"holdout_groups: {HOLDOUT} values are True or False",
        ),
        ({"holdout_groups": [None] * HOLDOUT}, f"holdout_groups: {HOLDOUT} keys of groups are missing"),
    ],
)
def test_groups_that_do_not_fit_are_refused_before_any_work(changes: dict[str, Any], said: str, tiny: Tiny) -> None:
    with pytest.raises(RequestError) as raised:
        efface.unlearn(tiny.model, forget=tiny.forget, task=tiny.task(**changes))
    assert said in str(raised.value)


def test_all_problems_with_groups_are_refused_at_once(tiny: Tiny) -> None:
    with pytest.raises(RequestError) as raised:
        efface.unlearn(tiny.model, forget=[-1], task=tiny.task(groups=[1], holdout_groups=[2], test_groups=[3]))
    assert all(f"{name}:" in str(raised.value) for name in ("groups", "holdout_groups", "test_groups"))
    assert "-1" in str(raised.value)


def test_a_person_on_both_sides_is_a_warning(tiny: Tiny) -> None:
    others = [f"other {i}" for i in range(HOLDOUT)]
    task = tiny.task(groups=PERSONS, holdout_groups=others)
    options = efface.UnlearnOptions(evaluate=False)
    apart = efface.unlearn(tiny.model, forget=tiny.forget, task=task, method="noop", options=options)
    assert not any("holdout_groups" in line for line in apart.warnings)
    task.holdout_groups = [PERSONS[tiny.forget[0]], PERSONS[tiny.forget[0]], "person 42", *others[3:]]
    shared = efface.unlearn(tiny.model, forget=tiny.forget, task=task, method="noop", options=options)
    assert any(line.startswith("2 holdout records are of groups of forget records") for line in shared.warnings)
