"""Whether a few records stand out: exact levels, power, and ties."""

import itertools

import pytest
import torch
from scipy.stats import binomtest

from efface.metrics.standing_out import normal_scores, standing_out


def drawn(rows: int, records: int, seed: int) -> torch.Tensor:
    """Correlated statistics of records that are all alike."""
    generator = torch.Generator().manual_seed(seed)
    common = torch.randn(1, records, generator=generator)
    return common + torch.randn(rows, records, generator=generator)


@pytest.mark.parametrize(("requested", "others"), [(1, 60), (3, 60), (20, 60)])
def test_records_that_are_like_the_others_stand_out_as_often_as_is_said(requested: int, others: int) -> None:
    ps = [standing_out(drawn(4, requested + others, seed), requested, seed, 199).p for seed in range(600)]
    for level in (0.05, 0.25):
        false = sum(p <= level for p in ps)
        assert binomtest(false, len(ps), level).pvalue > 1e-3


def test_one_record_has_the_rank_that_counting_gives() -> None:
    statistics = torch.tensor([[2.5, 1.0, 2.0, 3.0, 0.0]])
    found = standing_out(statistics, 1, 0)
    assert found.p == 2 / 5 and found.others == 4  # one of four is higher, and itself counts


def test_the_joint_p_value_is_that_of_all_choices() -> None:
    statistics, requested = drawn(1, 9, 3), 2
    joined = normal_scores(statistics)[0]
    found = standing_out(statistics, requested, 0, draws=40_000).p
    choices = [joined[list(c)] for c in itertools.combinations(range(9), requested)]
    means, highest = torch.stack([c.mean() for c in choices]), torch.stack([c.max() for c in choices])
    least = [
        min(float((means >= m - 1e-12).double().mean()), float((highest >= h - 1e-12).double().mean()))
        for m, h in zip(means, highest, strict=True)
    ]
    own = least[list(itertools.combinations(range(9), requested)).index((0, 1))]
    exact = sum(v <= own + 1e-12 for v in least) / len(least)
    assert found == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize(("requested", "known"), [(1, 1), (5, 3), (10, 10)])
def test_records_that_stay_known_stand_out(requested: int, known: int) -> None:
    found = 0
    for seed in range(40):
        statistics = drawn(4, requested + 200, seed)
        statistics[:, :known] += 6.0
        found += standing_out(statistics, requested, seed, 499).p <= 0.01
    assert found >= 36


def test_one_statistic_suffices() -> None:
    found = 0
    for seed in range(40):
        statistics = drawn(4, 210, seed)
        statistics[3, :10] += 6.0
        found += standing_out(statistics, 10, seed, 499).p <= 0.01
    assert found >= 36


def test_equal_records_never_stand_out() -> None:
    for requested in (1, 4):
        found = standing_out(torch.zeros(3, 50), requested, 0)
        assert found.p == 1.0 and found.p_each.tolist() == [1.0] * requested
