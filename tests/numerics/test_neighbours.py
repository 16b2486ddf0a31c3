"""Windows, ranks and quantiles against slow forms; and no result depends on the blocks in which windows are taken."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from efface.calibration.counterfactual import CalibratedLogits
from efface.calibration.targets import target_logits
from efface.metrics import membership
from efface.metrics.membership import conditional_auc
from efface.numerics import neighbours
from efface.numerics.neighbours import ranks, read_quantiles, windows
from helpers.draws import normal

finite = st.floats(-5, 5).map(lambda v: round(v, 1))  # rounded, so that ties occur


@pytest.mark.parametrize("forget_classes", [(), (1,)])
def test_nothing_depends_on_the_size_of_a_block(
    forget_classes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)

    def seen(n: int) -> CalibratedLogits:
        drawn = torch.randn(2, n, 4, generator=generator, dtype=torch.float64)
        return CalibratedLogits(drawn[0] * 4, drawn[1] * 3, torch.randint(4, (n,), generator=generator))

    forget, members, nonmembers = seen(90), seen(300), seen(200)
    difficulty, nonmember_difficulty = forget.score.round(decimals=1), nonmembers.score.round(decimals=1)
    found = []
    for size in (1024, 90, 89, 45, 32, 7):
        monkeypatch.setattr(neighbours, "BLOCK", size)
        results = [
            conditional_auc(forget.margin.round(), nonmembers.margin.round(), *d)
            for d in ((), (difficulty, nonmember_difficulty))
        ]
        found.append(
            [
                target_logits(forget, members, nonmembers, forget_classes),
                *(t for r in results for t in (r.ranks, r.influence)),
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


@settings(max_examples=60, deadline=None)
@given(st.lists(finite, min_size=1, max_size=30), st.lists(finite, min_size=1, max_size=5), st.integers(1, 40))
def test_windows_hold_the_nearest_ranks(scores: list[float], at: list[float], width: int) -> None:
    found = windows(torch.tensor(at), torch.tensor(scores), width)
    width = min(width, len(scores))
    assert found.shape == (len(at), width)
    order = sorted(range(len(scores)), key=lambda i: scores[i])
    rank = {record: r for r, record in enumerate(order)}
    for value, row in zip(torch.tensor(at).tolist(), found.tolist(), strict=True):
        below = sum(s < value for s in torch.tensor(scores).tolist())
        equal = sum(s == value for s in torch.tensor(scores).tolist())
        own = below + equal / 2 - 0.5  # where the value itself would rank
        far = sorted(abs(r - own) for r in range(len(scores)))[:width]
        assert len(set(row)) == width
        # ranks equally far on either side are as good as each other, as is half a rank among equal scores
        assert sum(abs(rank[i] - own) for i in row) <= sum(far) + width * (equal % 2) / 2 + 1e-9


def test_windows_at_the_ends_are_one_sided() -> None:
    found = windows(torch.tensor([-100.0, 4.5, 100.0]), torch.arange(10.0).flip(0), 4)
    assert [sorted(row) for row in found.tolist()] == [[6, 7, 8, 9], [3, 4, 5, 6], [0, 1, 2, 3]]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 50), st.integers(0, 1000))
def test_quantiles_are_the_inverse_of_ranks(width: int, seed: int) -> None:
    among = normal(1, width, seed=seed).expand(width, -1)
    values = among[0]
    torch.testing.assert_close(read_quantiles(among, ranks(values, among)), values)
    levels = (torch.arange(width, dtype=torch.float64) + 0.5) / width
    torch.testing.assert_close(read_quantiles(among, levels), values.sort().values)


def test_ranks_count_ties_half() -> None:
    assert ranks(torch.tensor([1.0, 0.0, 9.0]), torch.tensor([[0.0, 1.0, 1.0, 2.0]] * 3)).tolist() == [0.5, 0.125, 1]


@settings(max_examples=60, deadline=None)
@given(st.lists(finite, min_size=1, max_size=20), st.lists(finite, min_size=1, max_size=20))
def test_ranks_in_one_shared_row_are_those_in_a_row_each(values: list[float], among: list[float]) -> None:
    row = torch.tensor(among, dtype=torch.float64)[None]
    ours = torch.tensor(values, dtype=torch.float64)
    # twice, so that it is no shared row even for one value
    torch.testing.assert_close(ranks(ours, row).repeat(2), ranks(ours.repeat(2), row.expand(2 * len(ours), -1)))
