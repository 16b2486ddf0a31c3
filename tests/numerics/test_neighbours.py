"""Windows of neighbours over many forget records are taken block by block, and no result depends on the blocks."""

import pytest
import torch
from torch import Tensor

from efface.calibration.counterfactual import CalibratedLogits
from efface.calibration.targets import target_logits
from efface.metrics import membership
from efface.metrics.membership import conditional_auc
from efface.numerics import neighbours


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
