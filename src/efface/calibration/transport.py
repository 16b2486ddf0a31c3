"""Optimal transport of statistics from the distribution of members to that of nonmembers."""

import torch
from torch import Tensor

from efface.numerics.neighbours import ranks, read_quantiles


def transport_ranks(values: Tensor, members: Tensor, nonmembers: Tensor) -> Tensor:
    """Quantile map in one dimension: from a value's rank among members to the same quantile of nonmembers.

    Args:
        values: The values, (n,).
        members: Values of members for each, (n, k), or (1, k) for all.
        nonmembers: Values of nonmembers for each, (n, l), or (1, l) for all.

    Returns:
        The moved values, (n,). Ranks are cut to half a record from 0 and 1.
    """
    edge = 0.5 / members.shape[1]
    return read_quantiles(nonmembers, ranks(values, members).clamp(edge, 1 - edge))


def transport_gauss(values: Tensor, members: Tensor, nonmembers: Tensor, shrink: float = 0.02) -> Tensor:
    """Gaussian optimal transport from the distribution of members to that of nonmembers.

    It is the linear map T = A^-1/2 (A^1/2 B A^1/2)^1/2 A^-1/2 between covariances A and B, each with `shrink` times its
    mean variance added to the diagonal.

    Args:
        values: The values, (n, d).
        members: Values of members for each, (n, k, d), or (1, k, d) for all.
        nonmembers: Values of nonmembers for each, (n, l, d), or (1, l, d) for all.
        shrink: Share of the mean variance that is added to the diagonals, 0 or more.

    Returns:
        The moved values, (n, d).
    """
    mean_m, cov_m = _moments(members, shrink)
    mean_s, cov_s = _moments(nonmembers, shrink)
    root, inverse = _powers(cov_m)
    plan = inverse @ _powers(root @ cov_s @ root)[0] @ inverse
    return mean_s + (plan @ (values - mean_m)[:, :, None])[:, :, 0]


def _moments(rows: Tensor, shrink: float) -> tuple[Tensor, Tensor]:
    mean = rows.mean(1)
    off = rows - mean[:, None]
    cov = off.transpose(1, 2) @ off / rows.shape[1]
    level = cov.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-8)
    return mean, cov + shrink * level[:, None, None] * torch.eye(rows.shape[2], dtype=rows.dtype)


def _powers(cov: Tensor) -> tuple[Tensor, Tensor]:
    """Square root of each symmetric positive matrix, and the inverse of that root."""
    values, vectors = torch.linalg.eigh(cov)
    # relative to the largest, since logits have no fixed scale
    values = values.clamp_min(values.amax(1, keepdim=True) * 1e-12).clamp_min(1e-30).sqrt()
    return (vectors * values[:, None]) @ vectors.transpose(1, 2), (vectors / values[:, None]) @ vectors.transpose(1, 2)
