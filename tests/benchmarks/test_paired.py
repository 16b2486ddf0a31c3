"""Two methods compared on the same originals."""

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import t as student

from benchmarks.harness.paired import difference, products


def models(count: int, shift: float, seed: int) -> torch.Tensor:
    return shift + torch.randn(count, 40, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_mean_product_of_pairs_is_the_squared_gap_without_the_noise_of_the_models() -> None:
    ours, retrained = models(5, 1.0, 0), models(6, 0.0, 1)
    middle, unit = retrained.mean(0), float(retrained.var(0).mean())
    slow = [float(((ours[i] - middle) * (ours[j] - middle)).mean()) / unit for j in range(5) for i in range(j)]
    assert products(ours, retrained) == pytest.approx(slow)
    # those of fewer models come first
    assert products(ours, retrained)[:3] == pytest.approx(products(ours[:3], retrained))
    ours[0, 0] = torch.nan
    assert products(ours, retrained) == []


def test_a_difference_is_of_the_originals_that_both_have_and_jackknifed_over_them() -> None:
    retrained, noise = models(8, 0.0, 2), models(6, 0.0, 3)
    near, far = noise + 0.5, noise[:4] + 1.0  # the same originals: their own noise is in both
    gap = difference(products(far, retrained), products(near, retrained))
    assert gap is not None

    def mean_product(rows: torch.Tensor) -> float:
        off, unit = rows - retrained.mean(0), float(retrained.var(0).mean())
        pairs = itertools.combinations(range(len(off)), 2)
        return float(np.mean([float((off[i] * off[j]).mean()) / unit for i, j in pairs]))

    def apart(rows: list[int]) -> float:
        return mean_product(far[rows]) - mean_product(near[rows])

    parts = np.array([apart([j for j in range(4) if j != i]) for i in range(4)])
    half = student.ppf(0.975, 3) * np.sqrt(0.75 * ((parts - parts.mean()) ** 2).sum())
    assert gap.value == pytest.approx(apart([0, 1, 2, 3]))
    assert (gap.low, gap.high) == pytest.approx((gap.value - half, gap.value + half))
    # far sharper than what each distance is known to by itself
    alone = products(far, retrained)
    assert gap.low > 0 and gap.high - gap.low < float(np.ptp(alone))


def test_fewer_than_three_common_originals_tell_nothing() -> None:
    retrained = models(4, 0.0, 4)
    two, five = products(models(2, 1.0, 5), retrained), products(models(5, 1.0, 6), retrained)
    assert difference(two, five) is None and difference([], five) is None
    assert difference(five, five) is not None
