"""Adjusted p values against slow loops, by hand and by simulation."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from efface.errors import RequestError
from efface.metrics.multiplicity import benjamini_hochberg, holm


def slow_holm(p: list[float]) -> list[float]:
    """The smallest level at which Holm's procedure, step by step, rejects each."""
    adjusted = []
    for mine in p:
        # mine is rejected once every one up to it passes its own step
        upto = sorted(q for q in p if q <= mine)
        adjusted.append(min(1.0, max((len(p) - i) * q for i, q in enumerate(upto))))
    return adjusted


def slow_benjamini_hochberg(p: list[float]) -> list[float]:
    ordered = sorted(p)
    return [min(1.0, min(len(p) * q / (i + 1) for i, q in enumerate(ordered) if q >= mine)) for mine in p]


P = st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.01, 0.5, 1.0])), min_size=1, max_size=12)


@given(P)
@settings(max_examples=80, deadline=None)
def test_adjusted_p_values_are_those_of_slow_loops(p: list[float]) -> None:
    values = torch.tensor(p, dtype=torch.float64)
    order = torch.randperm(len(p), generator=torch.Generator().manual_seed(len(p)))
    for adjust, slow in ((holm, slow_holm), (benjamini_hochberg, slow_benjamini_hochberg)):
        found = adjust(values)
        assert found.tolist() == pytest.approx(slow(p), abs=1e-12)
        assert bool((found >= values - 1e-15).all()) and float(found.max()) <= 1
        assert torch.allclose(adjust(values[order]), found[order])
    assert bool((holm(values) >= benjamini_hochberg(values) - 1e-12).all())


def test_adjusted_p_values_by_hand() -> None:
    p = torch.tensor([0.01, 0.04, 0.03, 0.005], dtype=torch.float64)
    assert holm(p).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert benjamini_hochberg(p).tolist() == pytest.approx([0.02, 0.04, 0.04, 0.02])


def test_no_and_wrong_p_values() -> None:
    for adjust in (holm, benjamini_hochberg):
        assert adjust(torch.tensor([])).tolist() == []
        for wrong in ([0.5, 1.1], [-0.1], [float("nan")], [[0.1]]):
            with pytest.raises(RequestError, match="p-values"):
                adjust(torch.tensor(wrong))


def test_holm_keeps_the_chance_of_any_false_alarm() -> None:
    """5 true and 5 false hypotheses, dependent: 4,000 trials, 4 standard errors above 5 %; Bonferroni rejects less."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=(4000, 1))
    z = 0.6 * common + 0.8 * rng.normal(size=(4000, 10)) + np.repeat([0.0, 2.5], 5)
    p = torch.from_numpy(1 - np.vectorize(lambda v: 0.5 * math.erfc(-v / math.sqrt(2)))(z)).clamp(0, 1)
    rejected = torch.stack([holm(row) for row in p]) <= 0.05
    assert float(rejected[:, :5].any(1).double().mean()) <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / 4000)
    assert float(rejected[:, 5:].double().mean()) > float((p[:, 5:] <= 0.005).double().mean())
