"""What grows with the number of training records, and by how many bytes each: counted, never timed."""

import pickle
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import Dataset

from efface import RequestError, Task
from efface.data.checks import Findings
from efface.data.contents import check_classes
from efface.data.index import RecordIndex
from efface.data.records import Records
from efface.data.splits import make_splits
from efface.types import RecordId
from helpers.memory import Names, bytes_of, growth

FEW, MANY = 20_000, 120_000


class Drawn(Dataset[Any]):
    """Records that are made when they are asked for."""

    def __init__(self, records: int) -> None:
        self._records = records

    def __len__(self) -> int:
        return self._records

    def __getitem__(self, at: int) -> tuple[Tensor, int]:
        return torch.full((1,), float(at)), at % 3


# -- memory


@pytest.mark.parametrize("make", [Names, lambda n: np.arange(n) * 7], ids=["names", "numbers"])
def test_an_index_holds_few_bytes_a_record(make: Callable[[int], Any]) -> None:
    ids = {n: make(n) for n in (FEW, MANY)}
    held, most = growth(lambda n: RecordIndex(ids[n], n), FEW, MANY)
    assert 4 <= held <= 13 and most <= 60


def test_an_index_of_positions_holds_nothing() -> None:
    held, most = growth(lambda n: RecordIndex(None, n), FEW, MANY)
    assert abs(held) < 0.01 and most < 0.01


def test_a_smaller_power_of_two_takes_no_more() -> None:
    """The table has a power of two of buckets, so bytes a record go up and down between."""
    for n in (2**14 - 1, 2**14, 2**14 + 1, 3 * 2**13):
        held, _ = bytes_of(lambda n=n: RecordIndex(Names(n), n))
        assert held <= 12.2 * n + 4096


def test_parts_hold_positions_alone() -> None:
    held, most = growth(lambda n: make_splits(np.arange(100), n, 1000, seed=0), FEW, MANY)
    assert held <= 17 and most <= 60  # the retain set, and the shuffled one of which the parts are slices


def test_a_pass_over_records_holds_none_of_them() -> None:
    def passed(n: int) -> Findings:
        found = Findings()
        data = Drawn(n)
        check_classes(Records(data, Task(train=data, holdout=data)), np.arange(9), found)
        return found

    few, many = (bytes_of(lambda n=n: passed(n)) for n in (2_000, 20_000))
    assert many[1] - few[1] < 18_000  # less than a byte a record


# -- look-ups

numbers = st.integers(-(2**70), 2**70) | st.integers(-3, 3) | st.integers(0, 40).map(lambda k: k << 60)
names = st.text(max_size=3) | st.integers(-3, 3).map(str) | st.just("\ud800")
ids_of_records = st.lists(numbers | names, unique_by=lambda i: (type(i), i), max_size=60)
MISSING = [True, False, None, 1.0, b"1", (1,), [1]]


@given(ids_of_records, st.lists(numbers | names, max_size=20))
@settings(max_examples=200, deadline=None)
def test_an_index_is_like_a_dict(ids: list[RecordId], others: list[RecordId]) -> None:
    index, table = RecordIndex(ids, len(ids)), {name: at for at, name in enumerate(ids)}
    assert len(index) == len(ids)
    for name in [*ids, *others]:
        assert index.position(name) == table.get(name)
    assert index.positions(others) == {name: table[name] for name in others if name in table}
    assert list(index.positions(reversed(ids))) == ids[::-1]
    assert [index.position(odd) for odd in MISSING] == [None] * len(MISSING)
    copy = pickle.loads(pickle.dumps(index))
    assert [copy.position(name) for name in ids] == list(range(len(ids)))


@given(st.integers(0, 50), st.lists(numbers, max_size=20))
@settings(max_examples=100, deadline=None)
def test_without_ids_a_position_is_the_id(records: int, asked: list[int]) -> None:
    index, table = RecordIndex(None, records), {at: at for at in range(records)}
    assert index.positions(asked) == {i: table[i] for i in asked if i in table}
    assert [index.position(odd) for odd in [*MISSING, "1"]] == [None] * (len(MISSING) + 1)
    at = index.position(np.int64(0))
    assert at is None if not records else (at == 0 and type(at) is int)


@pytest.mark.parametrize("records", [100, FEW, MANY])
def test_a_look_up_reads_one_id_whatever_their_number(records: int) -> None:
    names = Names(records)
    index, asked = RecordIndex(names, records), [f"rec-{at:07d}" for at in range(0, records, 7)]
    names.read = 0
    assert len(index.positions(asked)) == len(asked)
    # another is read only where both lie in one bucket and half of their hashes are the same
    assert len(asked) <= names.read <= len(asked) + 2
    names.read = 0
    assert index.positions(f"none-{at}" for at in range(1000)) == {}
    assert names.read <= 2


@pytest.mark.parametrize(
    "ids", [Names(FEW), range(3, 7 * FEW, 7), range(0, FEW << 40, 1 << 40)], ids=["names", "sevens", "wide"]
)
def test_buckets_stay_small(ids: Any) -> None:
    """What a look-up walks through; by chance the fullest of 16,384 holds some 8."""
    assert RecordIndex(ids, FEW).largest_bucket <= 14


@pytest.mark.parametrize("step", [1, 2**8, 2**32, 2**33 + 1, -(10**6), 2**61 - 2])
def test_numbers_at_equal_steps_are_all_found(step: int) -> None:
    ids = [7 + step * k for k in range(5000)]
    index = RecordIndex(ids, len(ids))
    assert [index.position(i) for i in ids] == list(range(len(ids)))
    assert index.position(8) == (ids.index(8) if 8 in ids else None)


@pytest.mark.parametrize(
    "ids",
    [np.array([5, 3, 9], dtype=np.uint16), np.array(["5", "3", "9"]), (5, 3, 9), Names(3), np.array([5, 3, 9], object)],
    ids=["array", "array of strings", "tuple", "lazy", "array of objects"],
)
def test_ids_in_any_sequence(ids: Any) -> None:
    index = RecordIndex(ids, 3)
    own = [ids[at] for at in range(3)]
    assert [index.position(i) for i in own] == [0, 1, 2]
    python = [i.item() if isinstance(i, np.generic) else i for i in own]
    assert [index.position(i) for i in python] == [0, 1, 2]
    other: Iterable[RecordId] = [str(i) if isinstance(i, int) else int(i[-1]) for i in python]
    assert index.positions(other) == {}


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        ([1, 2], "expected one id for each of the 3 training records, got 2"),
        ([1, 2.0, 3], "record ids are integers or strings, got 2.0"),
        ([1, True, 3], "1 values are True or False: record ids are integers or strings"),
        (["a", "b", "a"], "ids name more than one training record: 'a'"),
        ([-1, 2, np.int64(-1)], "ids name more than one training record"),
    ],
)
def test_ids_that_are_refused(ids: Any, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        RecordIndex(ids, 3)


def test_ids_of_equal_hash_are_two_ids() -> None:
    assert hash(-1) == hash(-2) and hash(0) == hash(2**61 - 1)
    index = RecordIndex([-1, -2, 0, 2**61 - 1, "0"], 5)
    assert index.positions([-2, 2**61 - 1, "0", -1, 0]) == {-2: 1, 2**61 - 1: 3, "0": 4, -1: 0, 0: 2}
