"""A group is one key a record: a request by group takes all of its records, one by id only those that it names."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from efface import ByGroup, Task
from efface.data.checks import Findings, find_forget, read_forget
from helpers.containers import Labelled

SIZE = 400
KEYS = [f"p{i // 4}" for i in range(SIZE)]


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
    assert at == [3, 4, 5, 6, 7]
    assert findings.warnings == [
        "3 other records of the 1 group that requested records belong to stay in training: a request by group takes "
        "all records of a group"
    ]
    assert not found([4, 5, 6, 7], groups=KEYS)[1].warnings


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
