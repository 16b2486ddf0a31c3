"""Whether requested records stand out, and how often they would have."""

import pytest
import torch
from torch import Tensor

from efface.auditing.rehearsal.standing import LEVEL, by_group, stand


def alike(records: int, seed: int) -> Tensor:
    return torch.randn(3, records, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("apart", [False, True])
def test_the_chance_of_standing_out_is_that_of_records_left_as_they_were(apart: bool) -> None:
    now, count = alike(205, 0), 5
    plain = stand("x", now, alike(200, 1) + 8, count, 0, 2, apart)
    faint = stand("x", now, alike(200, 1) + 0.5, count, 0, 2, apart)
    assert plain.seen_one > 0.9 and plain.seen_all == 1.0
    assert faint.seen_one < 0.2 and faint.seen_all < plain.seen_all


def test_records_left_as_they_were_stand_out_and_others_do_not() -> None:
    now = alike(205, 2)
    assert not stand("x", now, now[:, 5:], 5, 0, 2).stands_out
    now[:, :5] += 8
    found = stand("x", now, now[:, 5:], 5, 0, 2)
    assert found.stands_out and found.p <= LEVEL / 2 and found.others == 200


def test_a_test_that_stands_alone_has_all_of_the_level() -> None:
    now = alike(121, 3)  # among 120 others no p is below 1 in 121
    now[:, 0] += 20
    among = now, now[:, 1:], 1, 0
    assert LEVEL / 2 < 1 / 121 < LEVEL
    assert stand("x", *among, 1).stands_out and not stand("x", *among, 2).stands_out


def test_groups_count_once() -> None:
    groups = torch.tensor([0, 0, 1, 2, 2, 2])
    values = torch.arange(12.0).reshape(2, 6)
    assert by_group(values, groups).tolist() == [[0.5, 2.0, 4.0], [6.5, 8.0, 10.0]]
    assert by_group(values, None) is values
