"""The forget set is found by its ids, in few bytes a record, and every problem with ids is one line."""

from collections import Counter
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset, Subset

from efface import Task
from efface.data.checks import Findings, find_forget, read_forget
from efface.types import RecordId
from helpers.memory import Names, growth

FEW, MANY = 10_000, 60_000


def test_names_of_records_are_checked_in_few_bytes_a_record() -> None:
    def checked(n: int) -> Findings:
        found, names = Findings(), Names(n)
        task = Task(train=None, holdout=None, ids=names)  # type: ignore[arg-type]
        asked = [names[7], names[n - 1]]
        at = find_forget(task, asked, asked, n, found).at
        assert at.tolist() == [7, n - 1] and not found.problems
        return found

    assert growth(checked, FEW, MANY)[1] < 40


pool: list[RecordId] = [-1, -2, 0, 2**61 - 1, 1, np.int64(1), "1", "a", np.str_("a"), 2**64]  # type: ignore[list-item]


@given(st.lists(st.sampled_from(pool), min_size=2, max_size=12))
@settings(max_examples=200, deadline=None)
def test_ids_that_occur_twice_are_those_that_a_counter_finds(ids: list[RecordId]) -> None:
    """Some of them have equal hashes and are not equal."""
    found = Findings()
    task = Task(train=None, holdout=None, ids=ids)  # type: ignore[arg-type]
    find_forget(task, ids[:1], read_forget(ids[:1], found), len(ids), found)
    doubles = [i for i, n in Counter(ids).items() if n > 1]
    more = f" and {len(doubles) - 3} more" if len(doubles) > 3 else ""
    doubles = [i.item() if isinstance(i, np.generic) else i for i in doubles]
    line = f"ids name more than one training record: {', '.join(map(repr, doubles[:3]))}{more}; ids must be unique"
    assert any(p.startswith(line) for p in found.problems) == bool(doubles)
    assert len([p for p in found.problems if p.startswith("ids name")]) == bool(doubles)


class Unread(Dataset[int]):
    """Records that must not be read."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, at: int) -> int:
        raise AssertionError("a record was read")


def test_records_in_place_of_their_ids_are_refused_and_not_read() -> None:
    forget: Any
    for forget in (Unread(), Subset(Unread(), [0, 1]), DataLoader(Unread())):
        found = Findings()
        assert read_forget(forget, found) == []
        kind = type(forget).__name__
        assert found.problems == [
            f"forget: expected the ids of records, got records ({kind}): give ids, such as [17, 402]"
        ]
