"""Records read alike from any dataset, and hashes of their contents."""

from collections import namedtuple
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset, TensorDataset

from efface import RequestError
from efface.data.hashing import content_hashes
from efface.data.objects import UncomparableError
from efface.data.records import Batch, Records
from helpers.refused import Unreadable
from helpers.tiny import RECORDS, Tiny

Point = namedtuple("Point", "left right")


class Fetching(Dataset):
    """Reads many records at once."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y, self.asked = x, y, 0

    def __len__(self) -> int:
        return len(self.x)

    def __getitems__(self, at: list[int]) -> list[tuple[Tensor, Tensor]]:
        self.asked += 1
        return [(self.x[i], self.y[i]) for i in at]


class Negated(Subset):
    """A subset that changes what it passes on."""

    def __getitem__(self, at: Any) -> Any:
        x, y = super().__getitem__(at)
        return -x, y

    def __getitems__(self, at: list[int]) -> list[Any]:
        return [self[i] for i in at]


def test_records_read_alike_from_any_dataset(tiny: Tiny) -> None:
    x, y, at = tiny.x, tiny.y, [7, 0, 31, 7]
    whole = TensorDataset(x, y)
    backwards = Subset(Subset(whole, range(299, -1, -1)), list(range(299, -1, -1)))
    fetching = Fetching(x, y)
    for dataset in (whole, backwards, list(zip(x, y.tolist(), strict=True)), fetching, TensorDataset(x, y.int())):
        records = Records(dataset, tiny.task())
        batch = records.read(at)
        assert torch.equal(batch.inputs, x[at]) and torch.equal(batch.targets, y[at])
        assert batch.targets.dtype == torch.int64 and len(records) == 300
        assert torch.equal(records.targets(np.array(at)), y[at])
        assert [len(b) for b in records.stream(range(300), size=128)] == [128, 128, 44]
    assert fetching.asked == 5
    assert torch.equal(Records(Negated(whole, range(300)), tiny.task()).read(at).inputs, -x[at])


def test_records_of_dicts_and_own_hooks(tiny: Tiny) -> None:
    dicts = [{"x": Point(a[:3], a[3:]), "label": b} for a, b in zip(tiny.x, tiny.y, strict=True)]
    task = tiny.task(unpack=lambda batch: (batch["x"], batch["label"]))
    batch = Records(dicts, task).read([4, 2]).to(torch.device("cpu"))
    assert isinstance(batch.inputs, Point)
    assert torch.equal(batch.inputs.right, tiny.x[[4, 2], 3:])
    padded = tiny.task(collate=lambda rows: (torch.stack([r[0] for r in rows]) * 2, torch.tensor([r[1] for r in rows])))
    assert torch.equal(Records(TensorDataset(tiny.x, tiny.y), padded).read([4]).inputs, 2 * tiny.x[[4]])


def test_content_hashes_are_of_inputs_and_target_alone(tiny: Tiny) -> None:
    x, y = tiny.x[:6].clone(), tiny.y[:6].clone()
    x[3], y[3] = x[1], y[1]
    x[4], y[4] = x[1], (y[1] + 1) % 3
    hashes = Records(TensorDataset(x, y), tiny.task()).hashes(range(6))
    assert hashes[3] == hashes[1] and len(set(hashes)) == 5
    nested = content_hashes(Batch({"a": x[:, :2], "b": [x[:, 2:]]}, y))
    assert nested[3] == nested[1] and len(set(nested)) == 5
    assert hashes[2:] == Records(TensorDataset(x, y), tiny.task()).hashes(range(2, 6))
    x[0, 0] = torch.nextafter(x[0, 0], torch.tensor(9.0))
    assert content_hashes(Batch(x, y))[0] != hashes[0]


def test_what_is_no_tensor_is_part_of_a_record(tiny: Tiny) -> None:
    y = torch.zeros(3).long()
    for inputs in (["a", "b", "a"], {"text": ("a", "b", "a"), "x": torch.ones(3, 2)}, [[1, 2, 1]]):
        first, second, third = content_hashes(Batch(inputs, y))
        assert first == third != second
    one, other = (content_hashes(Batch([["the", word]], y[:1])) for word in ("cat", "dog"))
    assert one != other
    arrays = [content_hashes(Batch([np.arange(2000) + k], y[:1])) for k in (0, 1, 0)]
    assert arrays[0] == arrays[2] != arrays[1]
    with pytest.raises(UncomparableError, match="a object cannot be compared"):
        content_hashes(Batch([object()], y[:1]))


def test_a_record_that_cannot_be_read_is_named(tiny: Tiny) -> None:
    task = tiny.task()
    for records, name in (
        (Records(Unreadable(tiny, 123), task, "train", [f"r{i}" for i in range(RECORDS)]), "123 (id 'r123') of train"),
        (Records(Unreadable(tiny, 123), task), "123"),
    ):
        for read in (records.read, records.targets, records.hashes):
            with pytest.raises(RequestError) as caught:
                read(range(100, 200))
            assert caught.value.problems == (f"record {name} cannot be read (OSError: no such file)",)
            assert isinstance(caught.value.__cause__, OSError)


def test_where_a_part_ends_is_part_of_a_record() -> None:
    y, one, two, three = torch.zeros(1).long(), *(torch.tensor([[*range(n)]]) for n in (1, 2, 3))
    assert content_hashes(Batch([one, three + 1], y)) != content_hashes(Batch([two, three[:, :2] + 2], y))
