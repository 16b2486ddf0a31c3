"""Inputs of any nesting are cut by record or refused, and moved to a device by their own method."""

from collections import Counter, UserDict, defaultdict, namedtuple
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import default_collate

from efface import RequestError
from efface.data.nesting import map_tensors, tensors_in
from efface.data.records import Batch, Records
from helpers.tiny import Tiny

Point = namedtuple("Point", "left right")
CPU = torch.device("cpu")


class Graphs:
    """A batch object of a user's own."""

    def __init__(self, x: Tensor) -> None:
        self.x, self.moved = x, 0

    def to(self, device: torch.device) -> "Graphs":
        self.moved += 1
        return self


class Encoding(UserDict):
    """A mapping that is no dict, and is read by attributes."""

    def __getattr__(self, name: str) -> Any:
        if name not in self.data:
            raise AttributeError(name)
        return self.data[name]


def test_what_has_a_row_for_each_record_is_cut() -> None:
    x, y = torch.arange(8).reshape(4, 2), torch.arange(4)
    inputs = Encoding(
        x=x, array=np.arange(4) * 2, text=["a", "b", "c", "d"], pair=Point(x + 1, ("e", "f", "g", "h")), mask=None
    )
    for at, where in (
        (torch.tensor([3, 0]), [3, 0]),
        (slice(1, 3), [1, 2]),
        (torch.tensor([False, True, True, False]), [1, 2]),
    ):
        part = Batch(inputs, y).rows(at)
        assert torch.equal(part.inputs.x, x[where]) and part.targets.tolist() == where
        assert part.inputs.array.tolist() == [2 * i for i in where]
        assert part.inputs.text == ["abcd"[i] for i in where] and part.inputs.mask is None
        assert torch.equal(part.inputs.pair.left, x[where] + 1) and isinstance(part.inputs.pair, Point)
        assert part.inputs.pair.right == tuple("efgh"[i] for i in where)


@pytest.mark.parametrize(
    "inputs",
    [
        Graphs(torch.ones(4, 2)),
        "four texts in one",
        torch.tensor(3.0),
        torch.ones(5, 4),
        {"x": torch.ones(4, 2), "scale": torch.tensor(2.0)},
        ["a", "b", "c"],
        [torch.ones(2), torch.ones(3), torch.ones(1), torch.ones(2)],
        pack_sequence([torch.ones(3, 2), torch.ones(2, 2), torch.ones(2, 2), torch.ones(1, 2)]),
        torch.eye(4).to_sparse(),
        torch.nested.nested_tensor([torch.ones(2), torch.ones(3)] * 2, layout=torch.jagged),
        {"length": 4, "x": torch.ones(4, 2)},
    ],
    ids=lambda v: type(v).__name__,
)
def test_what_has_not_is_never_cut(inputs: Any) -> None:
    batch = Batch(inputs, torch.arange(4))
    assert not batch.can_cut
    with pytest.raises(RequestError, match=r"a batch of 4 records cannot be cut, since its .*Records.read"):
        batch.rows(slice(0, 2))


def words(n: int) -> list[tuple[str, int]]:
    return [(f"w{i}", i % 3) for i in range(n)]


def test_whether_records_can_be_cut_is_seen_on_several_batches(tiny: Tiny) -> None:
    """A dimension that is no record may be as long as one batch."""

    def can_cut(train: Any, **hooks: Any) -> bool:
        return Records(train, tiny.task(train=train, **hooks)).can_cut

    pairs = list(zip(tiny.x, tiny.y.tolist(), strict=True))
    assert can_cut(pairs) and can_cut(tiny.task().train) and can_cut(words(9)) and can_cut(pairs[:1])
    assert can_cut(pairs, unpack=lambda b: ({"x": b[0], "again": [b[0], b[0]]}, b[1]))
    assert not can_cut(pairs, unpack=lambda b: (b[0].T, b[1]))
    three = [(x[:3], y) for x, y in pairs]
    assert not can_cut(three, unpack=lambda b: (b[0].T, b[1]))
    assert not can_cut(pairs, unpack=lambda b: ({"x": b[0], "edges": torch.ones(2, 7)}, b[1]))
    assert not can_cut(pairs, unpack=lambda b: (Graphs(b[0]), b[1]))
    assert not can_cut(pairs, unpack=lambda b: ({"x": b[0], "tags": ["u", "v"]}, b[1]))


def test_inputs_are_moved_by_their_own_method() -> None:
    graphs, x = Graphs(torch.ones(2)), torch.ones(2, 1)
    packed = pack_sequence([torch.ones(2, 1), torch.ones(1, 1)])
    moved = Batch([graphs, {"x": x}, packed, "text", Encoding(x=x)], torch.arange(2)).to(CPU)
    assert graphs.moved == 1 and moved.inputs[0] is graphs
    assert type(moved.inputs[2]) is type(packed) and isinstance(moved.inputs[4], Encoding)
    assert torch.equal(moved.inputs[1]["x"], x) and moved.inputs[3] == "text"
    if not torch.cuda.is_available():
        meta = Batch([graphs, {"x": x}, packed], torch.arange(2)).to(torch.device("meta"))
        assert meta.inputs[1]["x"].is_meta and meta.inputs[2].data.is_meta and not meta.inputs[2].batch_sizes.is_meta


def test_a_batch_of_the_default_collate_keeps_a_users_mapping(tiny: Tiny) -> None:
    batch = default_collate([(Encoding(x=x), y) for x, y in zip(tiny.x, tiny.y, strict=True)][:4])
    part = Batch(batch[0], batch[1]).rows(slice(0, 2))
    assert isinstance(part.inputs, Encoding) and torch.equal(part.inputs.x, tiny.x[:2])


def test_mappings_of_any_kind_are_walked() -> None:
    a, b = torch.ones(2), torch.zeros(2)
    for tree in (UserDict(a=a, b=[b]), defaultdict(list, a=a, b=[b])):
        assert [t is s for t, s in zip(tensors_in(tree), (a, b), strict=True)] == [True, True]
        changed = map_tensors(tree, lambda t: t + 1)
        assert isinstance(changed, dict | UserDict) and changed["b"][0].eq(1).all() and changed["a"].eq(2).all()
    assert type(map_tensors(Counter(), torch.neg)) is Counter
