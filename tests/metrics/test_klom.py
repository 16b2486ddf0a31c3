"""KLoM against a slow loop, by hand, and at its limits."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from efface.errors import RequestError
from efface.metrics.klom import BINS, CLIP, FLOOR, klom
from helpers.draws import normal


def slow_klom(unlearned: list[float], retrained: list[float]) -> float:
    """One record, a bin at a time; the greatest of all is in no bin unless others equal it."""
    unlearned, retrained = ([min(max(v, -CLIP), CLIP) for v in values] for values in (unlearned, retrained))
    low, high = min(unlearned + retrained), max(unlearned + retrained)
    high = high if high > low else low + 1
    tied = (unlearned + retrained).count(high) > 1
    counts = []
    for values in (unlearned, retrained):
        inside = [0] * BINS
        for v in values:
            if v < high or tied:
                inside[min(int((v - low) / (high - low) * BINS), BINS - 1)] += 1
        counts.append([c / sum(inside) for c in inside])
    floored = [max(q, FLOOR) if p > 0 else q for p, q in zip(*counts, strict=True)]
    return sum(p * math.log(p / (q / sum(floored))) for p, q in zip(counts[0], floored, strict=True) if p > 0)


@pytest.mark.parametrize(("k", "r", "scale"), [(32, 32, 1.0), (40, 35, 5.0), (32, 32, 90.0)])
def test_klom_is_that_of_a_slow_loop(k: int, r: int, scale: float) -> None:
    unlearned, retrained = scale * (0.5 + normal(k, 25)), scale * 2 * normal(r, 25, seed=1)
    found = klom(unlearned, retrained)
    assert found.dtype == torch.float64 and found.shape == (25,)
    expected = [slow_klom(a, b) for a, b in zip(unlearned.T.tolist(), retrained.T.tolist(), strict=True)]
    assert found.tolist() == pytest.approx(expected, abs=1e-12)
    assert bool((found >= 0).all()) and float(found.max()) <= -math.log(FLOOR) + 1e-3


def test_klom_by_hand() -> None:
    """Unlearned margins half in the first and half in the tenth bin, retrained ones a quarter and three quarters."""
    unlearned = torch.tensor([0.0] * 16 + [9.5] * 16, dtype=torch.float64)[:, None]
    retrained = torch.tensor([0.0] * 10 + [9.5] * 30 + [20.0], dtype=torch.float64)[:, None]
    # the lone greatest is not counted, so the shares are of 40
    expected = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert float(klom(unlearned, retrained)) == pytest.approx(expected)
    # and the other way round
    expected = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    assert float(klom(retrained, unlearned)) == pytest.approx(expected)


def test_klom_where_an_ensemble_has_no_spread() -> None:
    still = torch.full((32, 3), 7.0)
    assert klom(still, still).tolist() == [0.0] * 3
    far = -math.log(FLOOR / (1 + FLOOR))
    assert klom(still + 1, still).tolist() == pytest.approx([far] * 3)
    # all beyond the clip: the published code has them in no bin, and so a distance of 0
    assert klom(torch.full((32, 2), math.inf), normal(32, 2)).tolist() == pytest.approx([far] * 2)


def test_klom_refuses_few_models() -> None:
    for k, r in ((31, 32), (32, 8)):
        with pytest.raises(RequestError, match="at least 32"):
            klom(normal(k, 4), normal(r, 4))


@given(st.integers(0, 10**6), st.floats(0.1, 10), st.floats(-3, 3))
@settings(max_examples=25, deadline=None)
def test_klom_has_no_unit_and_no_order(seed: int, scale: float, shift: float) -> None:
    unlearned, retrained = 0.5 * normal(32, 4, seed=seed), normal(33, 4, seed=seed + 1)
    found = klom(unlearned, retrained)
    assert bool((found >= 0).all())
    assert torch.equal(klom(unlearned.flip(0), retrained.flip(0)), found)
    assert torch.equal(klom(unlearned[:, [2]], retrained[:, [2]]), found[[2]])
    assert torch.allclose(klom(scale * unlearned + shift, scale * retrained + shift), found)


def test_klom_of_models_that_are_alike_is_above_0_and_falls_with_their_number() -> None:
    """Why it is to be compared with the value between two halves of the retrained models."""
    with_32, with_512 = (float(klom(normal(n, 50), normal(n, 50, seed=1)).mean()) for n in (32, 512))
    assert 0 < with_512 < with_32 / 2
    halves = klom(normal(32, 50, seed=2), normal(32, 50, seed=3)), klom(normal(32, 50, seed=4), normal(32, 50, seed=5))
    assert ks_2samp(halves[0].numpy(), halves[1].numpy()).pvalue > 0.001
