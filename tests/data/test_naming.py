"""Records of a Subset are named by its outermost data set, and a request that could mean two things is refused."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

from efface import Task
from efface.data.checks import Findings, find_forget, read_forget
from efface.data.naming import BASE, SUBSET, name_records
from efface.types import SizedDataset

SIZE = 500


def whole() -> TensorDataset:
    return TensorDataset(torch.arange(SIZE).float()[:, None], torch.arange(SIZE) % 3)


def task(train: SizedDataset, **given: Any) -> Task:
    return Task(train=train, holdout=whole(), **given)


def found(task: Task, forget: Any) -> tuple[list[int], Findings]:
    """Positions of the forget set, and what the checks found."""
    findings = Findings()
    asked = read_forget(forget, findings)
    return find_forget(task, forget, asked, len(task.train), findings).at.tolist(), findings


class Scaled(Subset[Any]):
    """A Subset that changes its records on the way out, as those that augment do."""

    def __getitem__(self, at: Any) -> Any:
        x, y = super().__getitem__(at)
        return 2 * x, y

    def __getitems__(self, at: list[int]) -> Any:
        return [self[i] for i in at]


class Endless(Dataset[Any]):
    """A data set without a length."""

    def __getitem__(self, at: int) -> Any:
        return torch.zeros(1), 0


class Doubled(Subset[Any]):
    """A Subset that gives each record twice."""

    def __len__(self) -> int:
        return 2 * len(self.indices)


@pytest.mark.parametrize("kind", [Subset, Scaled])
@pytest.mark.parametrize("indices", [list, tuple, np.array, torch.tensor])
def test_a_nested_subset_is_named_by_the_outermost_data_set(kind: type[Subset[Any]], indices: Any) -> None:
    train = kind(Subset(whole(), range(100, 400)), indices([7, 150, 3, -1]))
    problems: list[str] = []
    names = name_records(task(train), len(train), problems)
    assert not problems and names.numbering == BASE and not names.is_given and not names.by_position
    assert list(names.ids) == [107, 250, 103, 399]


def test_the_base_numbering_takes_the_record_that_the_data_set_has_there() -> None:
    order = np.random.default_rng(0).permutation(SIZE)[:400]
    train = Subset(whole(), order.tolist())
    asked = order[order >= 400][:9].tolist()
    at, findings = found(task(train), asked)
    assert not findings.problems
    assert [int(train[i][0]) for i in at] == asked


def test_a_request_that_could_mean_either_numbering_is_refused_until_one_is_stated() -> None:
    train = Subset(whole(), range(1, 401))
    line = (
        "train is a Subset, and the request could mean positions in its data set (id 5 is then its record 4) or in the "
        "Subset (id 5 is then record 6 of the data set): say which, by ids='base' or ids='subset'"
    )
    assert found(task(train), [5, 6])[1].problems == [line]
    for numbering, expected in ((BASE, [4, 5]), (SUBSET, [5, 6])):
        at, findings = found(task(train, ids=numbering), [5, 6])
        assert (at, findings.problems) == (expected, [])
    own, findings = found(task(train, ids=[f"r{i}" for i in range(400)]), ["r5"])
    assert (own, findings.problems) == ([5], [])


def test_ids_that_fit_one_numbering_alone() -> None:
    train = Subset(whole(), range(1, 401))
    at, findings = found(task(train), [5, 400])
    assert (at, findings.problems) == ([4, 399], [])
    problems = found(task(train), [0, 5])[1].problems
    assert problems[0].startswith("1 forget id is not in the training records (positions in the data set of 500")
    assert problems[1].endswith("give ids='subset' if you mean those")
    assert len(found(task(train), [0, 900])[1].problems) == 1


@pytest.mark.parametrize(
    "train",
    [
        Subset(whole(), range(400)),
        Subset(Subset(whole(), range(450)), np.arange(400)),
        Doubled(whole(), range(100, 300)),
        ConcatDataset([Subset(whole(), range(100, 300)), Subset(whole(), range(300, 500))]),
        whole(),
    ],
    ids=["identity", "nested identity", "another length", "concatenated", "no subset"],
)
def test_these_are_named_by_position(train: Any) -> None:
    problems: list[str] = []
    names = name_records(task(train), len(train), problems)
    assert names.ids == range(len(train)) and names.is_given and names.by_position and not problems


@pytest.mark.parametrize(
    ("train", "ids", "said"),
    [
        (whole(), BASE, "ids='base' is for a train that is a torch Subset, got TensorDataset: leave ids out"),
        (whole(), "bases", "or 'base' or 'subset', got 'bases'"),
        (Subset(whole(), [3, 3, 4]), None, "holds some records more than once (position 3): give ids="),
        (Subset(whole(), [3, 3, 4]), BASE, "holds some records more than once"),
        (Subset(whole(), [3, 900]), None, "are not all positions in its data set of 500 records"),
        (Subset(whole(), ["a", "b"]), None, "are not all positions in its data set"),  # type: ignore[list-item]
        (Subset(whole(), [True, False]), None, "are not all positions in its data set"),
        (Subset(Endless(), [7, 8]), None, "are not all positions in its data set of unknown length"),
    ],
)
def test_numberings_that_are_refused(train: Any, ids: Any, said: str) -> None:
    problems: list[str] = []
    name_records(task(train, ids=ids), len(train), problems)
    assert len(problems) == 1 and said in problems[0]


def test_a_subset_that_repeats_records_can_be_named_by_its_own_positions() -> None:
    at, findings = found(task(Subset(whole(), [3] * 400), ids=SUBSET), [0, 399])
    assert (at, findings.problems) == ([0, 399], [])
