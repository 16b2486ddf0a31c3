"""Whether requested records stand out as known ones: among rehearsed records, and among never-seen ones."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from efface.auditing.audit_test import ALPHA
from efface.auditing.rehearsal.findings import STANDING, Standing
from efface.metrics.standing_out import standing_out
from efface.numerics.clusters import count_clusters

LEVEL = ALPHA * STANDING  # of all tests together
SUBSETS, SUBSET_DRAWS = 40, 499  # to count how often all requested records would stand out


def stand(
    title: str, now: Tensor, before: Tensor, requested: int, seed: int, tests: int, apart: bool = False
) -> Standing:
    """Test whether requested records stand out, and count how often they would had the run left them as they were.

    Args:
        title: Among which records, and in which model.
        now: Statistics (k, q + n) of the judged model, as `known.statistics` gives them, requested records first.
        before: Statistics (k, m) of rehearsed records under the original, beside the others under the judged model.
        requested: How many records, or groups, were requested, q.
        seed: Seed of the draws.
        tests: How many such tests there are, which share LEVEL.
        apart: Whether the others are other records than those of `before`; if not, the same ones in the same order.
    """
    found, level = standing_out(now, requested, seed), LEVEL / tests
    others = now[:, requested:]

    def chance(subsets: Sequence[Sequence[int]]) -> float:
        return _chance(before, others, subsets, apart, level)

    one = chance([[at] for at in range(before.shape[1])])
    every = one
    if requested > 1:
        rng = np.random.default_rng(seed)
        size = min(requested, before.shape[1] // 2)
        subsets = [rng.choice(before.shape[1], size, replace=False) for _ in range(SUBSETS)]
        every = chance([s.tolist() for s in subsets])
    return Standing(title, found.p, float(found.p_each.min()), found.others, found.p <= level, one, every)


def _chance(before: Tensor, others: Tensor, subsets: Sequence[Sequence[int]], apart: bool, level: float) -> float:
    """The share of subsets that would stand out among the others if they were as before."""
    caught = 0
    for number, subset in enumerate(subsets):
        rest = others
        if not apart:
            keep = torch.ones(others.shape[1], dtype=torch.bool)
            keep[list(subset)] = False
            rest = others[:, keep]
        joined = torch.cat([before[:, list(subset)], rest], 1)
        caught += standing_out(joined, len(subset), number, SUBSET_DRAWS).p <= level
    return caught / len(subsets)


def by_group(statistics: Tensor, groups: Tensor | None) -> Tensor:
    """The mean of each statistic over the records of each group, (k, groups); as it is without groups.

    Args:
        statistics: A column a record, (k, n).
        groups: The number of each record's group, counted from 0 in their order, (n,).
    """
    if groups is None:
        return statistics
    sums = torch.zeros(len(statistics), count_clusters(groups), dtype=statistics.dtype).index_add_(
        1, groups, statistics
    )
    return sums / torch.bincount(groups)
