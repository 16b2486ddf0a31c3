"""Which training records are rehearsed: of the same kind, each once, in turn for all requested ones."""

import numpy as np
import pytest
import torch
from torch import Tensor

from efface.auditing.rehearsal.like import Members, as_members, draw_like


def single(margins: Tensor) -> Members:
    return as_members(np.arange(len(margins)), margins)


def margins_of(members: Members, positions: object) -> Tensor:
    return members.difficulty[torch.as_tensor(positions)]


def candidates(count: int = 1000) -> Members:
    generator = torch.Generator().manual_seed(0)
    return single(3 * torch.randn(count, generator=generator))


def test_drawn_records_are_as_hard_as_the_requested_ones() -> None:
    pool = candidates()
    for margin in (-6.0, 0.0, 6.0):
        requested = single(torch.tensor([margin]))
        drawn = draw_like(requested, pool, 60, seed=1).positions
        near, all_of_them = margins_of(pool, drawn) - requested.difficulty, pool.difficulty - requested.difficulty
        assert near.abs().mean() < 0.6 * all_of_them.abs().mean()
        assert len(set(drawn.tolist())) == len(drawn) == 60


def test_every_requested_record_has_its_part() -> None:
    pool = candidates()
    drawn = draw_like(single(torch.tensor([-5.0, 5.0])), pool, 100, seed=0).positions
    signs = margins_of(pool, drawn).sign()
    assert 35 <= int((signs > 0).sum()) <= 65


def test_fewer_are_drawn_where_there_are_not_as_many_and_a_seed_repeats_them() -> None:
    pool = candidates(40)
    drawn = draw_like(single(torch.tensor([0.0, 1.0])), pool, 60, seed=4)
    assert sorted(drawn.positions.tolist()) == list(range(40))
    assert drawn.positions.tolist() == draw_like(single(torch.tensor([0.0, 1.0])), pool, 60, seed=4).positions.tolist()


@pytest.mark.parametrize(("margin", "alone"), [(0.0, 0), (-3000.0, 1)])
def test_a_record_that_no_other_is_nearly_as_hard_as_is_alone(margin: float, alone: int) -> None:
    assert draw_like(single(torch.tensor([margin, 1.0])), candidates(), 60, seed=0).alone == alone


def test_groups_are_drawn_whole() -> None:
    groups = torch.arange(300) // 3
    pool = as_members(np.arange(300), torch.randn(300, generator=torch.Generator().manual_seed(1)), groups)
    asked = as_members(np.array([900, 901, 902]), torch.zeros(3), torch.zeros(3))
    drawn = draw_like(asked, pool, 60, seed=0).positions
    numbers, sizes = np.unique(drawn // 3, return_counts=True)
    assert len(numbers) == 20 and set(sizes.tolist()) == {3}
