"""Windows of records with nearly the same difficulty, and ranks and quantiles within them."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

BLOCK = 1024  # number of records whose windows are held in memory together


def blocks(records: int) -> Iterator[slice]:
    """Slices of nearly equal size, at most BLOCK, that cover a number of records; one empty slice for 0 records."""
    # equal sizes, since torch sums a single row in another order than a row among many
    count = max(1, -(-records // BLOCK))
    return (slice(records * k // count, records * (k + 1) // count) for k in range(count))


def by_block(function: Callable[[slice], Tensor], records: int) -> Tensor:
    """Apply a function to blocks of records, and join the results.

    It is for functions that need a window for each record: windows of 100,000 records would take gigabytes.

    Args:
        function: Takes a slice of records, and returns one row for each.
        records: The number of records.

    Returns:
        The rows of all records, (records, ...).
    """
    parts = blocks(records)
    rows = function(next(parts))
    if len(rows) == records:
        return rows
    # written into one tensor, since joining many tensors at the end would fragment memory
    joined = rows.new_empty((records, *rows.shape[1:]))
    joined[: len(rows)] = rows
    for part in parts:
        joined[part] = function(part)
    return joined


def windows(at: Tensor, scores: Tensor, width: int) -> Tensor:
    """Find for each value the window of records whose scores are nearest to it by rank.

    At either end of the scores the window is one-sided. Among equal scores it lies around their middle.

    Args:
        at: The values, (n,).
        scores: The score of each record, (m,).
        width: Number of records in a window; cut to m.

    Returns:
        Positions of the records, (n, width).
    """
    order = scores.argsort(stable=True)
    width = min(width, len(scores))
    ordered, at = scores[order].contiguous(), at.contiguous()
    middle = (torch.searchsorted(ordered, at) + torch.searchsorted(ordered, at, right=True)) // 2
    start = (middle - width // 2).clamp(0, len(scores) - width)
    return order[start[:, None] + torch.arange(width)]


def ranks(values: Tensor, among: Tensor) -> Tensor:
    """Rank of each value: the share of its row of `among` that is below it, from 0 to 1; ties count half.

    Args:
        values: The values, (n,).
        among: What each is compared with, (n, k), or (1, k) for the same row for all.
    """
    if len(among) == 1:  # one row for all
        ordered, values = among[0].sort().values, values.contiguous()
        both = [torch.searchsorted(ordered, values, right=right) for right in (False, True)]
        return (both[0] + both[1]).to(values.dtype) / 2 / len(ordered)
    below = (among < values[:, None]).double().mean(1)
    return (below + (among <= values[:, None]).double().mean(1)) / 2


def read_quantiles(among: Tensor, levels: Tensor) -> Tensor:
    """Quantiles by row, interpolated linearly; the inverse of `ranks`.

    The j-th smallest of k values is at level (j - 1/2) / k.

    Args:
        among: The values, (n, k), or (1, k) for the same row for all.
        levels: The level in each row, (n,), from 0 to 1.

    Returns:
        The quantiles, (n,).
    """
    ordered = among.sort(dim=1).values.expand(len(levels), -1)
    at = (levels * among.shape[1] - 0.5).clamp(0, among.shape[1] - 1)
    low = at.floor().long()
    high = (low + 1).clamp_max(among.shape[1] - 1)
    part = (at - low)[:, None]
    return torch.lerp(ordered.gather(1, low[:, None]), ordered.gather(1, high[:, None]), part).squeeze(1)
