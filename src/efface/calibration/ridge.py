"""Linear maps between the outputs of two models, fitted by ridge regression."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from efface.runtime.printing import Brief


@dataclass(frozen=True, repr=False)
class LinearMap(Brief):
    """An affine map on standardised inputs: `map(x) = [(x - mean) / std, 1] @ weights`.

    Args:
        mean: Mean of the inputs, (a,).
        std: Standard deviation of the inputs, (a,).
        weights: Weights, with the bias as last row, (a + 1, b).
    """

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
        """Fit a map by ridge regression.

        Args:
            x: Inputs, (n, a).
            y: Outputs, (n, b).
            ridge: Penalty on squared weights, bias included, per record.
        """
        return cls.fits(x, y, [ridge])[0]

    @classmethod
    def fits(cls, x: Tensor, y: Tensor, ridges: Sequence[float]) -> "list[LinearMap]":
        """Fit a map for each of several penalties, in about the time of one fit; see `fit`."""
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
    """Fit a map from x to y on all folds but one, for each fold, with the penalty of the smallest out-of-fold error.

    Record i is in fold i mod `folds`, so the records should be in random order.

    Args:
        x: Inputs, (n, a).
        y: Outputs, (n, b).
        folds: Number of folds; cut to n.
        ridges: Penalties to choose from.

    Returns:
        Out-of-fold values for the records, (n, b), float64, and the maps, one for each fold. For other records, take
        the mean over the maps.
    """
    fold = torch.arange(len(x)) % min(folds, len(x))
    maps = [LinearMap.fits(x[fold != f], y[fold != f], ridges) for f in range(int(fold.max()) + 1)]
    values = torch.empty(len(ridges), *y.shape, dtype=torch.float64)
    for f, several in enumerate(maps):
        values[:, fold == f] = torch.stack([one(x[fold == f]) for one in several])
    best = int((values - y).square().sum((1, 2)).argmin())
    return values[best], [several[best] for several in maps]
