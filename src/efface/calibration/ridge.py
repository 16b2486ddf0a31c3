"""Linear maps between the logits of two models, fitted where neither model was trained."""

from collections.abc import Sequence
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
        return cls.fits(x, y, [ridge])[0]

    @classmethod
    def fits(cls, x: Tensor, y: Tensor, ridges: Sequence[float]) -> "list[LinearMap]":
        """The same for several `ridges` at about the price of one."""
        x = x.double()
        empty = cls(x.mean(0), x.std(0).clamp_min(1e-6), torch.empty(0))
        a = empty._design(x)
        gram, moments = a.T @ a, a.T @ y.double()
        unit = len(a) * torch.eye(a.shape[1], dtype=a.dtype)
        solved = [torch.linalg.solve(gram + ridge * unit, moments) for ridge in ridges]
        return [cls(empty.mean, empty.std, weights) for weights in solved]


def cross_fit(
    x: Tensor, y: Tensor, folds: int = 5, ridges: Sequence[float] = (1e-3, 1e-2, 1e-1, 1.0)
) -> tuple[Tensor, list[LinearMap]]:
    """Out-of-fold values of a map from x to y on its own records, and the maps, one a fold.

    Of the `ridges` the one with the least squared error out of fold. A map read in sample flatters the records that
    it was fitted on; elsewhere, take the mean over the maps. Record i is in fold i mod `folds`, so the records should
    come in random order.
    """
    fold = torch.arange(len(x)) % min(folds, len(x))
    maps = [LinearMap.fits(x[fold != f], y[fold != f], ridges) for f in range(int(fold.max()) + 1)]
    values = torch.empty(len(ridges), *y.shape, dtype=torch.float64)
    for f, several in enumerate(maps):
        values[:, fold == f] = torch.stack([one(x[fold == f]) for one in several])
    best = int((values - y).square().sum((1, 2)).argmin())
    return values[best], [several[best] for several in maps]
