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
from efface.data.contents import Contents, check_contents
from efface.data.overlap import check_test
from efface.data.records import Batch, Records
from efface.kinds import CLASSES, Kind
from helpers.memory import growth

FEW, MANY = 10_000, 60_000


class Drawn(Records):
    """Records that are made when they are asked for, a batch at once; from `first` on, all of them distinct."""

    def __init__(self, records: int, first: int = 0) -> None:
        self.is_sliceable, self._records, self._first = True, records, first

    def __len__(self) -> int:
        return self._records

    @property
    def rules(self) -> Kind:
        return CLASSES

    def read(self, positions: Any) -> Batch:
        at = torch.as_tensor(np.asarray(positions, dtype=np.int64)) + self._first
        return Batch(at[:, None].double(), at % 3)


@pytest.mark.parametrize(("hash_all", "most"), [(False, 40), (True, 80)])
def test_the_pass_over_records_takes_few_bytes_a_record(hash_all: bool, most: int) -> None:
    """Checksums take 8 bytes, and hashes 16: kept once, joined, and sorted or looked up."""

    def passed(n: int) -> Contents:
        found, holdout = Findings(), Drawn(500, first=10**7)
        contents = check_contents(Drawn(n), holdout, np.arange(50), 3, found, hash_all=hash_all)
        check_test(Drawn(500, first=2 * 10**7), contents.marks if hash_all else {}, 3, found)
        assert not found.problems and not found.warnings
        return contents

    assert growth(passed, FEW, MANY)[1] < most


def pair(batch: Any) -> tuple[Tensor, Tensor]:
    return batch[0], batch[1]


rows = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30)


@given(rows, rows, rows, st.data(), st.booleans(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_twins_and_shared_records_are_those_of_equal_inputs(
    trained: list[Any], held: list[Any], tested: list[Any], data: Any, hash_all: bool, own: bool
) -> None:
    """Rows (a, b) and (b, a) have the same checksum, so that a checksum alone would find too many; labels differ."""
    sets = [
        TensorDataset(torch.tensor(s, dtype=torch.int32), torch.arange(len(s)) % 3) for s in (trained, held, tested)
    ]
    forget = data.draw(st.lists(st.integers(0, len(trained) - 1), unique=True, max_size=8))
    task = Task(train=sets[0], holdout=sets[1], **({"unpack": pair} if own else {}))
    train, holdout, test = (Records(d, task) for d in sets)
    found = Findings()
    contents = check_contents(train, holdout, np.array(forget, dtype=np.int64), 3, found, hash_all=hash_all)
    groups = {}
    for row in dict.fromkeys(trained[i] for i in sorted(forget)):
        same = [i for i, other in enumerate(trained) if other == row]
        groups[tuple(i for i in same if i in forget)] = tuple(i for i in same if i not in forget)
    assert {g.forget: g.twins for g in contents.twin_sets} == {f: t for f, t in groups.items() if t}
    assert contents.shared.tolist() == [i for i, row in enumerate(held) if row in trained]
    assert not found.problems
    if hash_all:
        out = check_test(test, contents.marks, 3, found)
        assert out.tolist() == [i for i, row in enumerate(tested) if row in trained or row in held]
        for name, others in (("training", trained), ("holdout", held)):
            also = [i for i, row in enumerate(tested) if row in others]
            line = f"{len(also)} test records are also {name} records (equal inputs), the first at position {also[:1]}"
            lines = [p for p in found.problems if f"also {name} records" in p]
            assert [p.split(":")[0] for p in lines] == [line.replace("[", "").replace("]", "")] * bool(also)
