"""Groups of records: their keys from any container, and what is refused of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import efface
from efface import RequestError
from efface.data.clusters import cluster_numbers, read_keys
from helpers.tiny import HOLDOUT, RECORDS, Tiny

KEYS = [f"person {i // 7}" for i in range(RECORDS)]


@pytest.mark.parametrize("given", [tuple, list, np.array, lambda keys: dict(enumerate(keys)).values()])
def test_keys_are_read_from_any_container_by_position(given: Callable[[list[str]], Any], tiny: Tiny) -> None:
    keys = read_keys(tiny.task(groups=given(KEYS)))
    assert keys.keys() == {"train"} and list(keys["train"]) == KEYS
    found = cluster_numbers(keys["train"], np.array([50, 3, 4, 49, 299, 5]))
    assert found is not None and found.tolist() == [0, 1, 1, 0, 2, 1]


def test_numbers_and_texts_are_other_keys(tiny: Tiny) -> None:
    assert cluster_numbers([1, "1", 1], np.arange(3)).tolist() == [0, 1, 0]  # type: ignore[union-attr]
    assert list(read_keys(tiny.task(groups=torch.arange(RECORDS)))["train"]) == list(range(RECORDS))
    assert cluster_numbers(None, np.arange(3)) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"groups": KEYS[:9]}, f"groups: expected one key for each of the {RECORDS} training records, got 9"),
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
    task = tiny.task(groups=KEYS, holdout_groups=others)
    options = efface.UnlearnOptions(evaluate=False)
    apart = efface.unlearn(tiny.model, forget=tiny.forget, task=task, method="noop", options=options)
    assert not any("holdout_groups" in line for line in apart.warnings)
    task.holdout_groups = [KEYS[tiny.forget[0]], KEYS[tiny.forget[0]], "person 42", *others[3:]]
    shared = efface.unlearn(tiny.model, forget=tiny.forget, task=task, method="noop", options=options)
    assert any(line.startswith("2 holdout records are of groups of forget records") for line in shared.warnings)
