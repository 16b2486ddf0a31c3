"""The content of values of any kind: equal where they are equal, and refused where nobody can tell."""

import datetime
import io
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

from efface.data.objects import UncomparableError, content_bytes, values_in


class Colour(Enum):
    RED = 1
    BLUE = 2


@dataclass
class Graph:
    x: Tensor
    edges: Tensor
    tags: dict[str, Any] = field(default_factory=dict)


class Slotted:
    __slots__ = ("x",)

    def __init__(self, x: Any) -> None:
        self.x = x


class Image:
    """Shows itself as an array, as images and tables do, and holds what no attribute shows."""

    def __init__(self, value: int) -> None:
        self._file = io.BytesIO()
        self._value = value

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.full((2, 2), self._value)


def loop(value: int) -> Any:
    one = Slotted([value])
    one.x.append(one)
    return one


def graph(value: float) -> Graph:
    return Graph(torch.tensor([value]), torch.tensor([[0, 1], [1, 0]]), {"name": "g"})


@pytest.mark.parametrize(
    "make",
    [
        torch.tensor,
        lambda v: torch.tensor([v, 0, v]).to_sparse(),
        lambda v: torch.nested.nested_tensor([torch.full((2,), float(v)), torch.ones(1)], layout=torch.jagged),
        lambda v: pack_sequence([torch.tensor([v, 1])]),
        lambda v: np.array(v),
        lambda v: np.array([v, "a", None], dtype=object),
        lambda v: np.int64(v),
        str,
        lambda v: v / 3,
        lambda v: {"a": [v, None, True]},
        lambda v: {v, 10, 11},
        lambda v: datetime.date(2026, 1, v),
        Colour,
        graph,
        lambda v: [graph(0), graph(v)],
        Slotted,
        lambda v: Slotted(Slotted(torch.tensor(v))),
        Image,
        loop,
    ],
)
def test_equal_values_have_equal_content(make: Any) -> None:
    assert content_bytes(make(1)) == content_bytes(make(1)) != content_bytes(make(2))


@pytest.mark.parametrize("value", [object(), io.BytesIO(b"1"), iter([1]), torch.Generator(), Slotted(object())])
def test_what_shows_nothing_is_no_content(value: Any) -> None:
    with pytest.raises(UncomparableError, match="cannot be compared by content"):
        content_bytes(value)


def test_where_a_value_ends_is_part_of_the_content() -> None:
    assert content_bytes(["ab", "c"]) != content_bytes(["a", "bc"]) != content_bytes([["a", "bc"]])
    assert content_bytes({"a": 1}) != content_bytes({"b": 1})
    assert content_bytes(torch.ones(2, 1)) != content_bytes(torch.ones(1, 2))


def test_values_within_objects_are_found() -> None:
    found = list(values_in({"g": graph(3.0), "list": [np.ones(2), "text", None], "image": Image(4), "odd": object()}))
    assert [type(v) for v in found] == [Tensor, Tensor, np.ndarray, np.ndarray]
    assert found[0].item() == 3.0 and found[3][0, 0] == 4
    assert len(list(values_in(loop(1)))) == 0
