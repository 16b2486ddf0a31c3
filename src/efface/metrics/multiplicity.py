"""p-values adjusted for the number of tests."""

import torch
from torch import Tensor

from efface.errors import RequestError


def holm(p: Tensor) -> Tensor:
    """p-values (m,) adjusted for the chance of any false alarm among them (Holm 1979): in [0, 1], in the same order.

    To reject what is at most alpha has a chance of at most alpha to reject a true hypothesis, whatever the tests'
    dependence: the i-th smallest of m times m - i + 1, made not to fall.
    """
    p = _checked(p)
    order = p.argsort(stable=True)
    left = torch.arange(len(p), 0, -1, dtype=torch.float64)
    adjusted = (p[order] * left).clamp_max(1.0)
    return torch.empty_like(p).scatter(0, order, adjusted.cummax(0).values if len(p) else adjusted)


def benjamini_hochberg(p: Tensor) -> Tensor:
    """p-values (m,) adjusted for the expected share of false ones among the rejected (Benjamini & Hochberg 1995).

    In [0, 1], in the same order. Holds for independent or positively dependent tests.
    """
    from scipy.stats import false_discovery_control

    p = _checked(p)
    return torch.from_numpy(false_discovery_control(p.numpy(), method="bh")).to(p) if len(p) else p


def _checked(p: Tensor) -> Tensor:
    p = p.double()
    if p.ndim != 1 or not bool(((p >= 0) & (p <= 1)).all()):
        raise RequestError("p-values must be numbers from 0 to 1, in one row")
    return p
