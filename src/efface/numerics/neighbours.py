"""Records of nearly the same difficulty: windows over a score."""

import torch
from torch import Tensor


def windows(at: Tensor, scores: Tensor, width: int) -> Tensor:
    """Rows of the `width` records whose rank by score is nearest to each of `at`: an index (len(at), width).

    `width` is cut to the number of scores. At either end of the scores the window is one-sided.
    """
    order = scores.argsort(stable=True)
    width = min(width, len(scores))
    start = (torch.searchsorted(scores[order].contiguous(), at.contiguous()) - width // 2).clamp(0, len(scores) - width)
    return order[start[:, None] + torch.arange(width)]


def ranks(values: Tensor, among: Tensor) -> Tensor:
    """Share of each row of `among` (n, k) that lies below its value, ties counting half: in [0, 1]."""
    below = (among < values[:, None]).double().mean(1)
    return (below + (among <= values[:, None]).double().mean(1)) / 2


def read_quantiles(among: Tensor, levels: Tensor) -> Tensor:
    """The value at each level (in [0, 1]) of its row of `among` (n, k), linear between neighbours."""
    ordered = among.sort(dim=1).values
    at = levels.clamp(0, 1) * (among.shape[1] - 1)
    low = at.floor().long()
    high = (low + 1).clamp_max(among.shape[1] - 1)
    part = (at - low)[:, None]
    return torch.lerp(ordered.gather(1, low[:, None]), ordered.gather(1, high[:, None]), part).squeeze(1)
