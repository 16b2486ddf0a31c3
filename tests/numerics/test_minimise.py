"""Weights at which a convex loss is least, against a closed form."""

import torch
from torch import Tensor

from efface.numerics.minimise import minimise


def test_a_ridge_regression_has_its_closed_form_whether_gradients_are_on_or_not() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    y = torch.randn(40, 2, generator=generator, dtype=torch.float64)

    def loss(weights: Tensor) -> Tensor:
        return (x @ weights - y).square().sum() + 0.5 * weights.square().sum()

    exact = torch.linalg.solve(x.T @ x + 0.5 * torch.eye(3, dtype=torch.float64), x.T @ y)
    with torch.no_grad():
        found = minimise(loss, (3, 2))
    assert not found.requires_grad
    torch.testing.assert_close(found, exact, atol=1e-6, rtol=0)
