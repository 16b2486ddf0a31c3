"""Ids are read from any container, once, by position and exactly; what is no id is refused in one line a kind."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from efface.data.ids import ArrayIds, read_ids
from helpers.containers import Labelled

BIG = 2**63 - 1


def read(ids: Any, **how: Any) -> Any:
    """The ids as a list, or the problems."""
    problems: list[str] = []
    found = list(read_ids(ids, "ids", problems, **how))
    assert not (found and problems)
    return problems or found


ARRAYS = [np.array([5, BIG, -BIG - 1]), torch.tensor([5, BIG, -BIG - 1]), np.array([5, BIG, -BIG - 1], object)]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        *((array, [5, BIG, -BIG - 1]) for array in ARRAYS),
        (np.array([2**64 - 1, 0], dtype=np.uint64), [2**64 - 1, 0]),
        ((5, "5", 2**70), [5, "5", 2**70]),
        ([np.int32(5), np.str_("a"), np.uint64(2**63), torch.tensor(7), np.array(8)], [5, "a", 2**63, 7, 8]),
        (np.array(["b", "a"]), ["b", "a"]),
        ({"b": 1, "a": 2}.keys(), ["b", "a"]),
        ({"b": 1, "a": 2}.values(), [1, 2]),
        (range(3, 9, 3), [3, 6]),
        (Labelled(["b", "a"], index=[1, 0]), ["b", "a"]),
        (np.array([5, 6, 7])[::-1], [7, 6, 5]),
        (np.array([5, 6, 7], dtype=">i8"), [5, 6, 7]),
    ],
)
def test_ids_in_any_container(ids: Any, expected: list[Any]) -> None:
    found = read(ids)
    assert found == expected
    assert {type(i) for i in found} <= {int, str}
    assert list(read_ids(ids, "ids", []))[::-1] == [read_ids(ids, "ids", [])[at] for at in range(len(expected))][::-1]


def test_a_pandas_series_or_index_is_read_by_position() -> None:
    pandas = pytest.importorskip("pandas")
    series = pandas.Series(["b", "a", "c"], index=[2, 0, 1])
    assert read(series) == ["b", "a", "c"] and read(pandas.Index(["b", "a"])) == ["b", "a"]
    assert read(pandas.Series([2**62, 3], index=["x", "y"])) == [2**62, 3]
    assert "1 record ids are missing" in read(pandas.Series([1, None], dtype="Int64"))[0]
    assert "got a 2-D DataFrame" in read(pandas.DataFrame({"id": [1]}))[0]


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        ("ab", ["expected a sequence of record ids, got str"]),
        ({"a": 1}, ["expected a sequence of record ids, got dict"]),
        ((i for i in range(3)), ["expected a sequence of record ids, got generator"]),
        (7, ["expected a sequence of record ids, got int"]),
        ({1, 2}, ["a set has no order"]),
        (np.zeros((2, 2), dtype=int), ["got a 2-D ndarray"]),
        (np.array(5), ["got a 0-D ndarray"]),
        (
            [1.0, 2.5, None, True, b"a", float("nan")],
            ["got 1.0, 2.5", "2 record ids are missing", "True or", "b'a'"],
        ),
        (np.array([1.0, 2.0]), ["got 1.0, 2.0: convert them, e.g. by .astype('int64')"]),
        (torch.tensor([1.0]), ["got 1.0"]),
        (np.array([True, False]), ["a boolean mask: give ids"]),
        (torch.tensor([True, False]), ["a boolean mask: give ids"]),
        ([np.True_, True], ["a boolean mask: give ids"]),
        ([1, [2]], ["record ids are integers or strings, got [2]"]),
    ],
)
def test_what_is_no_id_is_refused_in_one_line_a_kind(ids: Any, said: list[str]) -> None:
    problems = read(ids)
    assert len(problems) == len(said)
    for problem, part in zip(problems, said, strict=True):
        assert problem.startswith("ids: ") and part in problem


def test_a_set_is_sorted_where_the_order_does_not_matter() -> None:
    assert read({"b", 3, "a", 1}, is_ordered=False) == [1, 3, "a", "b"]
    assert read({"b": 0, "a": 0}.keys(), is_ordered=False) == ["b", "a"]


class Endless:
    """Ids without an end."""

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[int]:
        at = 0
        while True:
            yield (at := at + 1)


class Failing(Endless):
    """Ids that cannot be read."""

    def __iter__(self) -> Iterator[int]:
        raise OSError("no such column")


def test_odd_containers_end_in_a_line() -> None:
    assert read(Endless()) == [1, 2, 3]  # one too many, so that their number is refused
    assert read(Failing()) == ["ids: cannot be read (OSError: no such column): give a list"]


def test_lists_and_arrays_are_not_copied() -> None:
    names, array = ["a", "b"], np.arange(3)
    assert read_ids(names, "ids", []) is names
    found = read_ids(array, "ids", [])
    assert isinstance(found, ArrayIds) and found.values is array
    assert found[-1] == 2 and found[1:] == [1, 2]
    with pytest.raises(IndexError):
        found[3]
