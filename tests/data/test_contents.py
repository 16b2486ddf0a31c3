"""The pass over all records: what it finds is what a dict of contents finds, in few bytes a record."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import TensorDataset

from efface import Task
from efface.data.checks import Findings
from efface.data.contents import check_contents, check_test
from efface.data.records import Batch, Records
from helpers.memory import growth

FEW, MANY = 10_000, 60_000


class Drawn(Records):
    """Records that are made when they are asked for, a batch at once; from `first` on, all of them distinct."""

    def __init__(self, records: int, first: int = 0) -> None:
        self.is_sliceable, self._records, self._first = True, records, first

    def __len__(self) -> int:
        return self._records

    def read(self, positions: Any) -> Batch:
        at = torch.as_tensor(np.asarray(positions, dtype=np.int64)) + self._first
        return Batch(at[:, None].double(), at % 3)


@pytest.mark.parametrize(("hash_all", "most"), [(False, 40), (True, 80)])
def test_the_pass_over_records_takes_few_bytes_a_record(hash_all: bool, most: int) -> None:
    """Checksums take 8 bytes, and hashes 16: kept once, joined, and sorted or looked up."""

    def passed(n: int) -> Findings:
        found, holdout = Findings(), Drawn(500, first=10**7)
        known = check_contents(Drawn(n), holdout, np.arange(50), range(n), 3, found, hash_all=hash_all)
        check_test(Drawn(500, first=2 * 10**7), known, 3, found)
        assert not found.problems and not found.warnings
        return found

    assert growth(passed, FEW, MANY)[1] < most


def pair(batch: Any) -> tuple[Tensor, Tensor]:
    return batch[0], batch[1]


rows = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30)


@given(rows, rows, rows, st.data(), st.booleans(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_twins_and_shared_records_are_those_of_equal_content(
    trained: list[Any], held: list[Any], tested: list[Any], data: Any, hash_all: bool, own: bool
) -> None:
    """Rows (a, b) and (b, a) have the same checksum, so that a checksum alone would find too many."""
    sets = [TensorDataset(torch.tensor(s, dtype=torch.int32), torch.zeros(len(s))) for s in (trained, held, tested)]
    sets = [TensorDataset(d.tensors[0], d.tensors[1].long()) for d in sets]
    forget = data.draw(st.lists(st.integers(0, len(trained) - 1), unique=True, max_size=8))
    task = Task(train=sets[0], holdout=sets[1], **({"unpack": pair} if own else {}))
    train, holdout, test = (Records(d, task) for d in sets)
    found = Findings()
    known = check_contents(
        train, holdout, np.array(forget, dtype=np.int64), range(len(trained)), 1, found, hash_all=hash_all
    )
    stays = [i for i in range(len(trained)) if i not in forget]
    by_content = {trained[i]: i for i in forget}
    twins = {by_content[trained[i]]: i for i in stays if trained[i] in by_content}
    shared = [i for i, row in enumerate(held) if row in trained]
    expected = []
    if twins:
        pairs = ", ".join(f"{a} (twin of {b})" for a, b in list(twins.items())[:3])
        pairs += f" and {len(twins) - 3} more" if len(twins) > 3 else ""
        expected.append(
            f"{len(twins)} forget records have an exact twin that stays in training, which defeats "
            f"forgetting: {pairs}; forget the twins too, or drop the duplicates"
        )
    if shared:
        expected.append(
            f"{len(shared)} holdout records are also training records (by content), the first at holdout "
            f"position {shared[0]}: the holdout must hold records that the model never saw"
        )
    assert found.problems == expected
    if hash_all:
        check_test(test, known, 1, found)
        for name, others in (("training", trained), ("holdout", held)):
            also = [i for i, row in enumerate(tested) if row in others]
            line = f"{len(also)} test records are also {name} records (by content), the first at position"
            assert any(w.startswith(line) and w.endswith(f" {also[0]}") for w in found.warnings) if also else True
            assert len([w for w in found.warnings if f"also {name} records" in w]) == bool(also)
