"""p-values adjusted for the number of tests."""

import torch
from torch import Tensor

from efface.errors import RequestError


def holm(p: Tensor) -> Tensor:
    """Adjust p values for the chance of any false alarm among them (Holm 1979).

    Rejecting those that are at most alpha rejects any true hypothesis with a chance of at most alpha, whatever the
    tests' dependence. The i-th smallest of m is multiplied by m - i + 1, and never less than the one before.

    Args:
        p: p values (m,).

    Returns:
        Adjusted p values (m,), in [0, 1], in the same order.

    Raises:
        RequestError: They are no numbers from 0 to 1, or have another shape.
    """
    p = _checked(p)
    order = p.argsort(stable=True)
    left = torch.arange(len(p), 0, -1, dtype=torch.float64)
    adjusted = (p[order] * left).clamp_max(1.0)
    return torch.empty_like(p).scatter(0, order, adjusted.cummax(0).values if len(p) else adjusted)


def benjamini_hochberg(p: Tensor) -> Tensor:
    """Adjust p values for the expected share of false rejections (Benjamini & Hochberg 1995).

    It holds for independent or positively dependent tests.

    Args:
        p: p values (m,).

    Returns:
        Adjusted p values (m,), in [0, 1], in the same order.

    Raises:
        RequestError: They are no numbers from 0 to 1, or have another shape.
    """
    from scipy.stats import false_discovery_control

    p = _checked(p)
    return torch.from_numpy(false_discovery_control(p.numpy(), method="bh")).to(p) if len(p) else p


def _checked(p: Tensor) -> Tensor:
    p = p.double()
    if p.ndim != 1 or not bool(((p >= 0) & (p <= 1)).all()):
        raise RequestError("p-values must be numbers from 0 to 1, in one row")
    return p
