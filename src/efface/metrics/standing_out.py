"""Whether a few records stand out among others of their kind: exact p values, all of a record's statistics together."""

from dataclasses import dataclass

import torch
from torch import Tensor

from efface.runtime.printing import Brief

DRAWS = 1999
SHARPNESS = 2.0  # of the smooth maximum: near the mean of the statistics at 0, near the largest at 4


@dataclass(frozen=True, repr=False)
class StandingOut(Brief):
    """How some records stand among others.

    Args:
        p: p value of the hypothesis that all of them are like the others.
        p_each: For each of them, the share of the others that are as extreme, itself counted, (q,).
        others: The number of others.
    """

    p: float
    p_each: Tensor
    others: int


def standing_out(statistics: Tensor, requested: int, seed: int, draws: int = DRAWS) -> StandingOut:
    """Test whether the first records score higher than the others, by a permutation test.

    A record's statistics are turned into normal scores of their ranks among all records, and joined by a smooth
    maximum, so that one statistic that stands out suffices and several add up. All records have a part in the ranks
    alike, so that any of them is as likely to be the highest where the first ones are like the others: then `p` is at
    most a with probability a, whatever the statistics are and however they depend on each other. `p` joins the mean of
    the first records, which finds that many of them stand out a little, and the highest, which finds that one stands
    out much (the smaller of both p values, calibrated by the same draws: Westfall and Young 1993, section 2.3).

    Args:
        statistics: A row a statistic, higher = more like a record that the model knows; a column a record, those
            that are tested first, (k, q + n).
        requested: How many records are tested, q.
        seed: Seed of the draws.
        draws: How many permutations are drawn where q is 2 or more.
    """
    joined = normal_scores((SHARPNESS * normal_scores(statistics)).logsumexp(0)[None])[0]
    own, others = joined[:requested], joined[requested:]
    p_each = (1 + (others >= own[:, None]).sum(1)).double() / (1 + len(others))
    if requested == 1:
        return StandingOut(float(p_each[0]), p_each, len(others))
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(draws, len(joined), generator=generator).argsort(1)[:, :requested]
    of_draw = joined[torch.cat([torch.arange(requested)[None], drawn])]
    p_values = torch.stack([_shares_above(values) for values in (of_draw.mean(1), of_draw.amax(1))])
    least = p_values.amin(0)
    return StandingOut(float((least <= least[0] + 1e-12).double().mean()), p_each, len(others))


def normal_scores(values: Tensor) -> Tensor:
    """Normal scores of the ranks in each row, (k, m), float64; equal values get their mean rank."""
    m = values.shape[1]
    rows = values.contiguous()
    ordered = rows.sort(1).values
    ranks = (torch.searchsorted(ordered, rows) + torch.searchsorted(ordered, rows, right=True)).double() / 2
    scores: Tensor = torch.special.ndtri(ranks / m)
    return scores


def _shares_above(values: Tensor) -> Tensor:
    """For each value the share of all that are at least as high."""
    return 1 - torch.searchsorted(values.sort().values, values).double() / len(values)
