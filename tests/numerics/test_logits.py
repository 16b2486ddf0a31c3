"""Statistics of logits, windows, transport maps and ridge maps against slow or closed forms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from scipy.stats import kstest
from torch import Tensor

from efface.calibration.ridge import LinearMap, cross_fit
from efface.calibration.transport import transport_gauss, transport_ranks
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


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


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


def test_rank_transport_reaches_the_strangers_distribution() -> None:
    n, k = 1000, 200
    members, nonmembers = normal(n, k, seed=1), 2 + 0.5 * normal(n, k, seed=2)
    moved = transport_ranks(normal(n), members, nonmembers)
    # a false alarm in a thousand for the first, five standard errors for the others
    assert kstest((moved - 2) / 0.5, "norm").pvalue > 1e-3
    assert moved.mean() == pytest.approx(2, abs=0.08)
    assert moved.std() == pytest.approx(0.5, abs=0.06)


def test_rank_transport_between_equal_samples_moves_nothing() -> None:
    rows = normal(100, 60)
    torch.testing.assert_close(transport_ranks(rows[:, 7], rows, rows), rows[:, 7])
    values = normal(100, seed=3)  # not in the rows: moved no further than to between their neighbours
    moved = transport_ranks(values, rows, rows)
    inside = (values > rows.amin(1)) & (values < rows.amax(1))
    torch.testing.assert_close(ranks(moved, rows)[inside], ranks(values, rows)[inside], atol=0.5 / 60, rtol=0)


def test_gaussian_transport_in_one_dimension_is_a_shift_and_a_ratio() -> None:
    values, members, nonmembers = normal(20, 1), normal(20, 80, 1, seed=1), 3 + 2 * normal(20, 90, 1, seed=2)
    ratio = nonmembers.std(1, correction=0) / members.std(1, correction=0)
    expected = nonmembers.mean(1) + ratio * (values - members.mean(1))
    torch.testing.assert_close(transport_gauss(values, members, nonmembers, shrink=0.0), expected)


def test_gaussian_transport_scales_each_axis_where_covariances_commute() -> None:
    signs = torch.tensor([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)], dtype=torch.float64)
    turn = torch.linalg.qr(normal(3, 3)).Q
    a, b = torch.tensor([1.0, 2.0, 3.0]).double(), torch.tensor([2.0, 0.5, 3.0]).double()
    members, nonmembers = ((signs * s @ turn.T)[None] for s in (a, b))
    values = normal(1, 3, seed=5)
    expected = values @ (turn * (b / a)) @ turn.T
    torch.testing.assert_close(transport_gauss(values, members, nonmembers, shrink=0.0), expected)


def test_gaussian_transport_against_matrix_square_roots() -> None:
    values, members, nonmembers = normal(4, 3), normal(4, 50, 3, seed=1), normal(4, 50, 3, seed=2)
    nonmembers = nonmembers @ normal(3, 3, seed=3)
    moved = transport_gauss(values, members, nonmembers, shrink=0.0)
    for at in range(4):
        a, b = (np.cov(rows[at].numpy().T, bias=True) for rows in (members, nonmembers))
        root = sqrtm(a).real
        plan = np.linalg.inv(root) @ sqrtm(root @ b @ root).real @ np.linalg.inv(root)
        expected = nonmembers[at].mean(0).numpy() + plan @ (values[at] - members[at].mean(0)).numpy()
        np.testing.assert_allclose(moved[at], expected, rtol=1e-6)


@pytest.mark.parametrize("shrink", [0.0, 0.02])
def test_gaussian_transport_between_equal_samples_is_the_identity(shrink: float) -> None:
    values, rows = normal(10, 4), normal(10, 50, 4, seed=1) @ normal(4, 4, seed=2)
    torch.testing.assert_close(transport_gauss(values, rows, rows, shrink), values)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_transport_has_no_scale_of_its_own(scale: float) -> None:
    values, members, nonmembers = normal(5, 3), normal(5, 40, 3, seed=1), 1 + 0.3 * normal(5, 40, 3, seed=2)
    expected = scale * transport_gauss(values, members, nonmembers)
    torch.testing.assert_close(transport_gauss(scale * values, scale * members, scale * nonmembers), expected)


def test_a_group_without_spread_gives_finite_values() -> None:
    flat = torch.ones(2, 30, 3, dtype=torch.float64)
    assert transport_gauss(normal(2, 3), flat, flat).isfinite().all()


def test_linear_map_against_least_squares_and_ridge() -> None:
    x, y = 5 + 3 * normal(60, 3), normal(60, 2, seed=1)
    design = np.column_stack([x.numpy(), np.ones(60)])
    plain = design @ np.linalg.lstsq(design, y.numpy(), rcond=None)[0]
    np.testing.assert_allclose(LinearMap.fit(x, y, ridge=0.0)(x), plain, atol=1e-9)
    scaled = np.column_stack([(x - x.mean(0)) / x.std(0), np.ones(60)])
    inner = np.linalg.inv(scaled.T @ scaled + 0.1 * 60 * np.eye(4))
    np.testing.assert_allclose(LinearMap.fit(x, y, ridge=0.1)(x), scaled @ inner @ scaled.T @ y.numpy(), atol=1e-9)


def test_a_constant_input_does_no_harm() -> None:
    x = torch.cat([normal(30, 1), torch.full((30, 1), 4.0)], 1)
    assert LinearMap.fit(x, x[:, :1])(x).isfinite().all()


def test_cross_fitted_values_do_not_read_their_own_record() -> None:
    x, y = normal(23, 2), normal(23, 3, seed=1)
    values, maps = cross_fit(x, y, ridges=[0.1])
    assert len(maps) == 5
    other = y.clone()
    other[8] += 100
    changed = (cross_fit(x, other, ridges=[0.1])[0] - values).abs().amax(1) > 1e-9
    same_fold = torch.arange(23) % 5 == 8 % 5
    assert torch.equal(changed, ~same_fold)
    left = torch.arange(23) % 5 != 2
    torch.testing.assert_close(values[~left], LinearMap.fit(x[left], y[left], 0.1)(x[~left]))
    torch.testing.assert_close(values[~left], maps[2](x[~left]))


@pytest.mark.parametrize(("signal", "best"), [(10.0, 1e-3), (0.0, 1.0)])
def test_cross_fit_takes_the_ridge_with_the_least_error_out_of_fold(signal: float, best: float) -> None:
    x, noise = normal(60, 12), normal(60, 3, seed=1)
    y, ridges = signal * x[:, :3] + noise, (1e-3, 1e-2, 1e-1, 1.0)
    errors = {}
    for ridge in ridges:
        out = torch.empty_like(y)
        for fold in range(5):
            at = torch.arange(60) % 5 == fold
            out[at] = LinearMap.fit(x[~at], y[~at], ridge)(x[at])
        errors[ridge] = float((out - y).square().sum())
    assert min(errors, key=errors.__getitem__) == best
    for order in (ridges, ridges[::-1]):
        values, maps = cross_fit(x, y, ridges=order)
        assert float((values - y).square().sum()) == pytest.approx(errors[best])
        torch.testing.assert_close(
            maps[1].weights, LinearMap.fit(x[torch.arange(60) % 5 != 1], y[torch.arange(60) % 5 != 1], best).weights
        )


def test_maps_of_several_ridges_are_those_of_each() -> None:
    x, y = normal(40, 4), normal(40, 2, seed=1)
    for one, ridge in zip(LinearMap.fits(x, y, [0.0, 0.1, 2.0]), [0.0, 0.1, 2.0], strict=True):
        torch.testing.assert_close(one(x), LinearMap.fit(x, y, ridge)(x))


@settings(max_examples=60, deadline=None)
@given(st.lists(finite, min_size=1, max_size=20), st.lists(finite, min_size=1, max_size=20))
def test_ranks_in_one_shared_row_are_those_in_a_row_each(values: list[float], among: list[float]) -> None:
    row = torch.tensor(among, dtype=torch.float64)[None]
    ours = torch.tensor(values, dtype=torch.float64)
    # twice, so that it is no shared row even for one value
    torch.testing.assert_close(ranks(ours, row).repeat(2), ranks(ours.repeat(2), row.expand(2 * len(ours), -1)))


@given(st.lists(st.floats(-500, 500), min_size=1, max_size=20))
def test_unsquash_is_the_inverse_of_squash(values: list[float]) -> None:
    x = torch.tensor(values, dtype=torch.float64)
    torch.testing.assert_close(symexp(symlog(x)), x)
    small = x / 60  # as squashed values are
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
def test_classes_that_are_gone_count_for_nothing_and_come_last(forget_classes: tuple[int, ...]) -> None:
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
