"""Means over records of which several may belong to one person: variances that count persons, not rows.

Rows of one person resemble each other, so that many of them say hardly more than one. Here `clusters` holds the number
of the group that each record belongs to, a person or another group; groups are independent of each other.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TypeGuard

import torch
from torch import Tensor

Clusters = tuple[Tensor | None, Tensor | None]  # of forget records and of nonmembers; None: each is its own group
ALONE: Clusters = (None, None)
MIN_DF = 5.0  # with fewer degrees of freedom, the likeness of rows of a group is not estimated but supposed to be full


def repeats(clusters: Tensor | None) -> TypeGuard[Tensor]:
    """Whether some group has several records; if none has, records may be taken as they are."""
    return clusters is not None and count_clusters(clusters) < len(clusters)


def count_clusters(clusters: Tensor) -> int:
    """The number of groups among some records, by the number of each record's group."""
    return len(torch.unique(clusters))


@dataclass(frozen=True)
class ClusteredMean:
    """The mean of a statistic over records in groups, and how much it varies.

    Args:
        values: The statistic, (n,).
        clusters: The number of each record's group, (n,), integers.
    """

    values: Tensor
    clusters: Tensor

    @cached_property
    def sizes(self) -> Tensor:
        """Number of records of each group, float64."""
        sizes: Tensor = torch.bincount(self._at).double()
        return sizes

    @cached_property
    def likeness(self) -> float:
        """Intraclass correlation of the records of a group, from 0 to 1 (analysis of variance, Donner 1986).

        It is 1 if it cannot be estimated, because there is a single group or all values are equal.
        """
        n, k, sizes = len(self.values), len(self.sizes), self.sizes
        if k == 1:
            return 1.0
        if k == n:
            return 0.0
        values = self.values.double()
        means = self._sums / sizes
        between = float((sizes * (means - values.mean()).square()).sum()) / (k - 1)
        within = float((values - means[self._at]).square().sum()) / (n - k)
        usual = (n - float(sizes.square().sum()) / n) / (k - 1)
        total = between + (usual - 1) * within
        return min(1.0, max(0.0, (between - within) / total)) if total > 0 else 1.0

    @cached_property
    def df(self) -> float:
        """Degrees of freedom of the variance, 1 or more: one less than the number of groups if these are alike.

        A group with far more records than the others counts nearly alone, so groups count by their share of the
        variance (Satterthwaite 1946).
        """
        w = self._weights
        return max(1.0, float(w.sum().square() / w.square().sum()) - 1)

    def variance(self, of_one: float) -> float:
        """Variance of the mean.

        It is the larger of two: that of sums over groups about their expectation (Obuchowski 1997), which holds for any
        dependence but is too small for a few groups; and that of records of variance `of_one` that correlate by
        `likeness` within a group, which is never less than that of independent records.

        Args:
            of_one: Variance of a record's value.
        """
        k, n = len(self.sizes), len(self.values)
        about = self._sums - self.sizes * self.values.double().mean()
        of_sums = float(about.square().sum()) * k / max(1, k - 1) / n**2
        return max(of_sums, self.variance_if_alike(of_one))

    def variance_if_alike(self, of_one: float) -> float:
        """Variance of the mean of records of variance `of_one` that correlate by `likeness` within a group."""
        return of_one * float(self._weights.sum()) / len(self.values) ** 2

    def largest_variance(self, of_one: float) -> float:
        """The variance if all records of a group were equal: no likeness within groups can make it larger."""
        return of_one * float(self.sizes.square().sum()) / len(self.values) ** 2

    @cached_property
    def _at(self) -> Tensor:
        at: Tensor = torch.unique(self.clusters, return_inverse=True)[1]
        return at

    @cached_property
    def _sums(self) -> Tensor:
        return torch.zeros(len(self.sizes), dtype=torch.float64).index_add_(0, self._at, self.values.double())

    @cached_property
    def _weights(self) -> Tensor:
        """Variance of each group's sum, in units of the variance of a record."""
        weights: Tensor = self.sizes * (1 + (self.sizes - 1) * self.likeness)
        return weights


def effective_count(values: Tensor, clusters: Tensor | None, level: float) -> float:
    """How many independent records would give a mean of the same precision (Korn and Graubard 1998).

    Args:
        values: The statistic, (n,).
        clusters: The number of each record's group, (n,); None if each record is a group of its own.
        level: Coverage of the interval that is made from it, in (0, 1); few groups make it wider.

    Returns:
        A number from just above 0 to n; exactly n if no group has several records.
    """
    n = len(values)
    if not repeats(clusters):
        return float(n)
    from scipy.stats import norm, t

    mean = ClusteredMean(values, clusters)
    of_one = float(values.double().var()) if n > 1 else 0.0
    ratio = of_one / mean.variance(of_one) if of_one > 0 else 1 / mean.variance_if_alike(1.0)
    at = (1 + level) / 2
    return min(float(n), ratio * float(norm.ppf(at) / t.ppf(at, mean.df)) ** 2)
