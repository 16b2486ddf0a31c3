"""Transport maps between distributions, against closed forms and matrix square roots."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.stats import kstest

from efface.calibration.transport import transport_gauss, transport_ranks
from efface.numerics.neighbours import ranks
from helpers.draws import normal


def test_rank_transport_reaches_the_nonmembers_distribution() -> None:
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
