"""Means over records in groups: against slow sums, known cases, and draws whose likeness within groups is known."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from efface.numerics.clusters import ClusteredMean, count_clusters, effective_count, repeats
from helpers.draws import normal

SIZES = (1, 4, 2, 7, 1, 3, 12)


def numbered(*sizes: int) -> Tensor:
    return torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))


def alike(sizes: tuple[int, ...], likeness: float, seed: int = 0) -> ClusteredMean:
    clusters = numbered(*sizes)
    own, common = normal(len(clusters), seed=seed), normal(len(sizes), seed=seed + 10_000)[clusters]
    return ClusteredMean(math.sqrt(likeness) * common + math.sqrt(1 - likeness) * own, clusters)


def test_the_variance_is_obuchowskis_where_it_is_larger_than_that_of_alike_records() -> None:
    found = alike(SIZES, 0.7)
    values, clusters = found.values.numpy(), found.clusters.numpy()
    sums = [sum(v - values.mean() for v in values[clusters == k]) for k in range(len(SIZES))]
    k, n = len(SIZES), len(values)
    assert found.variance(0.0) == pytest.approx(k / (k - 1) * sum(s * s for s in sums) / n**2)
    weights = [m * (1 + (m - 1) * found.likeness) for m in SIZES]
    assert found.variance(100.0) == pytest.approx(100 * sum(weights) / n**2)
    assert found.largest_variance(2.0) == pytest.approx(2 * sum(m * m for m in SIZES) / n**2)


def test_groups_of_one_record_have_the_usual_variance() -> None:
    values = normal(40)
    found = ClusteredMean(values, torch.randperm(40))
    assert found.variance(0.0) == pytest.approx(float(values.var()) / 40)
    assert (found.likeness, found.df) == (0, 39)


def test_equal_records_of_a_group_count_once() -> None:
    each = normal(20)
    found = ClusteredMean(each.repeat_interleave(6), numbered(*[6] * 20))
    assert found.likeness == pytest.approx(1)
    assert found.variance(0.0) == pytest.approx(float(each.var()) / 20)
    assert found.df == pytest.approx(19)


@pytest.mark.parametrize("likeness", [0.0, 0.3, 0.8])
def test_likeness_is_found(likeness: float) -> None:
    found = [alike((1, 2, 5, 9, 14) * 40, likeness, seed).likeness for seed in range(20)]
    # cut at 0, so a little above it where there is none
    assert np.mean(found) == pytest.approx(likeness, abs=0.02)


def test_likeness_that_cannot_be_estimated_is_full() -> None:
    assert ClusteredMean(normal(8), numbered(8)).likeness == 1
    assert ClusteredMean(torch.ones(8), numbered(5, 3)).likeness == 1
    assert ClusteredMean(normal(8), numbered(8)).df == 1


def test_one_large_group_leaves_few_degrees_of_freedom() -> None:
    assert alike((100, *[1] * 50), 0.9).df == 1
    assert alike((2, *[1] * 50), 0.9).df > 40


@pytest.mark.parametrize("likeness", [0.0, 0.5, 1.0])
def test_the_order_of_records_and_the_numbers_of_groups_are_no_matter(likeness: float) -> None:
    whole = alike(SIZES, likeness)
    order = torch.randperm(len(whole.values), generator=torch.Generator().manual_seed(0))
    other = ClusteredMean(whole.values[order], 7 * whole.clusters[order] + 3)
    assert other.variance(0.4) == pytest.approx(whole.variance(0.4), rel=1e-12)
    assert other.df == pytest.approx(whole.df, rel=1e-12)


def test_records_count_as_many_as_there_are_independent_ones() -> None:
    values = (normal(400) > 0).double()
    assert effective_count(values, None, 0.95) == 400
    assert effective_count(values, torch.arange(400), 0.95) == 400
    five = effective_count(values.repeat_interleave(5), numbered(*[5] * 400), 0.95)
    assert 390 < five < 400
    assert effective_count(normal(400), numbered(*[4] * 100), 0.95) > 250  # no likeness to speak of
    # all equal: as many as there are groups, less what few of them leave unknown
    assert effective_count(torch.ones(60), numbered(*[2] * 30), 0.95) == pytest.approx(27.5, abs=0.2)
    assert effective_count(torch.ones(60), numbered(60), 0.95) < 1


def test_groups_are_counted() -> None:
    assert count_clusters(torch.tensor([4, 4, 9])) == 2
    assert repeats(torch.tensor([4, 4, 9]))
    assert not repeats(torch.tensor([4, 5, 9])) and not repeats(None)
