"""Memory of the checks by the number of training records: counted in bytes each, never timed."""

import tracemalloc
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import TensorDataset

from efface import Task
from efface.auditing.scores import robust_zscore
from efface.calibration.counterfactual import CalibratedLogits
from efface.calibration.targets import target_logits
from efface.data.checks import Findings, check_contents, check_ids, check_test
from efface.data.records import Batch, Records
from efface.metrics import membership
from efface.metrics.membership import conditional_auc
from efface.numerics import neighbours
from efface.types import RecordId

FEW, MANY = 10_000, 60_000


class Names:
    """Record ids that are made when they are asked for."""

    def __init__(self, records: int) -> None:
        self._records = records

    def __len__(self) -> int:
        return self._records

    def __getitem__(self, at: int) -> str:
        if not 0 <= at < self._records:
            raise IndexError(at)
        return f"rec-{at:07d}"


class Drawn(Records):
    """Records that are made when they are asked for, a batch at once; from `first` on, all of them distinct."""

    def __init__(self, records: int, first: int = 0) -> None:
        self.plain, self._records, self._first = True, records, first

    def __len__(self) -> int:
        return self._records

    def read(self, positions: Any) -> Batch:
        at = torch.as_tensor(np.asarray(positions, dtype=np.int64)) + self._first
        return Batch(at[:, None].double(), at % 3)


def most_bytes(call: Callable[[int], object]) -> float:
    """Bytes a record that are held at the most, by the difference of two numbers of records (without torch's own)."""
    found = []
    for n in (FEW, MANY):
        tracemalloc.start()
        try:
            call(n)
            found.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    return (found[1] - found[0]) / (MANY - FEW)


@pytest.mark.parametrize(("every", "most"), [(False, 40), (True, 80)])
def test_the_pass_over_records_takes_few_bytes_a_record(every: bool, most: int) -> None:
    """Checksums take 8 bytes, and hashes 16: kept once, joined, and sorted or looked up."""

    def passed(n: int) -> None:
        found, holdout = Findings(), Drawn(500, first=10**7)
        known = check_contents(Drawn(n), holdout, np.arange(50), None, 3, found, every=every)
        check_test(Drawn(500, first=2 * 10**7), known, 3, found)
        assert not found.problems and not found.warnings

    assert most_bytes(passed) < most


def test_names_of_records_are_checked_in_few_bytes_a_record() -> None:
    def checked(n: int) -> None:
        found, names = Findings(), Names(n)
        task = Task(train=None, holdout=None, ids=names)  # type: ignore[arg-type]
        at = check_ids(task, [names[7], names[n - 1]], n, found)
        assert at.tolist() == [7, n - 1] and not found.problems

    assert most_bytes(checked) < 40


# -- what is found is what a plain dict of contents finds


def pair(batch: Any) -> tuple[Tensor, Tensor]:
    return batch[0], batch[1]


rows = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30)


@given(rows, rows, rows, st.data(), st.booleans(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_twins_and_shared_records_are_those_of_equal_content(
    ours: list[Any], theirs: list[Any], tested: list[Any], data: Any, every: bool, own: bool
) -> None:
    """Rows (a, b) and (b, a) have the same checksum, so that a checksum alone would find too many."""
    sets = [TensorDataset(torch.tensor(s, dtype=torch.int32), torch.zeros(len(s))) for s in (ours, theirs, tested)]
    sets = [TensorDataset(d.tensors[0], d.tensors[1].long()) for d in sets]
    forget = data.draw(st.lists(st.integers(0, len(ours) - 1), unique=True, max_size=8))
    task = Task(train=sets[0], holdout=sets[1], **({"unpack": pair} if own else {}))
    train, holdout, test = (Records(d, task) for d in sets)
    found = Findings()
    known = check_contents(train, holdout, np.array(forget, dtype=np.int64), None, 1, found, every=every)
    stays = [i for i in range(len(ours)) if i not in forget]
    named = {ours[i]: i for i in forget}
    twins = {named[ours[i]]: i for i in stays if ours[i] in named}
    shared = [i for i, row in enumerate(theirs) if row in ours]
    expected = []
    if twins:
        told = ", ".join(f"{a} (twin of {b})" for a, b in list(twins.items())[:3])
        expected.append(
            f"{len(twins)} forget records have an exact twin that stays in training, which defeats "
            f"forgetting: {told}; forget the twins too, or drop the duplicates"
        )
    if shared:
        expected.append(
            f"{len(shared)} holdout records are also training records (by content), the first at holdout "
            f"position {shared[0]}: the holdout must hold records that the model never saw"
        )
    assert found.problems == expected
    if every:
        check_test(test, known, 1, found)
        for name, others in (("training", ours), ("holdout", theirs)):
            also = [i for i, row in enumerate(tested) if row in others]
            line = f"{len(also)} test records are also {name} records (by content), the first at position"
            assert any(w.startswith(line) and w.endswith(f" {also[0]}") for w in found.warnings) if also else True
            assert len([w for w in found.warnings if f"also {name} records" in w]) == bool(also)


pool: list[RecordId] = [-1, -2, 0, 2**61 - 1, 1, np.int64(1), "1", "a", np.str_("a"), 2**64]  # type: ignore[list-item]


@given(st.lists(st.sampled_from(pool), min_size=2, max_size=12))
@settings(max_examples=200, deadline=None)
def test_ids_that_occur_twice_are_those_that_a_counter_finds(ids: list[RecordId]) -> None:
    """Some of them have equal hashes and are not equal."""
    found = Findings()
    check_ids(Task(train=None, holdout=None, ids=ids), [ids[0]], len(ids), found)  # type: ignore[arg-type]
    doubles = [i for i, n in Counter(ids).items() if n > 1]
    more = f" and {len(doubles) - 3} more" if len(doubles) > 3 else ""
    line = f"ids name more than one training record: {', '.join(map(repr, doubles[:3]))}{more}; ids must be unique"
    assert (line in found.problems) == bool(doubles)
    assert len([p for p in found.problems if p.startswith("ids name")]) == bool(doubles)


# -- windows over many forget records are taken by the block


@pytest.mark.parametrize("forget_classes", [(), (1,)])
def test_nothing_depends_on_the_size_of_a_block(
    forget_classes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)

    def seen(n: int) -> CalibratedLogits:
        drawn = torch.randn(2, n, 4, generator=generator, dtype=torch.float64)
        return CalibratedLogits(drawn[0] * 4, drawn[1] * 3, torch.randint(4, (n,), generator=generator))

    forget, members, nonmembers = seen(90), seen(300), seen(200)
    hard, nonmember_difficulty = forget.score.round(decimals=1), nonmembers.score.round(decimals=1)
    found = []
    for size in (1024, 90, 89, 45, 32, 7):
        monkeypatch.setattr(neighbours, "BLOCK", size)
        told = [
            conditional_auc(forget.margin.round(), nonmembers.margin.round(), *d)
            for d in ((), (hard, nonmember_difficulty))
        ]
        found.append(
            [
                target_logits(forget, members, nonmembers, forget_classes),
                *robust_zscore(forget.margin, nonmembers.margin, hard, nonmember_difficulty),
                *(t for s in told for t in (s.ranks, s.influence)),
            ]
        )
    for others in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], others, strict=True))


@pytest.mark.parametrize(("size", "times"), [(90, 1), (89, 4)])
def test_what_fits_a_block_is_compared_once(size: int, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = torch.randn(4, 90, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    asked: list[int] = []

    def counted(at: Tensor, scores: Tensor, width: int) -> Tensor:
        asked.append(len(at))
        return neighbours.windows(at, scores, width)

    monkeypatch.setattr(neighbours, "BLOCK", size)
    monkeypatch.setattr(membership, "windows", counted)
    conditional_auc(*drawn)
    assert len(asked) == times


def test_no_records_are_one_empty_block() -> None:
    assert list(neighbours.blocks(0)) == [slice(0, 0)]
    assert neighbours.by_block(lambda part: torch.ones(0, 3)[part], 0).shape == (0, 3)


def test_windows_of_many_forget_records_are_not_held_at_once() -> None:
    widths: list[int] = []
    values = torch.linspace(0, 1, 10 * neighbours.BLOCK + 1, dtype=torch.float64)

    def counted(part: slice) -> Tensor:
        widths.append(len(values[part]))
        return values[part]

    assert torch.equal(neighbours.by_block(counted, len(values)), values)
    assert len(widths) == 11 and max(widths) - min(widths) <= 1
