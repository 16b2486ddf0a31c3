"""Statistics of logits against loops."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from efface.numerics.logits import (
    centre,
    log_likelihood,
    margin,
    mask_classes,
    other_gap,
    symexp,
    symlog,
    with_margin,
)
from helpers.draws import normal


@pytest.fixture
def scored() -> tuple[Tensor, Tensor]:
    return 3 * normal(40, 5), torch.arange(40) % 5


def test_statistics_of_logits_against_loops(scored: tuple[Tensor, Tensor]) -> None:
    logits, targets = scored
    for at, (z, y) in enumerate(zip(logits.tolist(), targets.tolist(), strict=True)):
        others = [v for c, v in enumerate(z) if c != y]
        log_others = math.log(sum(math.exp(v) for v in others))
        best, second = sorted(others)[-1], sorted(others)[-2]
        mean = sum(z) / len(z)
        assert margin(logits, targets)[at] == pytest.approx(z[y] - log_others)
        assert other_gap(logits, targets)[at] == pytest.approx(best - second)
        assert log_likelihood(logits, targets)[at] == pytest.approx(z[y] - math.log(sum(map(math.exp, z))))
        assert centre(logits)[at].tolist() == pytest.approx([v - mean for v in z])
        assert symlog(logits)[at].tolist() == pytest.approx([math.copysign(math.log1p(abs(v)), v) for v in z])


def test_statistics_ignore_a_constant_and_are_float64(scored: tuple[Tensor, Tensor]) -> None:
    logits, targets = scored
    for statistic in (margin, other_gap, log_likelihood):
        torch.testing.assert_close(statistic(logits + 7, targets), statistic(logits, targets))
        assert statistic(logits.bfloat16(), targets).dtype == torch.float64
    assert margin(torch.tensor([[0.0, 200.0]]), torch.tensor([1])).item() == 200  # no overflow, no saturation


@given(st.lists(st.floats(-500, 500), min_size=1, max_size=20))
def test_symexp_is_the_inverse_of_symlog(values: list[float]) -> None:
    x = torch.tensor(values, dtype=torch.float64)
    torch.testing.assert_close(symexp(symlog(x)), x)
    small = x / 60  # as values on the symmetric log are
    torch.testing.assert_close(symlog(symexp(small)), small)


def test_a_margin_is_set_by_the_labels_own_logit_alone(scored: tuple[Tensor, Tensor]) -> None:
    logits, targets = scored
    wanted = 10 * normal(40, seed=2)
    before, moved = logits.clone(), with_margin(logits, targets, wanted)
    torch.testing.assert_close(margin(moved, targets), wanted)
    others = torch.ones_like(logits, dtype=torch.bool).scatter(1, targets[:, None], value=False)
    assert torch.equal(moved[others], logits[others]) and torch.equal(logits, before)
    assert with_margin(logits.float(), targets, wanted).dtype == torch.float32


@pytest.mark.parametrize("forget_classes", [(), (1,), (0, 4)])
def test_forgotten_classes_count_for_nothing_and_come_last(forget_classes: tuple[int, ...]) -> None:
    logits = 3 * normal(40, 5)
    kept = [c for c in range(5) if c not in forget_classes]
    before, middle, z = logits.clone(), centre(logits, forget_classes), mask_classes(logits, forget_classes)
    torch.testing.assert_close(middle, logits - logits[:, kept].mean(1, keepdim=True))
    torch.testing.assert_close(z[:, kept], middle[:, kept])
    for c in forget_classes:
        torch.testing.assert_close(z[:, c], middle[:, kept].amin(1))
    torch.testing.assert_close(mask_classes(z, forget_classes), z)
    changed = logits.clone()
    changed[:, list(forget_classes)] += 100
    torch.testing.assert_close(mask_classes(changed, forget_classes), z)
    assert torch.equal(logits, before)
