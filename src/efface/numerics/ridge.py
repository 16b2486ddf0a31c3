"""Linear maps between the logits of two models, fitted where neither model was trained."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LinearMap:
    """An affine map on standardised inputs: `map(x) = [(x - mean) / std, 1] @ weights`."""

    mean: Tensor
    std: Tensor
    weights: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return self._design(x) @ self.weights

    def _design(self, x: Tensor) -> Tensor:
        scaled = (x.double() - self.mean) / self.std
        return torch.cat([scaled, torch.ones(len(x), 1, dtype=scaled.dtype)], 1)

    @classmethod
    def fit(cls, x: Tensor, y: Tensor, ridge: float = 1e-3) -> "LinearMap":
        """Ridge regression of y (n, b) on x (n, a); `ridge` is relative to the number of records."""
        x = x.double()
        empty = cls(x.mean(0), x.std(0).clamp_min(1e-6), torch.empty(0))
        a = empty._design(x)
        penalty = ridge * len(a) * torch.eye(a.shape[1], dtype=a.dtype)
        return cls(empty.mean, empty.std, torch.linalg.solve(a.T @ a + penalty, a.T @ y.double()))


def cross_fit(x: Tensor, y: Tensor, folds: int = 5, ridge: float = 1e-3) -> tuple[Tensor, list[LinearMap]]:
    """Out-of-fold values of a map from x to y on its own records, and the maps, one a fold.

    A map read in sample flatters the records that it was fitted on; elsewhere, take the mean over the maps.
    Record i is in fold i mod `folds`, so the records should come in random order.
    """
    fold = torch.arange(len(x)) % min(folds, len(x))
    maps = [LinearMap.fit(x[fold != f], y[fold != f], ridge) for f in range(int(fold.max()) + 1)]
    values = torch.empty(y.shape, dtype=torch.float64)
    for f, one in enumerate(maps):
        values[fold == f] = one(x[fold == f])
    return values, maps
