"""What steer aims at: trust in the original's own logits, the transported logits, and their mixture."""

import math

import pytest
import torch
from scipy.stats import ks_2samp
from torch import Tensor

from efface.calibration.counterfactual import CalibratedLogits
from efface.calibration.targets import OWN_SHARE, TRUST_WIDTH, target_logits, transported, trust
from efface.numerics.logits import centre, margin, mask_classes, symlog, with_margin
from efface.numerics.neighbours import windows

CLASSES = 4


def draw(n: int, seed: int, memory: float = 0.0, classes: int = CLASSES) -> CalibratedLogits:
    """Expected logits, labels drawn by them, and logits that differ by noise; `memory` is added to the label's."""
    generator = torch.Generator().manual_seed(seed)
    expected = centre(2 * torch.randn(n, classes, generator=generator, dtype=torch.float64))
    targets = torch.multinomial(expected.softmax(1), 1, generator=generator).squeeze(1)
    logits = expected + 0.5 * torch.randn(n, classes, generator=generator, dtype=torch.float64)
    return CalibratedLogits(
        centre(logits.scatter_add(1, targets[:, None], torch.full((n, 1), memory).double())), expected, targets
    )


def margins(logits: Tensor, group: CalibratedLogits) -> Tensor:
    return margin(logits, group.targets)


def test_label_aligned_coordinates() -> None:
    seen = CalibratedLogits(
        torch.zeros(2, 4), torch.tensor([[3.0, 1.0, 2.0, 0.0], [0.0, 1.0, 2.0, 3.0]]), torch.tensor([1, 3])
    )
    assert seen.aligned(seen.expected).tolist() == [[1, 3, 2, 0], [3, 2, 1, 0]]
    assert bool((seen.unaligned(seen.aligned(seen.logits)) == seen.logits).all())
    assert seen.rows(torch.tensor([False, True])).targets.tolist() == [3]


def test_trust_falls_with_how_far_a_margin_exceeds_that_of_its_like() -> None:
    nonmembers, forget = draw(300, 1), draw(50, 2)
    beside = with_margin(forget.logits, forget.targets, torch.linspace(-30, 60, 50).double())
    forget = CalibratedLogits(beside, forget.expected, forget.targets)
    found = trust(forget, nonmembers).tolist()
    width = 30  # a tenth of the nonmembers
    for at, row in enumerate(windows(forget.score, nonmembers.score, width).tolist()):
        near = [math.copysign(math.log1p(abs(m)), m) for m in nonmembers.margin[row].tolist()]
        mean = sum(near) / width
        spread = math.sqrt(sum((v - mean) ** 2 for v in near) / (width - 1))
        z = (float(symlog(forget.margin[at])) - mean) / spread
        assert found[at] == pytest.approx(1.0 if z <= 0 else math.exp(-(z**2) / 2 / TRUST_WIDTH**2))
    assert found[0] == 1 and found[-1] < 0.01


def test_what_no_nonmember_could_be_gets_the_expected_logits() -> None:
    members, nonmembers, forget = draw(300, 1, memory=3.0), draw(300, 2), draw(40, 3)
    known = CalibratedLogits(
        centre(with_margin(forget.logits, forget.targets, torch.full((40,), 1e9).double())), *rest(forget)
    )
    assert trust(known, nonmembers).max() < 1e-9
    torch.testing.assert_close(target_logits(known, members, nonmembers, ()), centre(forget.expected))


def rest(group: CalibratedLogits) -> tuple[Tensor, Tensor]:
    return group.expected, group.targets


def test_what_a_nonmember_could_be_keeps_a_share_of_its_own() -> None:
    members, nonmembers, forget = draw(300, 1), draw(300, 2), draw(200, 3)
    sure = trust(forget, nonmembers) == 1
    assert 20 < sure.sum() < 180
    own, target = transported(forget, members, nonmembers), target_logits(forget, members, nonmembers, ())
    wanted = torch.lerp(symlog(forget.score), symlog(margins(own, forget)), OWN_SHARE)
    torch.testing.assert_close(symlog(margins(target, forget))[sure], wanted[sure])
    # the other classes stand to each other as they do in what is transported
    for c, other in ((0, 1), (2, 3)):
        at = sure & (forget.targets != c) & (forget.targets != other)
        torch.testing.assert_close((target[:, c] - target[:, other])[at], (own[:, c] - own[:, other])[at])
    torch.testing.assert_close(target.sum(1), torch.zeros(200).double(), atol=1e-9, rtol=0)


def test_where_nothing_was_memorised_little_moves() -> None:
    members, nonmembers, forget = draw(2000, 1), draw(2000, 2), draw(500, 3)
    moved = transported(forget, members, nonmembers) - forget.logits
    assert moved.abs().mean() < 0.2 * (forget.logits - forget.expected).abs().mean()
    target = target_logits(forget, members, nonmembers, ())
    change = symlog(margins(target, forget)) - symlog(forget.margin)
    assert abs(float(change.mean())) < 0.1 * float(symlog(forget.margin).std())
    same = target_logits(members, members, members, ())
    assert (margins(transported(members, members, members), members) - members.margin).abs().median() < 0.05
    assert same.isfinite().all()


def test_what_was_memorised_is_taken_out() -> None:
    members, nonmembers, forget = draw(2000, 1, memory=3.0), draw(2000, 2), draw(1000, 3, memory=3.0)
    assert ks_2samp(forget.margin, nonmembers.margin).pvalue < 1e-6
    own = margins(transported(forget, members, nonmembers), forget)
    # a false alarm in a thousand
    assert ks_2samp(own, nonmembers.margin).pvalue > 1e-3
    target = margins(target_logits(forget, members, nonmembers, ()), forget)
    assert abs(float(target.mean() - nonmembers.margin.mean())) < 0.1 * float(forget.margin.mean() - target.mean())


@pytest.mark.parametrize("forget_classes", [(3,), (0, 3)])
def test_a_record_of_a_forgotten_class_goes_half_way(forget_classes: tuple[int, ...]) -> None:
    members, nonmembers, forget = (draw(400, seed, memory=m) for seed, m in ((1, 2.0), (2, 0.0), (3, 2.0)))
    kept, others = (
        CalibratedLogits(
            mask_classes(g.logits, forget_classes), mask_classes(g.expected, forget_classes), g.targets
        ).rows(~torch.isin(g.targets, torch.tensor(forget_classes)))
        for g in (members, nonmembers)
    )
    asked = CalibratedLogits(
        mask_classes(forget.logits, forget_classes), mask_classes(forget.expected, forget_classes), forget.targets
    )
    target = target_logits(asked, kept, others, forget_classes)
    odd = torch.isin(forget.targets, torch.tensor(forget_classes))
    half = mask_classes((asked.expected + asked.logits) / 2, forget_classes)
    torch.testing.assert_close(target[odd], half[odd])
    stay = [c for c in range(CLASSES) if c not in forget_classes]
    assert (target[odd][:, list(forget_classes)] <= target[odd][:, stay].amin(1, keepdim=True) + 1e-9).all()
    torch.testing.assert_close(target[:, stay].sum(1), torch.zeros(400).double(), atol=1e-9, rtol=0)
    # the others have the target that they would have alone
    alone = target_logits(asked.rows(~odd), kept, others, forget_classes)
    torch.testing.assert_close(target[~odd], alone)
    # and a request for the class alone needs none of them
    torch.testing.assert_close(target_logits(asked.rows(odd), kept, others, forget_classes), target[odd])


def test_classes_beyond_the_likeliest_keep_their_residual() -> None:
    members, nonmembers, forget = (draw(500, s, memory=m, classes=20) for s, m in ((1, 2.0), (2, 0.0), (3, 2.0)))
    own = transported(forget, members, nonmembers)
    moved = forget.aligned(own - forget.logits)[:, 16:]
    # but for the one constant that centring takes off
    torch.testing.assert_close(moved, moved[:, :1].expand(-1, 4))
