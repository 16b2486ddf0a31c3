"""Statistics of logits against loops."""

import math

import pytest
import torch
from hypothesis import given, settings
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
from efface.numerics.neighbours import ranks, read_quantiles, windows
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


finite = st.floats(-5, 5).map(lambda v: round(v, 1))  # rounded, so that ties occur


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
