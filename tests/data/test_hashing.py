"""Hashes of records: by inputs and target, in any company, whatever the layout of the tensors."""

import numpy as np
import pytest
import torch

from efface.data.hashing import checksums, content_hashes
from efface.data.records import Batch, Records
from helpers.refused import padded
from helpers.tiny import RECORDS, Tiny


def test_a_columns_stride_is_no_part_of_a_record(tiny: Tiny) -> None:
    """A column of a batch of one record counts as contiguous, though its values are not neighbours."""
    x = torch.arange(12).reshape(1, 12)
    for cut in (x[:, -1], x[:, :-1], x[:, ::2], x[:, 3:4], x.float()[:, -1:]):
        assert content_hashes(Batch(cut, torch.zeros(1).long())) == content_hashes(
            Batch(cut.clone(), torch.zeros(1).long())
        )
    task = tiny.task(unpack=lambda batch: ({"last": batch[0][:, -1], "rest": batch[0][:, :-1]}, batch[1]))
    records = Records(task.train, task)
    assert len(set(records.hashes(range(RECORDS)))) == RECORDS


@pytest.mark.parametrize("kind", ["sparse", "nested"])
def test_sparse_and_nested_tensors_are_hashed_by_record(kind: str) -> None:
    x, y = torch.tensor([[0.0, 1, 0], [2, 0, 0], [0, 1, 0]]), torch.zeros(3).long()
    made = {"sparse": x.to_sparse, "nested": lambda: torch.nested.nested_tensor(list(x), layout=torch.jagged)}
    first, second, third = content_hashes(Batch(made[kind](), y))
    assert first == third != second
    assert checksums(Batch(made[kind](), y)).shape == (3,)


def test_targets_are_part_of_a_record_where_asked() -> None:
    x, y = torch.ones(2, 3), torch.tensor([0, 1])
    assert len(set(content_hashes(Batch(x, y)))) == 2 and len(set(content_hashes(Batch(x, y), with_targets=False))) == 1
    assert checksums(Batch(x, y))[0] == checksums(Batch(x, y))[1]


def test_an_empty_input_is_an_input() -> None:
    assert len(content_hashes(Batch({"x": torch.ones(2, 0), "y": np.ones((2, 1))}, torch.arange(2)))) == 2


def test_a_records_hash_does_not_depend_on_its_company(tiny: Tiny) -> None:
    task = padded(tiny, holdout_first=(9, 9))
    train = Records(task.train, task)
    longer = Records([*task.train, (torch.ones(9).long(), 0)], task)
    assert train.hashes([7, 8]) == longer.hashes([7, 8, RECORDS])[:2]


def test_equal_records_have_equal_checksums_in_any_company(tiny: Tiny) -> None:
    data = Records(tiny.task().train, tiny.task())
    every = checksums(data.read(np.arange(len(data))))
    assert np.array_equal(checksums(data.read([7, 3, 250])), every[[7, 3, 250]])
    assert len(set(every.tolist())) == len(every)
    other = Batch(
        torch.tensor([[0, 0, 0], [0, 0, 1]], dtype=torch.uint8), torch.tensor([0, 0])
    )  # bytes that fill no word
    assert len(set(checksums(other).tolist())) == 2


# a product of 32 bits keeps little of a number that ends in many zero bits


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32])
def test_the_same_numbers_in_another_order_have_another_checksum(dtype: torch.dtype) -> None:
    """As in pictures of a few grey values, of which many have equal sums."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.stack([(torch.arange(64) % 3)[torch.randperm(64, generator=generator)] for _ in range(200)])
    assert len(set(rows.sum(1).tolist())) == 1 and len(rows.unique(dim=0)) == 200
    found = checksums(Batch(rows.to(dtype), torch.zeros(200).long()))
    assert len(set(found.tolist())) == 200
