"""Ridge maps, against least squares and slow cross-fitting."""

import numpy as np
import pytest
import torch

from efface.calibration.ridge import LinearMap, cross_fit
from helpers.draws import normal


def test_linear_map_against_least_squares_and_ridge() -> None:
    x, y = 5 + 3 * normal(60, 3), normal(60, 2, seed=1)
    design = np.column_stack([x.numpy(), np.ones(60)])
    fitted = design @ np.linalg.lstsq(design, y.numpy(), rcond=None)[0]
    np.testing.assert_allclose(LinearMap.fit(x, y, ridge=0.0)(x), fitted, atol=1e-9)
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
