"""How alike two models' features are, and whether a forgotten class still has a place of its own among them."""

import torch
from torch import Tensor

from efface.calibration.ridge import cross_fit
from efface.metrics.membership import conditional_auc
from efface.numerics.clusters import ALONE
from efface.types import Estimate

FOLDS = 5


def linear_cka(x: Tensor, y: Tensor) -> float:
    """Linear centred kernel alignment of two models' features (Kornblith et al., arXiv 1905.00414).

    Args:
        x: Features (n, d) of n records.
        y: Features (n, e) of the same records.

    Returns:
        A number in [0, 1]: 1 for features that are equal up to rotation, scale and shift. NaN where either does not
        vary.
    """
    a, b = x.double() - x.double().mean(0), y.double() - y.double().mean(0)
    both = torch.linalg.matrix_norm(a.T @ b) ** 2
    return float(both / (torch.linalg.matrix_norm(a.T @ a) * torch.linalg.matrix_norm(b.T @ b)))


def class_geometry(
    features: Tensor, forgotten: Tensor, level: float = 0.95, clusters: Tensor | None = None
) -> Estimate:
    """How well a linear probe on a model's features finds the records of a forgotten class.

    A model that never saw the class separates it in part too, so this is to be compared with retrained or reference
    models.

    Args:
        features: Features (n, d) of nonmembers.
        forgotten: Whether each of them is of the forgotten class (n,).
        level: Coverage of the interval, in (0, 1).
        clusters: The number of each nonmember's group, (n,); None if each is a group of its own.

    Returns:
        AUC of the probe, out of fold, with DeLong's interval: 1 where one direction separates the class from all
        others. NaN with fewer than FOLDS records of either kind.
    """
    inside = forgotten.bool()
    if min(int(inside.sum()), int((~inside).sum())) < FOLDS:
        return Estimate(float("nan"), float("nan"), float("nan"), level)
    # each fold gets its share of either kind, in whatever order the records come
    generator = torch.Generator().manual_seed(0)
    shuffled = torch.randperm(len(inside), generator=generator)
    order = shuffled[inside[shuffled].double().argsort(stable=True)]
    values = torch.empty(len(inside), dtype=torch.float64)
    values[order] = cross_fit(features[order], inside[order].double()[:, None], FOLDS, (1e-3,))[0].squeeze(1)
    both = ALONE if clusters is None else (clusters[inside], clusters[~inside])
    return conditional_auc(values[inside], values[~inside], clusters=both).estimate(level)
