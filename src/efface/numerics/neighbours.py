"""Records of nearly the same difficulty: windows over a score."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

BLOCK = 1024  # records whose windows are held at once


def blocks(records: int) -> Iterator[slice]:
    """Slices of nearly equal size, at most BLOCK, that cover so many records; an empty one where there are none."""
    # equal, since torch adds up a single row in another order than one of many
    count = max(1, -(-records // BLOCK))
    return (slice(records * k // count, records * (k + 1) // count) for k in range(count))


def by_block(function: Callable[[slice], Tensor], records: int) -> Tensor:
    """What `function` gives for each block of so many records, a row each, joined.

    For what takes a window for each record: of 100,000 records at once, those would take gigabytes.
    """
    parts = blocks(records)
    rows = function(next(parts))
    if len(rows) == records:
        return rows
    # written into one tensor, since many that are kept and joined later leave gaps in memory
    joined = rows.new_empty((records, *rows.shape[1:]))
    joined[: len(rows)] = rows
    for part in parts:
        joined[part] = function(part)
    return joined


def windows(at: Tensor, scores: Tensor, width: int) -> Tensor:
    """Rows of the `width` records whose rank by score is nearest to each of `at`: an index (len(at), width).

    `width` is cut to the number of scores. At either end of the scores the window is one-sided. Among equal scores
    the window lies around their middle.
    """
    order = scores.argsort(stable=True)
    width = min(width, len(scores))
    ordered, at = scores[order].contiguous(), at.contiguous()
    middle = (torch.searchsorted(ordered, at) + torch.searchsorted(ordered, at, right=True)) // 2
    start = (middle - width // 2).clamp(0, len(scores) - width)
    return order[start[:, None] + torch.arange(width)]


def ranks(values: Tensor, among: Tensor) -> Tensor:
    """Share of each row of `among` (n, k), or (1, k) for all, below its value, ties counting half: in [0, 1]."""
    if len(among) == 1:  # one row for all
        ordered, values = among[0].sort().values, values.contiguous()
        both = [torch.searchsorted(ordered, values, right=right) for right in (False, True)]
        return (both[0] + both[1]).to(values.dtype) / 2 / len(ordered)
    below = (among < values[:, None]).double().mean(1)
    return (below + (among <= values[:, None]).double().mean(1)) / 2


def read_quantiles(among: Tensor, levels: Tensor) -> Tensor:
    """The value at each level (in [0, 1]) of its row of `among` (n, k), linear between neighbours.

    The inverse of `ranks`: the value of rank j, of k, stands at level (j - 1/2) / k.
    """
    ordered = among.sort(dim=1).values.expand(len(levels), -1)
    at = (levels * among.shape[1] - 0.5).clamp(0, among.shape[1] - 1)
    low = at.floor().long()
    high = (low + 1).clamp_max(among.shape[1] - 1)
    part = (at - low)[:, None]
    return torch.lerp(ordered.gather(1, low[:, None]), ordered.gather(1, high[:, None]), part).squeeze(1)
